#===- test_oracle.py - the oracle against results worked out by hand -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Small cases worked out by hand.

The labels in the names are those of docs/Spec.md.
"""

import numpy as np
import pytest

import oracle
from inputs import LAYOUTS, random_bits
from oracle import DTYPES, FLOATS, CombineAttrs, DispatchAttrs, SpecifiedError

F32 = np.float32


def i32(*rows):
    return np.array(rows, np.int32)


def f32(*rows):
    return np.array(rows, np.float32)


def scene(layout="rank_major", **attrs):
    """Two ranks, five experts (0 1 2 | 3 4), T 3 and 2, K 2, T_max 4."""
    attrs = DispatchAttrs(2, 5, layout, max_tokens=4, **attrs)
    x = [f32([10], [11], [12]), f32([20], [21])]
    idx = [i32([0, 3], [2, 1], [-1, -1]), i32([4, 2], [1, 1])]
    weights = [
        f32([0.5, 0.25], [1, 2], [7, 7]), f32([3, 4], [0.75, 0.125])
    ]
    return attrs, x, idx, weights


def poisoned(dtype, count):
    return oracle.poison((count,), np.dtype(dtype)).tolist()


# --- Placement -------------------------------------------------------------- #


def test_placement_s1():
    def owned(experts, ranks):
        return [list(oracle.owned_experts(experts, ranks, r)) for r in range(ranks)]

    assert owned(5, 2) == [[0, 1, 2], [3, 4]]
    assert owned(2, 4) == [[0], [1], [], []]
    assert owned(8, 3) == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert [oracle.owner(e, 8, 3) for e in range(8)] == [0, 0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("bad", [5, -2, 2**32, 2**32 - 1, -(2**63)])
def test_placement_s2(bad):
    attrs, x, idx, weights = scene()
    idx = [i.astype(np.int64) for i in idx]
    idx[1][0, 1] = bad
    with pytest.raises(SpecifiedError) as error:
        oracle.dispatch(attrs, x, idx, weights)
    assert error.value.kind == oracle.INVALID_EXPERT
    assert error.value.seen == [bad] and error.value.ranks == [1]


def test_placement_s3():
    # 1 + 2^-24 + 2^-24 from left to right in f32 stays 1.
    tiny = 2.0**-24
    idx, weights = oracle.merge_repeated(
        i32([4, -1, 4, 2, 4]), f32([1, 9, tiny, -0.0, tiny])
    )
    assert idx.tolist() == [[4, -1, -1, 2, -1]]
    assert weights.tolist() == [[1, 0, 0, 0, 0]]
    assert np.signbit(weights[0, 3]) and not np.signbit(weights[0, 1])


# --- moe.dispatch ----------------------------------------------------------- #


def test_dispatch_s1_rank_major():
    d = oracle.dispatch(*scene())
    # Rank 0 gets tokens 0 and 1 of rank 0, then 0 and 1 of rank 1.
    assert d.recv_x[0][:4, 0].tolist() == [10, 11, 20, 21]
    assert d.recv_x[1][:2, 0].tolist() == [10, 20]
    assert d.recv_src_idx[0][:4].tolist() == [0, 1, 4, 5]
    assert d.recv_src_idx[1][:2].tolist() == [0, 4]
    assert [v.sum() for v in d.valid] == [4, 2]
    assert d.recv_x[0].shape == (8, 1)
    # dispatch_s2
    assert d.recv_topk_idx[0][:4].tolist() == [[0, -1], [2, 1], [-1, 2], [1, -1]]
    assert d.recv_topk_idx[1][:2].tolist() == [[-1, 3], [4, -1]]
    assert d.recv_topk_weights[0][:4].tolist() == [
        [0.5, 0], [1, 2], [0, 4], [0.875, 0]
    ]
    assert d.recv_topk_weights[1][:2].tolist() == [[0, 0.25], [3, 0]]
    # dispatch_s6
    assert [n.tolist() for n in d.n_tokens_to_rank] == [[2, 1], [2, 1]]
    assert [n.tolist() for n in d.n_tokens_from_rank] == [[2, 2], [1, 1]]
    assert d.send_row[0].tolist() == [[0, 0], [1, -1], [-1, -1]]
    assert d.send_row[1].tolist() == [[2, 1], [3, -1]]
    # dispatch_s7: what is left open carries the poison.
    assert d.recv_src_idx[0][4:].tolist() == poisoned(np.int32, 4)


def test_dispatch_s3_order_expert():
    attrs = DispatchAttrs(2, 4, order="expert", max_tokens=4)
    x = [f32([10], [11], [12], [13]), f32([20], [21])]
    idx = [i32([1], [2], [0], [1]), i32([3], [0])]
    weights = [np.ones((4, 1), F32), np.ones((2, 1), F32)]
    d = oracle.dispatch(attrs, x, idx, weights)
    assert d.recv_x[0][:4, 0].tolist() == [12, 10, 13, 21]
    assert d.recv_x[1][:2, 0].tolist() == [11, 20]
    assert d.recv_src_idx[0][:4].tolist() == [2, 0, 3, 5]
    assert d.send_row[0].tolist() == [[1, -1], [-1, 0], [0, -1], [2, -1]]
    assert d.send_row[1].tolist() == [[-1, 1], [3, -1]]


def test_dispatch_s4_expert_major():
    d = oracle.dispatch(*scene("expert_major", alignment=4))
    # Rank 0: expert 0: (0,0); expert 1: (0,1) (1,1); expert 2: (0,1) (1,0).
    rows = [0, 4, 5, 8, 9]
    assert np.flatnonzero(d.valid[0]).tolist() == rows
    assert d.recv_x[0][rows, 0].tolist() == [10, 11, 21, 11, 20]
    assert d.recv_topk_idx[0][rows].tolist() == [0, 1, 1, 2, 2]
    assert d.recv_topk_weights[0][rows].tolist() == [0.5, 2, 0.875, 1, 4]
    assert d.recv_src_idx[0][rows].tolist() == [0, 1, 5, 1, 4]
    assert d.expert_offsets[0].tolist() == [0, 4, 8]
    assert d.expert_counts[0].tolist() == [1, 2, 2]
    # Rank 1 owns two experts, EL is 3: one surplus entry.
    assert np.flatnonzero(d.valid[1]).tolist() == [0, 4]
    assert d.recv_x[1][[0, 4], 0].tolist() == [10, 20]
    assert d.expert_offsets[1].tolist() == [0, 4, 8]
    assert d.expert_counts[1].tolist() == [1, 1, 0]
    assert d.send_row[0].tolist() == [[0, 0], [8, 4], [-1, -1]]
    assert d.send_row[1].tolist() == [[4, 9], [5, -1]]
    assert [n.tolist() for n in d.n_tokens_to_rank] == [[3, 1], [2, 1]]
    # dispatch_s8: R * T_max * min(K, EL)
    assert d.recv_x[0].shape == (16, 1)


def test_dispatch_s4_empty_groups():
    attrs = DispatchAttrs(1, 4, "expert_major", alignment=8, static_tokens=3)
    args = [f32([1], [2], [3])], [i32([2], [2], [0])], [np.ones((3, 1), F32)]
    # The default capacity, three rows, has no room for a group at row 8.
    with pytest.raises(SpecifiedError) as error:
        oracle.dispatch(attrs, *args)
    assert 10 in error.value.seen and error.value.expected == 3
    attrs.capacity = 10
    d = oracle.dispatch(attrs, *args)
    assert d.expert_offsets[0].tolist() == [0, 8, 8, 16]
    assert d.expert_counts[0].tolist() == [1, 0, 2, 0]
    assert d.needed == [10]


def test_dispatch_s5_slab():
    d = oracle.dispatch(*scene("slab"))
    assert np.flatnonzero(d.valid[0]).tolist() == [0, 1, 4, 5]
    assert np.flatnonzero(d.valid[1]).tolist() == [0, 4]
    assert d.recv_x[0][[0, 1, 4, 5], 0].tolist() == [10, 11, 20, 21]
    assert d.send_row[0].tolist() == [[0, 0], [1, -1], [-1, -1]]
    assert d.send_row[1].tolist() == [[4, 4], [5, -1]]
    # A slab with gaps: row i is the i-th row sent there, not token i.
    attrs = DispatchAttrs(2, 2, "slab", static_tokens=3)
    x = [f32([1], [2], [3])] * 2
    d = oracle.dispatch(
        attrs, x, [i32([1], [0], [1])] * 2, [np.ones((3, 1), F32)] * 2
    )
    assert d.send_row[1].tolist() == [[-1, 3], [3, -1], [-1, 4]]
    assert d.recv_src_idx[1][[0, 1, 3, 4]].tolist() == [0, 2, 3, 5]


@pytest.mark.parametrize("layout", ["rank_major", "slab"])
def test_dispatch_s14_lists(layout):
    d = oracle.dispatch(*scene(layout, list_alignment=4))
    rows = {"rank_major": [0, 1, 2, 3], "slab": [0, 1, 4, 5]}[layout]
    # dispatch_s15: 16 entries and 3 times 3 places, rounded down to a multiple.
    assert [a.shape for a in d.list_rows] == [(24,), (24,)]
    # Rank 0: expert 0: (0,0); expert 1: (0,1) (1,1); expert 2: (0,1) (1,0).
    assert d.expert_offsets[0].tolist() == [0, 4, 8]
    assert d.expert_counts[0].tolist() == [1, 2, 2]
    places = [0, 4, 5, 8, 9]
    assert np.flatnonzero(d.list_rows[0] >= 0).tolist() == places
    assert d.list_rows[0][places].tolist() == [
        rows[i] for i in (0, 1, 3, 1, 2)
    ]
    assert d.list_weights[0][places].tolist() == [0.5, 2, 0.875, 1, 4]
    # Rank 1 owns two experts, EL is 3: one surplus entry.
    assert d.expert_offsets[1].tolist() == [0, 4, 8]
    assert d.expert_counts[1].tolist() == [1, 1, 0]
    places = [0, 4]
    assert np.flatnonzero(d.list_rows[1] >= 0).tolist() == places
    assert d.list_rows[1][places].tolist() == [0, {"slab": 4}.get(layout, 1)]
    assert d.list_weights[1][places].tolist() == [0.25, 3]
    for row, weight in zip(d.list_rows, d.list_weights):
        assert (row[row < 0] == -1).all() and not weight[row < 0].any()
    # Without alignment groups follow one another.
    d = oracle.dispatch(*scene(layout, list_alignment=1))
    assert d.list_rows[0].tolist() == [
        rows[i] for i in (0, 1, 3, 1, 2)
    ] + [-1] * 11
    assert d.expert_offsets[0].tolist() == [0, 1, 3]


def test_dispatch_s14_dropped_rows():
    d = oracle.dispatch(
        *scene(capacity=2, overflow="drop", list_alignment=2)
    )
    # Rows (1,0) and (1,1) of rank 0 are not there.
    assert d.list_rows[0].tolist() == [0, -1, 1, -1, 1, -1]
    assert d.list_weights[0].tolist() == [0.5, 0, 2, 0, 1, 0]
    assert d.expert_counts[0].tolist() == [1, 1, 1]
    assert d.n_tokens_from_rank[0].tolist() == [2, 2]


def test_dispatch_s15_few_entries():
    attrs = DispatchAttrs(2, 200, static_tokens=1, list_alignment=128)
    # Two rows and two slots: no more than four groups have an entry.
    assert attrs.list_places(2) == 4 * 128
    attrs.static_tokens = 0
    assert attrs.list_places(2) == 0


def test_dispatch_s9_overflow():
    with pytest.raises(SpecifiedError) as error:
        oracle.dispatch(*scene(capacity=3))
    assert error.value.kind == oracle.CAPACITY_EXCEEDED
    assert error.value.seen == [4] and error.value.expected == 3
    assert error.value.ranks == [0]
    oracle.dispatch(*scene(capacity=4))  # exactly met

    d = oracle.dispatch(*scene(capacity=1, overflow="drop"))
    assert d.recv_x[0].tolist() == [[10]] and d.recv_x[1].tolist() == [[10]]
    assert d.send_row[0].tolist() == [[0, 0], [-1, -1], [-1, -1]]
    assert d.send_row[1].tolist() == [[-1, -1], [-1, -1]]
    assert [n.tolist() for n in d.n_tokens_from_rank] == [[2, 2], [1, 1]]

    d = oracle.dispatch(
        *scene("expert_major", alignment=4, capacity=9, overflow="drop")
    )
    assert d.send_row[1].tolist() == [[4, -1], [5, -1]]
    assert d.expert_counts[0].tolist() == [1, 2, 2]
    assert [n.tolist() for n in d.n_tokens_to_rank] == [[3, 1], [2, 1]]


def test_dispatch_s12_padding():
    attrs, *args = scene("expert_major", alignment=4, padding="zero")
    d = oracle.dispatch(attrs, *args, scales=args[0])
    # Groups of 1, 2 and 2 rows from rows 0, 4 and 8.
    assert d.recv_x[0][:, 0].tolist() == [
        10, 0, 0, 0, 11, 21, 0, 0, 11, 20, *[0] * 6
    ]
    assert d.recv_scales[0].tolist() == d.recv_x[0].tolist()
    assert d.recv_topk_idx[0][:6].tolist() == [0, -1, -1, -1, 1, 1]
    assert d.recv_topk_weights[0][:6].tolist() == [0.5, 0, 0, 0, 2, 0.875]
    assert d.recv_src_idx[0][:6].tolist() == [0, -1, -1, -1, 1, 5]
    assert not np.signbit(d.recv_x[0]).any()

    attrs, *args = scene("slab", padding="zero")
    d = oracle.dispatch(attrs, *args)
    assert d.recv_x[1][:, 0].tolist() == [10, 0, 0, 0, 20, 0, 0, 0]
    assert d.recv_topk_idx[1][:2].tolist() == [[-1, 3], [-1, -1]]
    assert d.recv_topk_weights[1][:2].tolist() == [[0, 0.25], [0, 0]]
    # A reuse may pad where its dispatch did not.
    attrs, x, idx, weights = scene()
    d = oracle.dispatch(attrs, x, idx, weights)
    attrs.padding = "zero"
    recv_x, _, valid = oracle.dispatch_reuse(attrs, x, d.send_row)
    assert recv_x[1][:, 0].tolist() == [10, 20, 0, 0, 0, 0, 0, 0]
    assert valid[1].tolist() == [True] * 2 + [False] * 6


def test_dispatch_s11():
    attrs, x, idx, weights = scene()
    attrs.max_tokens = 2
    with pytest.raises(SpecifiedError) as error:
        oracle.dispatch(attrs, x, idx, weights)
    assert error.value.kind == oracle.TOO_MANY_TOKENS
    assert error.value.seen == [3] and error.value.expected == 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dispatch_s10_reuse_repeats_a_dispatch(layout):
    attrs, x, idx, weights = scene(layout)
    d = oracle.dispatch(attrs, x, idx, weights, scales=x)
    topk = idx if layout == "expert_major" else None
    recv_x, recv_scales, valid = oracle.dispatch_reuse(
        attrs, x, d.send_row, topk, x
    )
    for rank in range(2):
        assert (valid[rank] == d.valid[rank]).all()
        assert (recv_x[rank] == d.recv_x[rank]).all()
        assert (recv_scales[rank] == d.recv_scales[rank]).all()
    d.send_row[0][0, 0] = attrs.rows(2)
    with pytest.raises(SpecifiedError) as error:
        oracle.dispatch_reuse(attrs, x, d.send_row, topk)
    assert error.value.kind == oracle.INVALID_COUNT


def test_types_s1_scales_and_bits_move():
    rng = np.random.default_rng(0)
    for name, dtype in DTYPES.items():
        attrs = DispatchAttrs(1, 1, static_tokens=300)
        x = [random_bits(rng, dtype, (300, 3))]
        idx, weights = [np.zeros((300, 1), np.int32)], [np.ones((300, 1), F32)]
        d = oracle.dispatch(attrs, x, idx, weights)
        assert (oracle.bits(d.recv_x[0]) == oracle.bits(x[0])).all(), name
        out, _ = oracle.combine(CombineAttrs(1, 1, static_tokens=300), x, d.send_row)
        assert (oracle.bits(out[0]) == oracle.bits(x[0])).all(), name


# --- moe.combine ------------------------------------------------------------ #


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


# --- moe.alltoallv ---------------------------------------------------------- #


def test_alltoallv_s1_s2():
    send = [np.arange(10, 14, dtype=np.int32), np.arange(20, 23, dtype=np.int32)]
    recv, counts, valid = oracle.alltoallv(send, [i32(1, 2), i32(2, 1)], 4)
    assert recv[0][:3].tolist() == [10, 20, 21]
    assert recv[1][:3].tolist() == [11, 12, 22]
    assert counts[0].tolist() == [1, 2] and counts[1].tolist() == [2, 1]
    assert valid[0].tolist() == [True, True, True, False]


def test_alltoallv_s4():
    send = [np.zeros((3, 2), F32)] * 2
    for bad in (i32(-1, 1), i32(2, 2)):
        with pytest.raises(SpecifiedError) as error:
            oracle.alltoallv(send, [i32(0, 0), bad], 9)
        assert error.value.kind == oracle.INVALID_COUNT
        assert error.value.ranks[0] == 1


def test_alltoallv_s5():
    send = [np.arange(3, dtype=np.int32), np.arange(5, 8, dtype=np.int32)]
    counts = [i32(2, 1), i32(2, 1)]
    with pytest.raises(SpecifiedError) as error:
        oracle.alltoallv(send, counts, 3)
    assert error.value.kind == oracle.CAPACITY_EXCEEDED
    assert error.value.seen == [4] and error.value.ranks == [0]
    recv, seen, _ = oracle.alltoallv(send, counts, 3, "drop")
    assert recv[0].tolist() == [0, 1, 5] and seen[0].tolist() == [2, 2]
