# ===- test_description.py - what a description accepts -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Fields of Exchange: their checks, messages, and what follows from them."""

import dataclasses
import enum
import functools

import ml_dtypes
import numpy as np
import pytest

from moe_mlir.exchange import Exchange

USUAL = {"num_experts": 8, "top_k": 2, "hidden": 16, "max_tokens": 4}


class TorchType:
    """How torch's dtypes print."""

    def __str__(self):
        return "torch.bfloat16"


BAD = [
    ({"num_experts": 0}, "num_experts to be from 1 to 2147483647, got 0"),
    ({"num_experts": 2**31}, "num_experts to be from 1 to 2147483647, got 2147483648"),
    ({"num_experts": 8.0}, "num_experts to be an int, got 8.0"),
    ({"top_k": True}, "top_k to be an int, got True"),
    ({"top_k": 33}, "top_k to be from 1 to 32, got 33"),
    ({"top_k": 9}, "top_k to be at most num_experts (8), got 9"),
    ({"hidden": 0}, "hidden to be from 1 to 2147483647, got 0"),
    ({"hidden": "16"}, "hidden to be an int, got '16'"),
    (
        {"dtype": "f64"},
        "dtype to be one of f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32, i64, got 'f64'",
    ),
    ({"dtype": 3}, "dtype to be a dtype or its name, got 3"),
    (
        {"dtype": float},
        "dtype to be a dtype or its name, got <class 'float'>, which has another width in each "
        "framework; name the width, as in 'f32' or 'i32'",
    ),
    (
        {"combine_dtype": int},
        "combine_dtype to be a dtype or its name, got <class 'int'>, which has another width in "
        "each framework; name the width, as in 'f32' or 'i32'",
    ),
    (
        {"dtype": np.dtype(">f4")},
        "dtype to be in the byte order of the machine, got dtype('>f4')",
    ),
    ({"index_dtype": "i8"}, "index_dtype to be one of i32, i64, got 'i8'"),
    (
        {"dtype": "f8E5M2", "scales": 1, "scales_dtype": "i64"},
        "scales_dtype to be one of f32, f16, bf16, i8, got 'i64'",
    ),
    ({"scales": 2}, "dtype to be f8E4M3FN or f8E5M2 with scales, got bf16"),
    ({"scales": -1}, "scales to be from 0 to 2147483647, got -1"),
    ({"layout": "expert"}, "layout to be one of rank_major, expert_major, slab, got 'expert'"),
    ({"overflow": 1}, "overflow to be one of error, drop, got 1"),
    (
        {"layout": np.array(["slab", "slab"])},
        "layout to be one of rank_major, expert_major, slab, got "
        "array(['slab', 'slab'], dtype='<U4')",
    ),
    ({"order": "rank"}, "order to be one of token, expert, got 'rank'"),
    ({"padding": "one"}, "padding to be one of none, zero, got 'one'"),
    ({"reduce": "mean"}, "reduce to be one of sum, none, got 'mean'"),
    ({"partials": "bf16"}, "partials to be one of f32, element, got 'bf16'"),
    (
        {"partials": "element"},
        "layout = expert_major and reduce = sum with partials = element, got rank_major and sum",
    ),
    (
        {"partials": "element", "layout": "expert_major", "reduce": "none"},
        "layout = expert_major and reduce = sum with partials = element, "
        "got expert_major and none",
    ),
    (
        {"partials": "element", "layout": "expert_major", "dtype": "i32"},
        "combine_dtype to be a floating-point type with partials = element, got i32",
    ),
    ({"alignment": 8}, "layout to be expert_major with an alignment above 1, got rank_major"),
    ({"alignment": 0}, "alignment to be from 1 to 2147483647, got 0"),
    (
        {"list_alignment": 8, "layout": "expert_major"},
        "layout to be rank_major or slab with list_alignment, got expert_major",
    ),
    ({"list_alignment": 0}, "list_alignment to be from 1 to 2147483647, got 0"),
    (
        {"order": "expert"},
        "top_k = 1 and layout = rank_major with order = expert, got 2 and rank_major",
    ),
    ({"capacity": 0}, "capacity to be from 1 to 2147483647, got 0"),
    (
        {"capacity": 8, "layout": "slab"},
        "no capacity with layout = slab, whose capacity is R * max_tokens, got 8",
    ),
    (
        {"max_tokens": None},
        "either max_tokens (calls may send fewer) or tokens (each call sends so many), got neither",
    ),
    (
        {"tokens": 4},
        "either max_tokens (calls may send fewer) or tokens (each call sends so many), got both",
    ),
    ({"max_tokens": 0}, "max_tokens to be from 1 to 2147483647, got 0"),
    (
        {"dtype": "i32", "combine_weights": True},
        "combine_dtype to be a floating-point type with combine_weights, got i32",
    ),
    (
        {"defer_release": True},
        "symmetric_y with defer_release, since other ranks read y after the call; "
        "got symmetric_y = False",
    ),
    (
        {"dtype": "i8", "gradients": True},
        "combine_dtype to be a floating-point type with gradients, got i8",
    ),
    ({"gradients": 1}, "gradients to be True or False, got 1"),
    ({"keep_blocks": None}, "keep_blocks to be True or False, got None"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[str(c) for c, _ in BAD])
def test_says_what_was_expected(change, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        Exchange(**{**USUAL, **change})
    assert str(caught.value) == f"Exchange: expected {message}"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("bfloat16", "bf16"),
        (TorchType(), "bf16"),
        (np.float32, "f32"),
        (np.dtype(np.float16), "f16"),
        (ml_dtypes.bfloat16, "bf16"),
        (np.dtype(ml_dtypes.float8_e4m3fn), "f8E4M3FN"),
        ("float8_e5m2", "f8E5M2"),
        ("torch.int64", "i64"),
    ],
)
def test_takes_the_types_of_frameworks(given, name):
    assert Exchange(**{**USUAL, "dtype": given}).dtype == name


class Word(str, enum.Enum):  # noqa: UP042, the str() of a StrEnum is right anyway
    """Enums of configurations, whose str() is "Word.SLAB"."""

    SLAB = "slab"
    F32 = "f32"


def test_words_are_kept_as_plain_text():
    plan = Exchange(**USUAL, layout=Word.SLAB, dtype=Word.F32, combine_dtype=np.str_("f16"))
    same = Exchange(**USUAL, layout="slab", dtype="f32", combine_dtype="f16")
    assert plan.mlir(2) == same.mlir(2)
    assert {type(word) for word in (plan.layout, plan.dtype, plan.combine_dtype)} == {str}


def test_a_replaced_type_keeps_the_one_that_comes_back_unless_told():
    plan = Exchange(**USUAL, dtype="f32")
    assert dataclasses.replace(plan, dtype="bf16").combine_dtype == "f32"
    assert dataclasses.replace(plan, dtype="bf16", combine_dtype=None) == Exchange(**USUAL)


def test_rows_that_come_back_are_not_8_bit_floats_unless_asked():
    plan = Exchange(**{**USUAL, "dtype": "f8E4M3FN"})
    assert plan.combine_dtype == "bf16"
    assert Exchange(**{**USUAL, "dtype": "f16"}).combine_dtype == "f16"
    asked = Exchange(**{**USUAL, "dtype": "f8E4M3FN", "combine_dtype": "f32"})
    assert asked.combine_dtype == "f32"


def test_repr_makes_the_same_plan():
    plan = Exchange(**USUAL, layout="expert_major", alignment=4, dtype="f8E5M2", scales=2)
    assert repr(plan) == (
        "Exchange(num_experts=8, top_k=2, hidden=16, dtype='f8E5M2', max_tokens=4, "
        "scales=2, layout='expert_major', alignment=4)"
    )
    assert eval(repr(plan)) == plan


def test_experts_are_placed_in_blocks():
    plan = Exchange(**{**USUAL, "num_experts": 8})
    assert [list(plan.experts_of(r, 3)) for r in range(3)] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert plan.local_experts(3) == 3
    with pytest.raises(ValueError, match=r"^expected a rank from 0 to 2, got 3$"):
        plan.experts_of(3, 3)


@pytest.mark.parametrize(
    ("change", "ranks", "rows"),
    [
        ({}, 4, 16),  # one row per token and rank
        ({"layout": "slab"}, 3, 12),
        ({"layout": "expert_major"}, 4, 32),  # 2 experts of 2 on a rank
        ({"layout": "expert_major"}, 8, 32),  # 1 expert on each rank
        ({"layout": "expert_major", "capacity": 10}, 4, 10),
        # 32 rows, and at most 7 unused ones before each of 2 groups: 46, to 48.
        ({"layout": "expert_major", "alignment": 8}, 4, 48),
        ({"max_tokens": None, "tokens": 5}, 2, 10),
    ],
)
def test_rows_are_enough_for_every_routing(change, ranks, rows):
    assert Exchange(**{**USUAL, **change}).rows(ranks) == rows


@pytest.mark.parametrize(
    ("change", "ranks", "places"),
    [
        ({}, 4, 0),
        ({"list_alignment": 1}, 4, 32),  # 16 rows that 2 experts may take
        ({"list_alignment": 1, "layout": "slab"}, 8, 32),  # 1 expert on each rank
        # 32 entries, and at most 7 unused places behind each of 2 groups: 46, to 40.
        ({"list_alignment": 8}, 4, 40),
        ({"list_alignment": 8, "capacity": 10}, 4, 32),
        # Of 16 experts no more than 2 take a row.
        ({"list_alignment": 8, "num_experts": 16, "max_tokens": 1}, 1, 16),
    ],
)
def test_lists_are_long_enough_for_every_routing(change, ranks, places):
    plan = Exchange(**{**USUAL, **change})
    assert plan.list_places(ranks) == places
    assert plan.has_lists == (places > 0)


def counts(plan):
    """What a plan computes from a number of ranks alone."""
    return (
        plan.rows,
        plan.slots,
        plan.local_experts,
        plan.list_places,
        plan.stated_capacity,
        functools.partial(plan.signature, "dispatch"),
    )



@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int32, np.int64])
def test_ranks_of_other_ints_do_not_overflow(kind, compiler):
    for change in (
        {},
        {"layout": "expert_major", "alignment": 8},
        {"layout": "slab"},
        {"list_alignment": 8},
        {"capacity": 9},
    ):
        plan, ranks = Exchange(**{**USUAL, "max_tokens": 64, **change}), kind(8)
        assert plan.mlir(ranks) == plan.mlir(8)
        experts = functools.partial(plan.experts_of, kind(7))
        for count in (*counts(plan), experts):
            assert count(ranks) == count(8)
            assert type(count(ranks)) is type(count(8))
    report = plan.report(kind(8), compiler=compiler)
    assert type(report.ranks) is int and str(report) == str(plan.report(8, compiler=compiler))
    plan = Exchange(**{**USUAL, "max_tokens": 2**29})
    with pytest.raises(ValueError, match="expected rows per rank to be at most"):
        plan.mlir(kind(8))


@pytest.mark.parametrize("ranks", [True, 0, 2.0, np.array([1, 2])])
def test_every_method_checks_ranks(ranks):
    for change in ({}, {"capacity": 9}, {"layout": "expert_major"}, {"list_alignment": 8}):
        plan = Exchange(**{**USUAL, **change})
        experts = functools.partial(plan.experts_of, 0)
        for count in (*counts(plan), plan.mlir, plan.report, experts):
            with pytest.raises((TypeError, ValueError)) as caught:
                count(ranks)
            assert str(caught.value).startswith("Exchange: expected ranks to be ")


@pytest.mark.parametrize("ranks", [0, 65537])
def test_ranks_have_bounds(ranks):
    with pytest.raises(ValueError) as caught:
        Exchange(**USUAL).mlir(ranks)
    assert str(caught.value) == f"Exchange: expected ranks to be from 1 to 65536, got {ranks}"


def test_row_numbers_fit_i32():
    plan = Exchange(**{**USUAL, "max_tokens": 2**20})
    with pytest.raises(ValueError) as caught:
        plan.mlir(2048)
    assert str(caught.value) == (
        "Exchange: expected rows per rank to be at most 2^31 - 1, got 2147483648 with 2048 ranks"
    )
    plan = Exchange(**{**USUAL, "max_tokens": 2**29}, list_alignment=1)
    with pytest.raises(ValueError) as caught:
        plan.mlir(2)
    assert str(caught.value) == (
        "Exchange: expected places of a list to be at most 2^31 - 1, got 2147483648 with 2 ranks"
    )


def test_signatures_name_what_entries_take():
    plan = Exchange(**USUAL, layout="expert_major", combine_weights=True, gradients=True)
    assert plan.entries == (
        "dispatch",
        "combine",
        "dispatch_backward",
        "dispatch_backward_x",
        "dispatch_backward_weights",
        "combine_backward",
        "dispatch_again",
    )
    combine = plan.signature("combine", 2)
    assert [a.name for a in combine.arguments] == [
        "y",
        "send_row",
        "recv_src_idx",
        "n_tokens_from_rank",
        "topk_idx",
        "weights",
    ]
    assert [a.shape for a in combine.arguments] == [(16, 16), (-1, 2), (16,), (2,), (-1, 2), (16,)]
    assert [(r.name, r.type) for r in combine.results] == [("out", "tensor<?x16xbf16>")]
    with pytest.raises(ValueError) as caught:
        Exchange(**USUAL).signature("dispatch_backward", 2)
    assert str(caught.value) == (
        "expected one of the entries dispatch, combine, got 'dispatch_backward'"
    )
