#===- test_oracle_dispatch.py - dispatches by hand -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Dispatches: their rows, what they overflow, and what repeats them.

Worked out by hand. The labels in the names are those of docs/Spec.md.
"""

import numpy as np
import pytest

import oracle
from inputs import LAYOUTS, random_bits
from oracle import DTYPES, CombineAttrs, DispatchAttrs, SpecifiedError
from scene import F32, f32, i32, poisoned, scene


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
