# ===- test_memory.py - memory of the caller, and symmetric memory -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Calls that write to given tensors, without a copy where the plan says so."""

import pytest
import torch
from layer import USUAL, case, dense, same

import moe_mlir as moe
from moe_mlir.torch.memory import Kind, empty_on

ZERO_COPY = {"symmetric_recv": True, "symmetric_y": True}


@pytest.mark.parametrize(
    "copies", [{}, ZERO_COPY, {"keep_blocks": True}], ids=["copies", "zero-copy", "kept"]
)
@pytest.mark.parametrize("form", ["rank_major", "expert_major"])
def test_given_tensors(threads, copies, form):
    plan = moe.Exchange(**USUAL, layout=form, dtype="f32", **copies)

    def main(ep):
        recv, y = ep.empty_received(4), ep.empty_rows()
        out = torch.empty(4, plan.hidden)
        for seed in range(3):
            mine = case(plan, ep.group.rank, seed, 4)
            assert ep.dispatch(mine.x, mine.idx, mine.weights, out=recv) is recv
            # The caller may use its own for the next batch by now.
            expected = dense(plan, mine)[0]
            assert torch.equal(recv.handle.topk_idx, mine.idx)
            mine.idx.fill_(-1)
            here = recv.topk_idx >= 0
            ids = recv.topk_idx.clamp(min=0, max=plan.num_experts - 1)
            if plan.is_expert_major:
                y.copy_(recv.x * mine.factor[ids] * recv.topk_weights[:, None])
            else:
                weights = torch.where(here, recv.topk_weights, 0.0)
                y.copy_(recv.x * torch.einsum("ck,ckh->ch", weights, mine.factor[ids]))
            assert ep.combine(y, recv.handle, out=out) is out
            assert same(out, expected)

    threads(2, plan, main)


def test_ids_in_the_memory_that_is_given(threads):
    """They are read from there, and need no copy."""
    plan = moe.Exchange(**USUAL, layout="expert_major", dtype="f32", combine_weights=True)

    def main(ep):
        recv, mine = ep.empty_received(4), case(plan, ep.group.rank, 1, 4)
        ids = recv.handle.topk_idx
        ids.copy_(mine.idx)
        version = ids._version
        ep.dispatch(mine.x, ids, mine.weights, out=recv)
        assert ids._version == version and torch.equal(ids, mine.idx)
        out = ep.combine(recv.x, recv.handle, recv.topk_weights)
        assert same(out, (mine.x * (mine.weights * (mine.idx >= 0)).sum(1, keepdim=True)).double())

    threads(2, plan, main)


@pytest.mark.parametrize("form", ["rank_major", "expert_major"])
def test_given_memory_is_all_there_is(threads, form):
    """torch runs the two operators, and neither copies nor allocates for them."""
    plan = moe.Exchange(**USUAL, layout=form, dtype="f32", **ZERO_COPY)

    def main(ep):
        recv, y, out = ep.empty_received(4), ep.empty_rows(), torch.empty(4, plan.hidden)
        mine, ids = case(plan, ep.group.rank, 1, 4), recv.handle.topk_idx

        def run_by_torch(topk_idx):
            with torch.autograd.profiler.profile(use_kineto=False) as profile:
                ep.dispatch(mine.x, topk_idx, mine.weights, out=recv)
                ep.combine(y, recv.handle, out=out)
            return [event.name for event in profile.function_events]

        # Ids of the caller's are kept, since it may write the next ones there.
        operators = ["moe_mlir::dispatch_out", "moe_mlir::combine_out"]
        assert sorted(run_by_torch(mine.idx)) == sorted([*operators, "aten::copy_"])
        assert torch.equal(ids, mine.idx)
        assert run_by_torch(ids) == operators

    threads(1, plan, main)


def test_gradients_with_rows_in_symmetric_memory(threads):
    """Only received rows that stay where they arrived cannot be part of a graph."""
    plan = moe.Exchange(**USUAL, dtype="f32", symmetric_y=True, padding="zero", gradients=True)

    def main(ep):
        mine = case(plan, ep.group.rank, 1, 4)
        x, *_ = mine.leaves()
        recv = ep.dispatch(x, mine.idx, mine.weights)
        y = ep.empty_rows()
        y = y.copy_(recv.x * 2)
        out = ep.combine(y, recv.handle)
        out.backward(mine.grad_out)
        ranks = (recv.handle.routes[-4 * 2 :].view(4, 2) >= 0).sum(1, keepdim=True)
        assert same(out.detach(), (2 * ranks * mine.x).double())
        assert same(x.grad, (2 * ranks * mine.grad_out).double())

    threads(2, plan, main)


def test_strided_inputs_and_gradients(threads):
    plan = moe.Exchange(**USUAL, layout="expert_major", dtype="f32", gradients=True)

    def main(ep):
        mine = case(plan, ep.group.rank, 1, 4)
        expected = None
        wide = torch.zeros(4, 2 * plan.hidden)
        wide[:, ::2] = mine.x
        for x in (mine.x.clone(), wide[:, ::2]):
            x = x.detach().requires_grad_()
            recv = ep.dispatch(x, mine.idx, mine.weights)
            out = ep.combine(recv.x, recv.handle)
            # The gradient of a sum is one value with strides of 0.
            out.sum().backward()
            expected = (out.detach(), x.grad) if expected is None else expected
            assert torch.equal(out, expected[0]) and torch.equal(x.grad, expected[1])

    threads(2, plan, main)


def test_what_a_dispatch_says(threads):
    """The parts of the routes, by name."""
    plan = moe.Exchange(**USUAL, layout="expert_major", alignment=4, dtype="f32", padding="zero")

    def main(ep):
        rank, ranks = ep.group.rank, ep.group.size
        mine = [case(plan, r, 1, 5) for r in range(ranks)]
        recv = ep.dispatch(mine[rank].x, mine[rank].idx, mine[rank].weights)
        chosen = [[set(row) - {-1} for row in m.idx.tolist()] for m in mine]
        counts = [
            sum(expert in experts for rows in chosen for experts in rows) for expert in ep.experts
        ]
        assert recv.expert_counts.tolist()[: len(counts)] == counts
        offsets = recv.expert_offsets.tolist()
        assert all(offset % 4 == 0 for offset in offsets)
        for expert, offset, count in zip(ep.experts, offsets, counts, strict=False):
            assert (recv.topk_idx[offset : offset + count] == expert).all()
        assert recv.tokens_from_rank.sum() == sum(counts)
        to_me = sum(len(experts & set(ep.experts)) for experts in chosen[rank])
        assert recv.tokens_to_rank[rank] == to_me
        assert recv.x.shape == (ep.rows, plan.hidden)

    threads(2, plan, main)


@pytest.mark.parametrize("layout", ["rank_major", "slab"])
def test_what_a_dispatch_lists(threads, layout):
    """A layer of experts that gather their rows, beside one that looks at all rows."""
    plan = moe.Exchange(**USUAL, layout=layout, list_alignment=4, dtype="f32", padding="zero")

    def main(ep):
        mine = case(plan, ep.group.rank, 1, 5)
        recv = ep.dispatch(mine.x, mine.idx, mine.weights)
        assert recv.list_rows.dtype == torch.int32 and recv.list_weights.dtype == torch.float32
        assert recv.list_rows.shape == recv.list_weights.shape == (plan.list_places(ep.group.size),)
        here = recv.topk_idx >= 0
        factor = torch.where(here[..., None], mine.factor[recv.topk_idx.clamp(min=0)], 0)
        want = (recv.topk_weights[..., None] * factor).sum(1) * recv.x
        found = torch.zeros_like(recv.x)
        groups = zip(recv.expert_offsets.tolist(), recv.expert_counts.tolist(), strict=True)
        for expert, (first, count) in zip(ep.experts, groups, strict=False):
            assert first % 4 == 0
            rows = recv.list_rows[first : first + count].long()
            weights = recv.list_weights[first : first + count, None]
            found[rows] += weights * mine.factor[expert] * recv.x[rows]
        assert torch.equal(found, want)
        assert (recv.list_rows >= 0).sum() == here.sum() == recv.expert_counts.sum()
        assert not recv.list_weights.requires_grad

    threads(2, plan, main)


def test_results_are_made_on_the_gpu_of_the_group(monkeypatch):
    """The fast function makes them on the current one; cuda_scenes.py has real ones."""
    made, current = [], [1]
    monkeypatch.setattr(
        torch._C._dynamo.guards, "_empty_strided_cuda", lambda *kind: made.append(("fast", *kind))
    )
    monkeypatch.setattr(
        torch, "empty_strided", lambda *kind, dtype, device: made.append((device, *kind, dtype))
    )
    monkeypatch.setattr(torch._C, "_cuda_getDevice", lambda: current[0])
    empty, kind = empty_on(torch.device("cuda", 1)), Kind.of((3, 4, 2), torch.int32)
    assert kind == ((3, 4, 2), (8, 2, 1), torch.int32)
    empty(*kind)
    current[0] = 0
    empty(*kind)
    assert made == [("fast", *kind), (torch.device("cuda", 1), *kind)]
