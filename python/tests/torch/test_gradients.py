# ===- test_gradients.py - results and gradients against a dense layer -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Forward and gradients of layers in every layout and type.

gradcheck needs f64, which entries do not have. Whole numbers take its place: all sums
are exact in every type then, and results are compared bit by bit.
"""

import dataclasses

import pytest
import torch
from layer import EXPERTS, USUAL, Named, case, dense, run, same

from moe_mlir import Exchange
from moe_mlir.torch import ExpertParallel

RANKS = 3
TOKENS = (5, 0, 6)  # a rank without a token, and one with as many as the plan allows

FORMS = {
    "rank_major": {"layout": "rank_major"},
    "slab": {"layout": "slab"},
    "expert_major": {"layout": "expert_major", "alignment": 4},
    "weights": {"layout": "expert_major", "combine_weights": True},
    "apart": {"layout": "expert_major", "reduce": "none"},
}
TYPES = {
    "f32": {"dtype": "f32"},
    "f16": {"dtype": "f16"},
    "bf16": {"dtype": "bf16"},
    "f32-bf16": {"dtype": "f32", "combine_dtype": "bf16"},
    "f8E4M3FN": {"dtype": "f8E4M3FN", "scales": 2},
    "f8E5M2": {"dtype": "f8E5M2", "scales": 4, "scales_dtype": "f16"},
}


def on_rank(ep, seed, whole=True):
    rank = ep.group.rank
    mine = case(ep.plan, rank, seed, TOKENS[rank], whole)
    return run(ep, mine), dense(ep.plan, mine)


def check(results, compare):
    """Compare what ranks have found; the gradients of an expert are where it lives."""
    sums, local = 0, 0
    for (out, grad_x, grad_weights, grad_factor), expected in results:
        assert compare(out, expected[0])
        if grad_x is not None:
            assert compare(grad_x, expected[1])
        assert compare(grad_weights, expected[2])
        local = local + grad_factor
        sums = sums + expected[3]
    assert compare(local, sums)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", TYPES)
def test_every_layout_and_type(threads, form, dtype):
    plan = Exchange(**USUAL, **FORMS[form], **TYPES[dtype], padding="zero", gradients=True)
    check(threads(RANKS, plan, on_rank, 1), same)


@pytest.mark.parametrize("form", ["rank_major", "expert_major"])
def test_expert_ids_of_64_bits(threads, form):
    """They are stored in the int32 tensor of routes all the same."""
    plan = Exchange(
        **USUAL, **FORMS[form], dtype="f32", index_dtype="i64", padding="zero", gradients=True
    )

    def on_rank_of_64_bits(ep):
        mine = case(ep.plan, ep.group.rank, 2, TOKENS[ep.group.rank])
        assert mine.idx.dtype == torch.int64
        recv = ep.dispatch(mine.x, mine.idx, mine.weights)
        assert recv.topk_idx.dtype == torch.int64
        assert recv.handle.routes.dtype == torch.int32
        ids = set(recv.topk_idx.unique().tolist())
        assert ids <= {-1, *ep.experts} and len(ids) > 1
        return on_rank(ep, 2)

    check(threads(RANKS, plan, on_rank_of_64_bits), same)


@pytest.mark.parametrize("form", ["rank_major", "weights"])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_real_numbers(threads, form, dtype):
    """Within rounding of the dense layer in f64.

    Sums are in f32. A value is rounded to the type at most four times on its way: as
    row, result of the expert, sum, and gradient; each costs half a unit in the last
    place of the largest term, and sums have up to 6 * 8 terms.
    """
    plan = Exchange(**USUAL, **FORMS[form], dtype=dtype, padding="zero", gradients=True)
    unit = {"f32": 2**-23, "f16": 2**-10, "bf16": 2**-7}[dtype]

    def close(found, expected):
        scale = expected.abs().max() if expected.numel() else 0.0
        return torch.allclose(
            found.double(), expected, rtol=4 * unit, atol=float(8 * unit * scale)
        )

    check(threads(RANKS, plan, on_rank, 3, False), close)


def test_experts_without_rows_have_gradients_of_zero(threads):
    """All tokens go to one rank; the others take part in both passes with nothing."""
    plan = Exchange(
        **USUAL, layout="expert_major", combine_weights=True, dtype="f32", padding="zero",
        gradients=True,
    )  # fmt: skip

    def main(ep):
        mine = case(plan, ep.group.rank, 4, 4)
        mine.idx[:] = torch.tensor([0, 1, -1], dtype=torch.int32)
        out, grad_x, grad_weights, grad_factor = run(ep, mine)
        expected = dense(plan, mine)
        assert same(out, expected[0]) and same(grad_x, expected[1])
        assert same(grad_weights, expected[2])
        return grad_factor

    first, *others = threads(RANKS, plan, main)
    assert first[:2].abs().sum() > 0
    assert first[2:].eq(0).all() and all(grad.eq(0).all() for grad in others)
    assert len(first) == EXPERTS


def test_ranks_that_skip_their_experts_take_part_in_the_backward_pass(threads):
    """The combine is tied to the dispatch, so no rank waits for one that left."""
    plan = Exchange(
        **USUAL, layout="expert_major", dtype="f32", padding="zero", gradients=True
    )

    def main(ep):
        mine = case(plan, ep.group.rank, 5, 4)
        mine.idx[:] = torch.tensor([0, 1, -1], dtype=torch.int32)
        x, weights, factor = mine.leaves()
        recv = ep.dispatch(x, mine.idx, weights)
        y = torch.zeros_like(recv.x)
        if recv.expert_counts.any():
            y = recv.x * factor[recv.topk_idx.clamp(min=0)]
        out = ep.combine(y, recv.handle)
        assert out.requires_grad
        out.backward(mine.grad_out)
        return x.grad, (factor[0] + factor[1]).detach() * mine.grad_out

    for grad, expected in threads(RANKS, plan, main):
        assert torch.equal(grad, expected)


@pytest.mark.parametrize("dtype", ["f32", "f8E4M3FN"])
@pytest.mark.parametrize("form", ["rank_major", "expert_major"])
def test_no_rows_are_sent_for_gradients_of_weights(threads, form, dtype):
    plan = Exchange(**USUAL, layout=form, dtype=dtype, gradients=True)

    def main(ep):
        mine = case(plan, ep.group.rank, 6, 4)
        weights = mine.weights.requires_grad_()
        recv = ep.dispatch(mine.x, mine.idx, weights)
        here = torch.where(recv.topk_idx >= 0, recv.topk_weights, 0.0)
        with Named() as mode:
            (3 * here).sum().backward()
        assert mode.seen == ["dispatch_backward_weights"]
        assert torch.equal(weights.grad, 3.0 * (mine.idx >= 0))

    threads(RANKS, plan, main)


@pytest.mark.parametrize("keep_blocks", [False, True])
def test_weights_of_rows_by_rank(threads, keep_blocks):
    """A combine with weights adds what one without does of rows that are multiplied before."""
    fields = {"dtype": "f32", "padding": "zero", "gradients": True, "keep_blocks": keep_blocks}
    plan = Exchange(**USUAL, layout="rank_major", **fields)

    def main(ep):
        weighted = ExpertParallel(dataclasses.replace(plan, combine_weights=True), ep.group)
        mine = case(plan, ep.group.rank, 7, 4)
        found = []
        for by in (ep, weighted):
            recv = by.dispatch(mine.x, mine.idx, mine.weights)
            y = recv.x.clone().requires_grad_()
            factor = torch.arange(by.rows, dtype=torch.float32).requires_grad_()
            if by is ep:
                out = by.combine(y * factor[:, None], recv.handle)
            else:
                out = by.combine(y, recv.handle, factor)
            out.backward(mine.grad_out)
            found.append((out, y.grad, factor.grad))
        for value, wanted in zip(*found, strict=True):
            assert torch.equal(value, wanted)

    threads(2, plan, main)
