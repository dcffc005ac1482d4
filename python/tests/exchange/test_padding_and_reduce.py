# ===- test_padding_and_reduce.py - zeros between rows, rows apart -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""`padding = zero`, `reduce = none`, and the gradients of expert_major rows, which need
the latter.
"""

import numpy as np
import pytest
from reference import Layer, same
from test_execution import RANKS, USUAL, valid_rows

from moe_mlir.exchange import Exchange


def test_gradients_of_rows_by_expert(load, generator):
    """All of a layer's gradients: of tokens, of expert weights, through both ops."""
    plan = Exchange(
        **USUAL,
        layout="expert_major",
        alignment=4,
        combine_weights=True,
        padding="zero",
        gradients=True,
    )
    layer = Layer(plan, RANKS, generator)
    ep = load(plan, RANKS)
    recv = ep.dispatch(layer.x, layer.idx, layer.weights)
    # Padding has the id -1, so a caller needs no counts.
    factors = [
        np.where(ids >= 0, layer.factor[np.maximum(ids, 0)], 0.0)[:, None] for ids in recv.topk_idx
    ]
    y = [(f * x).astype(np.float32) for f, x in zip(factors, recv.x, strict=True)]
    out = ep.combine(y, recv.handle, recv.topk_weights)
    grad_y, grad_row_weights = ep.combine_backward(
        layer.grad_out, recv.handle, y, recv.topk_weights
    )
    grad_rows = [(f * g).astype(np.float32) for f, g in zip(factors, grad_y, strict=True)]
    grad_x, grad_weights = ep.dispatch_backward(grad_rows, recv.handle, grad_row_weights)
    grad_x_alone, _ = ep.dispatch_backward(grad_rows, recv.handle)
    for rank in range(RANKS):
        assert same(out[rank], layer.out(rank))
        assert same(grad_x[rank], layer.grad_x(rank))
        assert same(grad_x_alone[rank], layer.grad_x(rank))
        assert same(grad_weights[rank], layer.grad_weights(rank))
        # What holds no token has no gradient.
        unused = recv.topk_idx[rank] < 0
        assert unused.any() and not grad_y[rank][unused].any()
        assert not grad_row_weights[rank][unused].any()


def test_gradients_of_rows_that_come_back_as_bf16(load, generator):
    plan = Exchange(
        **{**USUAL, "dtype": "bf16"}, layout="expert_major", combine_weights=True, gradients=True
    )
    layer = Layer(plan, RANKS, generator)
    ep = load(plan, RANKS)
    recv = ep.dispatch(layer.x, layer.idx, layer.weights)
    masks = valid_rows(plan, recv, RANKS)
    weights = [np.where(m, w, 0) for m, w in zip(masks, recv.topk_weights, strict=True)]
    x = [np.where(m[:, None], r, 0) for m, r in zip(masks, recv.x, strict=True)]
    out = ep.combine(x, recv.handle, weights)
    grad_y, grad_row_weights = ep.combine_backward(layer.grad_out, recv.handle, x, weights)
    grad_x, grad_weights = ep.dispatch_backward(grad_y, recv.handle, grad_row_weights)
    for rank in range(RANKS):
        scale = np.where(layer.idx[rank] >= 0, layer.weights[rank], 0).sum(1, keepdims=True)
        grad_out = layer.grad_out[rank].astype(np.float64)
        assert same(out[rank], scale * layer.x[rank].astype(np.float64))
        assert same(grad_x[rank], scale * grad_out)
        products = (layer.x[rank] * grad_out).sum(1, keepdims=True)
        assert same(grad_weights[rank], np.where(layer.idx[rank] >= 0, products, 0.0))


@pytest.mark.parametrize("layout", ["rank_major", "slab", "expert_major"])
def test_rows_without_a_token_are_zero(load, generator, layout):
    plan = Exchange(
        **{**USUAL, "dtype": "f8E4M3FN"},
        layout=layout,
        scales=2,
        padding="zero",
        alignment=4 if layout == "expert_major" else 1,
    )
    layer = Layer(plan, RANKS, generator)
    scales = [np.ones((len(x), 2), np.float32) for x in layer.x]
    recv = load(plan, RANKS).dispatch(layer.x, layer.idx, layer.weights, scales)
    for rank, mask in enumerate(valid_rows(plan, recv, RANKS)):
        unused = ~mask
        assert unused.any()
        assert not recv.x[rank][unused].view(np.uint8).any()
        assert not recv.scales[rank][unused].any()
        assert (recv.scales[rank][mask] == 1).all()
        assert (recv.topk_idx[rank][unused] == -1).all()
        assert not recv.topk_weights[rank][unused].any()
        assert (recv.handle.recv_src_idx[rank][unused] == -1).all()


@pytest.mark.parametrize("layout", ["rank_major", "slab", "expert_major"])
def test_rows_come_back_apart(load, generator, layout):
    """Slot by slot: of experts in expert_major, else of ranks."""
    plan = Exchange(**USUAL, layout=layout, reduce="none", padding="zero")
    layer = Layer(plan, RANKS, generator)
    ep = load(plan, RANKS)
    recv = ep.dispatch(layer.x, layer.idx, layer.weights)
    # The rank is added, so that rows of one token differ.
    y = [(x + 1 + rank).astype(np.float32) for rank, x in enumerate(recv.x)]
    out = ep.combine(y, recv.handle)
    owner = {e: r for r in range(RANKS) for e in plan.experts_of(r, RANKS)}
    for rank in range(RANKS):
        slots = plan.top_k if layout == "expert_major" else RANKS
        expected = np.zeros((len(layer.x[rank]), slots, plan.hidden), np.float32)
        for token, chosen in enumerate(layer.idx[rank]):
            for k, expert in enumerate(map(int, chosen)):
                if expert < 0 or expert in chosen[:k]:
                    continue  # no expert, or one that counts in an earlier slot
                slot = k if layout == "expert_major" else owner[expert]
                expected[token, slot] = layer.x[rank][token] + 1 + owner[expert]
        assert np.array_equal(out[rank], expected)


@pytest.mark.parametrize("layout", ["rank_major", "slab", "expert_major"])
@pytest.mark.parametrize("tokens", ["tokens", "max_tokens"])
def test_gradients_of_rows_that_come_back_apart(load, generator, layout, tokens):
    """The gradient of each slot goes to the row of that slot, and to no other."""
    plan = Exchange(
        **{**USUAL, "max_tokens": None, tokens: 6},
        layout=layout,
        reduce="none",
        padding="zero",
        combine_weights=True,
        gradients=True,
    )
    layer = Layer(plan, RANKS, generator)
    ep = load(plan, RANKS)
    recv = ep.dispatch(layer.x, layer.idx, layer.weights)
    weights = [(np.arange(len(x)) % 4 - 1).astype(np.float32) for x in recv.x]
    slots = plan.slots(RANKS)
    grads = [
        generator.integers(-3, 4, (len(x), slots, plan.hidden)).astype(np.float32) for x in layer.x
    ]
    grad_y, grad_weights = ep.combine_backward(grads, recv.handle, recv.x, weights)
    owner = {e: r for r in range(RANKS) for e in plan.experts_of(r, RANKS)}
    expected = [np.zeros((len(x), plan.hidden), np.float32) for x in recv.x]
    for rank in range(RANKS):
        for (token, slot), row in np.ndenumerate(recv.handle.send_row[rank]):
            if row >= 0:
                by_expert = layout == "expert_major"
                target = owner[int(layer.idx[rank][token, slot])] if by_expert else slot
                expected[target][row] = grads[rank][token, slot]
    for rank in range(RANKS):
        assert same(grad_y[rank], (weights[rank][:, None] * expected[rank]).astype(np.float64))
        products = (recv.x[rank].astype(np.float64) * expected[rank]).sum(1)
        assert same(grad_weights[rank], products)
