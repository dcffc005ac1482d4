# ===- test_execution.py - exchanges against a dense layer -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Forward and gradients of whole layers on several ranks, bit by bit.

The cases without `reduce` and `padding`; those are in test_padding_and_reduce.py.
"""

import numpy as np
import pytest
from reference import Layer, same

from moe_mlir.exchange import Exchange

RANKS = 3
USUAL = {"num_experts": 7, "top_k": 3, "hidden": 8, "max_tokens": 6, "dtype": "f32"}


def valid_rows(plan, recv, ranks):
    """Which received rows hold a token, from what a caller sees."""
    masks = []
    for rank in range(ranks):
        counts = recv.tokens_from_rank[rank]
        mask = np.zeros(len(recv.x[rank]), bool)
        if plan.layout == "slab":
            for sender, count in enumerate(counts):
                start = sender * plan.token_bound
                mask[start : start + count] = True
        elif plan.is_expert_major:
            offsets, sizes = recv.expert_offsets[rank], recv.expert_counts[rank]
            for start, count in zip(offsets, sizes, strict=True):
                mask[start : start + count] = True
        else:
            mask[: counts.sum()] = True
        masks.append(mask)
    return masks


@pytest.mark.parametrize("layout", ["rank_major", "slab"])
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize("index_dtype", ["i32", "i64"])
def test_rows_by_rank(load, generator, layout, dtype, index_dtype):
    """One row stands for all experts of a rank, which adds up their results."""
    plan = Exchange(
        **{**USUAL, "dtype": dtype}, layout=layout, index_dtype=index_dtype, gradients=True
    )
    layer = Layer(plan, RANKS, generator)
    ep = load(plan, RANKS)
    recv = ep.dispatch(layer.x, layer.idx, layer.weights)
    masks = valid_rows(plan, recv, RANKS)

    scales, y = [], []
    for rank in range(RANKS):
        ids, here = recv.topk_idx[rank], masks[rank][:, None] & (recv.topk_idx[rank] >= 0)
        factors = np.where(here, layer.factor[np.where(here, ids, 0)], 0.0)
        weights = np.where(here, recv.topk_weights[rank], 0.0)
        scales.append((factors, (factors * weights).sum(1, keepdims=True)))
        rows = np.where(masks[rank][:, None], recv.x[rank].astype(np.float64), np.nan)
        y.append((scales[rank][1] * rows).astype(layer.grad_out[rank].dtype))
    out = ep.combine(y, recv.handle)
    for rank in range(RANKS):
        assert same(out[rank], layer.out(rank))

    grad_y, nothing = ep.combine_backward(layer.grad_out, recv.handle)
    assert nothing is None
    grad_rows, grad_row_weights = [], []
    for rank in range(RANKS):
        mask, (factors, scale) = masks[rank][:, None], scales[rank]
        gradient = np.where(mask, grad_y[rank].astype(np.float64), np.nan)
        grad_rows.append((scale * gradient).astype(grad_y[rank].dtype))
        rows = np.where(mask, recv.x[rank].astype(np.float64), np.nan)
        products = factors * (rows * gradient).sum(1, keepdims=True)
        # What frameworks hand over for slots of other ranks may be anything.
        here = mask & (recv.topk_idx[rank] >= 0)
        grad_row_weights.append(np.where(here, products, np.nan).astype(np.float32))
    grad_x, grad_weights = ep.dispatch_backward(grad_rows, recv.handle, grad_row_weights)
    grad_x_alone, nothing = ep.dispatch_backward(grad_rows, recv.handle)
    assert nothing is None
    nothing, grad_weights_alone = ep.dispatch_backward(None, recv.handle, grad_row_weights)
    assert nothing is None
    for rank in range(RANKS):
        assert same(grad_x[rank], layer.grad_x(rank))
        assert same(grad_x_alone[rank], layer.grad_x(rank))
        assert same(grad_weights[rank], layer.grad_weights(rank))
        assert same(grad_weights_alone[rank], layer.grad_weights(rank))


def test_rows_by_expert(load, generator):
    """One row per expert; combine applies the weights of the rows."""
    plan = Exchange(**USUAL, layout="expert_major", alignment=4, combine_weights=True)
    layer = Layer(plan, RANKS, generator)
    ep = load(plan, RANKS)
    recv = ep.dispatch(layer.x, layer.idx, layer.weights)
    masks = valid_rows(plan, recv, RANKS)
    y = []
    for rank in range(RANKS):
        ids = np.where(masks[rank], recv.topk_idx[rank], 0)
        rows = np.where(masks[rank][:, None], recv.x[rank], np.nan)
        y.append((layer.factor[ids][:, None] * rows).astype(np.float32))
        assert not (recv.expert_offsets[rank] % 4).any()
        mine = list(plan.experts_of(rank, RANKS))
        for j, expert in enumerate(mine):
            start, count = recv.expert_offsets[rank][j], recv.expert_counts[rank][j]
            assert (recv.topk_idx[rank][start : start + count] == expert).all()
    out = ep.combine(y, recv.handle, recv.topk_weights)
    for rank in range(RANKS):
        assert same(out[rank], layer.out(rank))


def test_arrays_of_an_earlier_call_are_written_to(load, generator):
    plan = Exchange(**{**USUAL, "max_tokens": None}, tokens=5)
    ep = load(plan, RANKS)
    first, second = (Layer(plan, RANKS, generator) for _ in range(2))
    expected = ep.dispatch(second.x, second.idx, second.weights)
    recv = ep.dispatch(first.x, first.idx, first.weights)
    out = ep.combine(recv.x, recv.handle)
    again = ep.dispatch(second.x, second.idx, second.weights, out=recv)
    assert again.x is recv.x
    assert again.handle.topk_idx is second.idx
    masks = valid_rows(plan, expected, RANKS)
    for rank in range(RANKS):
        assert np.array_equal(again.x[rank][masks[rank]], expected.x[rank][masks[rank]])
        assert np.array_equal(again.handle.send_row[rank], expected.handle.send_row[rank])
    written = ep.combine(again.x, again.handle, out=out)
    assert written is out
    alone = ep.combine(expected.x, expected.handle)
    for rank in range(RANKS):
        assert np.array_equal(out[rank], alone[rank])


def test_scales_travel_with_rows(load, generator):
    plan = Exchange(**{**USUAL, "dtype": "f8E4M3FN"}, scales=2)
    layer = Layer(plan, RANKS, generator)
    scales = [generator.random((len(x), 2)).astype(np.float32) for x in layer.x]
    ep = load(plan, RANKS)
    recv = ep.dispatch(layer.x, layer.idx, layer.weights, scales)
    for rank, mask in enumerate(valid_rows(plan, recv, RANKS)):
        for row in np.flatnonzero(mask):
            sender, token = divmod(int(recv.handle.recv_src_idx[rank][row]), plan.token_bound)
            assert np.array_equal(recv.scales[rank][row], scales[sender][token])
            assert np.array_equal(
                recv.x[rank][row].view(np.uint8), layer.x[sender][token].view(np.uint8)
            )


@pytest.mark.parametrize("layout", ["rank_major", "expert_major", "slab"])
def test_rows_go_the_same_ways_again(load, generator, layout):
    plan = Exchange(
        **{**USUAL, "dtype": "f8E4M3FN"}, layout=layout, scales=2, padding="zero", gradients=True
    )
    layer = Layer(plan, RANKS, generator)
    scales = [generator.random((len(x), 2)).astype(np.float32) for x in layer.x]
    ep = load(plan, RANKS)
    recv = ep.dispatch(layer.x, layer.idx, layer.weights, scales)
    twice = [(2 * x.astype(np.float32)).astype(x.dtype) for x in layer.x]
    rows, row_scales = ep.dispatch_again(twice, recv.handle, scales)
    for rank in range(RANKS):
        assert same(rows[rank], 2 * recv.x[rank].astype(np.float64))
        assert np.array_equal(row_scales[rank], recv.scales[rank])


def test_messages_of_calls(load, generator):
    plan = Exchange(**USUAL)
    layer = Layer(plan, RANKS, generator)
    ep = load(plan, RANKS)
    calls = {
        "dispatch: expected no scales, as the plan says, got some": lambda: ep.dispatch(
            layer.x, layer.idx, layer.weights, layer.x
        ),
        "combine: expected no weights, as the plan says, got some": lambda: ep.combine(
            layer.x, None, layer.x
        ),
        "expected the handle of a dispatch (recv.handle), got None": lambda: ep.combine(
            layer.x, None
        ),
        "dispatch_backward: expected a plan with gradients = True, got Exchange(num_experts=7, "
        "top_k=3, hidden=8, dtype='f32', max_tokens=6)": lambda: ep.dispatch_backward(
            layer.x,
            ep.dispatch(layer.x, layer.idx, layer.weights).handle,
            layer.x,
        ),
    }
    for message, call in calls.items():
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == message
    weighted = load(Exchange(**USUAL, combine_weights=True, gradients=True), RANKS)
    handle = ep.dispatch(layer.x, layer.idx, layer.weights).handle
    with pytest.raises(TypeError) as caught:
        weighted.combine_backward(layer.grad_out, handle, None, layer.weights)
    assert str(caught.value) == "combine_backward: expected y with weights, got none"


def test_out_of_another_dispatch():
    """What is refused says which results are too few or too many."""
    import moe_mlir as moe

    plain = Exchange(**USUAL)
    listed = Exchange(**USUAL, list_alignment=4)
    x = np.zeros((6, 8), np.float32)
    idx, weights = np.zeros((6, 3), np.int32), np.ones((6, 3), np.float32)

    def main(group):
        ep, other = group.load(plain), group.load(listed)
        recv, of_other = ep.dispatch(x, idx, weights), other.dispatch(x, idx, weights)
        results = "expert_offsets, expert_counts, list_rows, list_weights"
        for out, loaded, kind, got in (
            (recv, other, ValueError, f"of this plan, got one without {results}"),
            (of_other, ep, ValueError, f"of this plan, got one with {results}"),
            ((1,), ep, TypeError, "to be what an earlier dispatch has returned (Received), got "),
        ):
            with pytest.raises(kind) as error:
                loaded.dispatch(x, idx, weights, out=out)
            assert got in str(error.value), error.value
        assert str(error.value).endswith("got tuple")
        assert ep.dispatch(x, idx, weights, out=recv).x is recv.x

    moe.run_local(1, main)
