# ===- test_lists.py - lists of the rows of each expert -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What a dispatch lists, against what it has received; the lists of the op are
compared bit by bit in test/Differential."""

import numpy as np
import pytest
from reference import Layer, same

from moe_mlir.exchange import Exchange

RANKS = 3
USUAL = {"num_experts": 7, "top_k": 3, "hidden": 8, "max_tokens": 6, "dtype": "f32"}


@pytest.mark.parametrize("layout", ["rank_major", "slab"])
@pytest.mark.parametrize("alignment", [1, 4])
def test_experts_gather_their_rows(load, generator, layout, alignment):
    """Experts that take the listed rows alone compute the whole layer."""
    plan = Exchange(**USUAL, layout=layout, list_alignment=alignment, gradients=True)
    layer = Layer(plan, RANKS, generator)
    ep = load(plan, RANKS)
    recv = ep.dispatch(layer.x, layer.idx, layer.weights)
    y, listed = [], 0
    for rank in range(RANKS):
        rows, weights = recv.list_rows[rank], recv.list_weights[rank]
        assert rows.shape == weights.shape == (plan.list_places(RANKS),)
        sums, seen = np.zeros(recv.x[rank].shape, np.float64), np.zeros(rows.shape, bool)
        offsets, counts = recv.expert_offsets[rank], recv.expert_counts[rank]
        assert len(offsets) == len(counts) == plan.local_experts(RANKS)
        assert not (offsets % alignment).any()
        for j, expert in enumerate(plan.experts_of(rank, RANKS)):
            places = slice(offsets[j], offsets[j] + counts[j])
            assert (np.diff(rows[places]) > 0).all()
            assert (recv.topk_idx[rank][rows[places]] == expert).any(axis=1).all()
            factors = layer.factor[expert] * weights[places, None].astype(np.float64)
            sums[rows[places]] += factors * recv.x[rank][rows[places]]
            seen[places] = True
        assert (rows[~seen] == -1).all() and not weights[~seen].any()
        listed += seen.sum()
        y.append(sums.astype(np.float32))
    assert listed == sum(len({*row} - {-1}) for idx in layer.idx for row in idx.tolist())
    out = ep.combine(y, recv.handle)
    for rank in range(RANKS):
        assert same(out[rank], layer.out(rank))


def test_lists_of_an_earlier_call_are_written_to(load, generator):
    plan = Exchange(**{**USUAL, "max_tokens": None}, tokens=5, list_alignment=2)
    ep = load(plan, RANKS)
    first, second = (Layer(plan, RANKS, generator) for _ in range(2))
    want = ep.dispatch(second.x, second.idx, second.weights)
    recv = ep.dispatch(first.x, first.idx, first.weights)
    again = ep.dispatch(second.x, second.idx, second.weights, out=recv)
    assert again.list_rows is recv.list_rows
    for rank in range(RANKS):
        assert np.array_equal(again.list_rows[rank], want.list_rows[rank])
        assert np.array_equal(again.list_weights[rank], want.list_weights[rank])


@pytest.mark.parametrize("options", [{}, {"schedule": "padded"}])
def test_lists_of_messages(load, generator, options):
    plan = Exchange(**USUAL, list_alignment=4)
    layer = Layer(plan, RANKS, generator)
    inputs = (layer.x, layer.idx, layer.weights)
    recv = load(plan, RANKS, transport="messages", **options).dispatch(*inputs)
    want = load(plan, RANKS).dispatch(*inputs)
    for rank in range(RANKS):
        assert np.array_equal(recv.list_rows[rank], want.list_rows[rank])
        assert np.array_equal(recv.list_weights[rank], want.list_weights[rank])
