#===- test_oracle_combine.py - combines by hand -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Combines: the order of sums, their rounding, and rows that stay apart.

Worked out by hand. The labels in the names are those of docs/Spec.md.
"""

import numpy as np
import pytest

import oracle
from oracle import DTYPES, FLOATS, CombineAttrs, DispatchAttrs, SpecifiedError
from scene import F32, f32, i32, scene


def combine_one(values, dtype, weights=None):
    """One token with a row on each of len(values) ranks."""
    ranks = len(values)
    y = [np.array([[v]], F32).astype(dtype) for v in values]
    rows = [np.zeros((1, ranks), np.int32)]
    rows += [np.full((0, ranks), -1, np.int32)] * (ranks - 1)
    if weights is not None:
        weights = [f32(w) for w in weights]
    out, _ = oracle.combine(
        CombineAttrs(ranks, ranks, max_tokens=1), y, rows, weights=weights
    )
    return out[0][0, 0]


def test_combine_s1_order_and_rounding():
    big = 2.0**24
    # Ascending ranks: (2^24 + 1) + 1 loses both ones, 1 + 1 + 2^24 does not.
    assert combine_one([big, 1, 1], F32) == big
    assert combine_one([1, 1, big], F32) == big + 2
    bf16 = DTYPES["bf16"]
    # Rounded once: 256 + 1 + 1 = 258 in bf16, 256 if each sum were rounded.
    assert combine_one([256, 1, 1], bf16) == 258
    # To nearest even: 256 + 1 lies between 256 and 258.
    assert combine_one([256, 1], bf16) == 256
    assert combine_one([258, 1], bf16) == 260
    assert combine_one([1e38, 3e38], F32) == np.inf
    assert np.isnan(combine_one([np.inf, -np.inf], F32))
    zero = combine_one([-0.0, -0.0], F32)
    assert zero == 0 and np.signbit(zero)  # the first row starts the sum
    assert np.isnan(combine_one([448, 448], DTYPES["f8E4M3FN"]).astype(F32))
    assert combine_one([57344, 57344], DTYPES["f8E5M2"]) == np.inf


def test_combine_s1_integers_wrap():
    y = [np.array([[100]], np.int8), np.array([[100]], np.int8)]
    rows = [i32([0, 0]), np.zeros((0, 2), np.int32)]
    out, _ = oracle.combine(CombineAttrs(2, 2, max_tokens=1), y, rows)
    assert out[0].tolist() == [[-56]] and out[0].dtype == np.int8


def test_combine_s1_expert_order():
    """expert_major: by expert, whatever the order of the slots."""
    attrs = DispatchAttrs(1, 3, "expert_major", static_tokens=1)
    big = 2.0**24
    idx = [i32([2, 0, 1])]
    d = oracle.dispatch(attrs, [f32([0])], idx, [f32([1, 1, 1])])
    assert d.send_row[0].tolist() == [[2, 0, 1]]
    combine = CombineAttrs(1, 3, "expert_major", static_tokens=1)
    out, _ = oracle.combine(combine, [f32([big], [1], [1])], d.send_row, idx)
    assert out[0].tolist() == [[big]]
    out, _ = oracle.combine(combine, [f32([1], [1], [big])], d.send_row, idx)
    assert out[0].tolist() == [[big + 2]]


def combine_ranks(values, dtype=F32, weights=None, **attrs):
    """One token whose rows hold `values`: a list for each rank, one value for
    each of its experts."""
    ranks, local = len(values), max(len(v) for v in values)
    y = [f32(*([v] for v in rank)).astype(dtype) for rank in values]
    assert all(len(v) == local for v in values)
    rows = [i32(list(range(local)) * ranks)]
    rows += [np.zeros((0, ranks * local), np.int32)] * (ranks - 1)
    idx = [i32(list(range(ranks * local)))]
    idx += [np.zeros((0, ranks * local), np.int32)] * (ranks - 1)
    if weights is not None:
        weights = [f32(*w) for w in weights]
    attrs = CombineAttrs(
        ranks, ranks * local, "expert_major", max_tokens=1, **attrs
    )
    out, _ = oracle.combine(attrs, y, rows, idx, weights)
    return out[0][0, 0]


def test_combine_s1_ranks_first():
    """Rows of one rank are added up before those of others: 1 + 1 is exact, and
    2^24 + 2 too, where 2^24 + 1 + 1 loses both ones."""
    big = 2.0**24
    assert combine_ranks([[0, big], [1, 1]]) == big + 2
    assert combine_ranks([[1, 1], [big, 0]]) == big + 2
    assert combine_ranks([[big, 1], [1, 0]]) == big
    # Partial sums stay f32: 256 + 1 is no bf16, and 257 + 1 is.
    bf16 = DTYPES["bf16"]
    assert combine_ranks([[256, 1], [1, 0]], bf16) == 258
    # Rows of weights, each product rounded (combine_s2).
    assert combine_ranks(
        [[0, big], [1, 1]], weights=[[1, 1], [0.5, 1.5]]
    ) == big + 2
    zero = combine_ranks([[-0.0, -0.0], [-0.0, -0.0]])
    assert zero == 0 and np.signbit(zero)


def test_combine_s8_rounded_partial_sums():
    bf16 = DTYPES["bf16"]
    element = dict(partials="element")
    # 256 + 1 is rounded to 256, and 256 + 1 again.
    assert combine_ranks([[256, 1], [1, 0]], bf16, **element) == 256
    # A tie goes to the even value: 258 + 1 to 260.
    assert combine_ranks([[258, 1], [1, 0]], bf16, **element) == 260
    assert combine_ranks([[258, 1], [1, 0]], bf16) == 260
    assert combine_ranks([[258, 1], [-2, 0]], bf16) == 256  # 257, a tie
    assert combine_ranks([[258, 1], [-2, 0]], bf16, **element) == 258
    # The product of a single row is rounded, too; a row is not.
    odd = 1 + 2.0**-7
    weights = [[odd, 0], [1, 0]]
    exact = odd * odd - 1
    assert combine_ranks([[odd, 0], [-1, 0]], bf16, weights) == F32(exact).astype(bf16)
    assert combine_ranks([[odd, 0], [-1, 0]], bf16, weights, **element) == 2.0**-6
    # f32 is what sums are made in.
    big = 2.0**24
    assert combine_ranks([[0, big], [1, 1]], **element) == big + 2


def test_combine_s2_no_fused_multiply_add():
    a = F32(1 + 2.0**-12)
    square = F32(a * a)  # drops 2^-24
    assert combine_one([-square, a], F32, weights=[1, a]) == 0
    fused = np.float64(a) * np.float64(a) - np.float64(square)
    assert fused != 0


def test_combine_s3_zeros():
    rows = [np.full((2, 1), -1, np.int32)]
    out, moved = oracle.combine(
        CombineAttrs(1, 1, static_tokens=2), [f32([np.nan])], rows
    )
    assert out[0].tolist() == [[0], [0]] and not np.signbit(out[0]).any()
    assert not moved[0].any()


def test_combine_s4_single_row_keeps_bits():
    nan = np.array([[0x7F800123]], np.uint32).view(F32)  # signalling
    out, moved = oracle.combine(
        CombineAttrs(1, 1, static_tokens=1), [nan], [i32([0])]
    )
    assert oracle.bits(out[0])[0, 0] == 0x7F800123 and moved[0].all()


def test_combine_s7_rows():
    attrs, x, idx, weights = scene("expert_major", alignment=4)
    idx[1][1] = [1, 1]
    d = oracle.dispatch(attrs, x, idx, weights)
    # Row numbers: [[0, 0], [8, 4], [-1, -1]] and [[4, 9], [5, -1]].
    y = [np.arange(16, dtype=F32).reshape(16, 1) + 100 * r for r in range(2)]
    combine = CombineAttrs(2, 5, "expert_major", max_tokens=4, reduce="none")
    out = oracle.combine_rows(combine, y, d.send_row, idx)
    assert out[0][:, :, 0].tolist() == [[0, 100], [8, 4], [0, 0]]
    assert out[1][:, :, 0].tolist() == [[104, 9], [5, 0]]
    factors = [np.full(16, 2, F32), np.full(16, 0.5, F32)]
    out = oracle.combine_rows(combine, y, d.send_row, idx, factors)
    assert out[1][:, :, 0].tolist() == [[52, 18], [10, 0]]

    attrs, x, idx, weights = scene()
    d = oracle.dispatch(attrs, x, idx, weights)
    combine = CombineAttrs(2, 5, max_tokens=4, reduce="none")
    out = oracle.combine_rows(combine, y, d.send_row)
    assert out[0].shape == (3, 2, 1)
    assert out[0][:, :, 0].tolist() == [[0, 100], [1, 0], [0, 0]]
    # The product is rounded, once, to the type of the rows.
    rows = [f32([1 + 2.0**-7]).astype(DTYPES["bf16"])]
    out = oracle.combine_rows(
        CombineAttrs(1, 1, static_tokens=1, reduce="none"), rows, [i32([0])],
        weights=[f32(1 + 2.0**-8).reshape(1)],
    )
    assert out[0].astype(F32).tolist() == [[[1 + 2.0**-6]]]


@pytest.mark.parametrize("bad", [1, -2, 2**31 - 1])
def test_combine_s5(bad):
    with pytest.raises(SpecifiedError) as error:
        oracle.combine(
            CombineAttrs(1, 1, static_tokens=1), [f32([0])], [i32([bad])]
        )
    assert error.value.kind == oracle.INVALID_COUNT
    assert error.value.seen == [bad]


@pytest.mark.parametrize("name", FLOATS)
def test_combine_s1_rounding_to_nearest_even_in_every_type(name):
    """Against a search through all values of the small types."""
    dtype = DTYPES[name]
    if name == "f32":
        assert combine_one([1, 2.0**-24], dtype) == 1
        return
    codes = np.arange(2 ** (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}")
    with np.errstate(invalid="ignore"):
        values = codes.view(dtype).astype(np.float64)
    finite = np.isfinite(values) & ~(np.signbit(values))
    codes, values = codes[finite], values[finite]
    rng = np.random.default_rng(1)
    spread = values[rng.integers(1, len(values), 200)]
    tests = spread * (1 + rng.normal(0, 0.05, 200))
    ties = (values[:-1] + values[1:])[rng.integers(0, len(values) - 1, 200)] / 2
    for value in np.concatenate([tests, ties]).astype(F32):
        if not 0 < value <= values.max():
            continue
        distance = np.abs(values - np.float64(value))
        best = np.flatnonzero(distance == distance.min())
        even = [c for c in codes[best] if int(c) % 2 == 0]
        want = codes[best[0]] if len(best) == 1 else even[0]
        # The value as an f32 sum of two rows is out of reach: round directly.
        got = np.array([value], F32).astype(dtype)
        assert oracle.bits(got)[0] == want, (name, value)
