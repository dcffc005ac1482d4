# ===- test_inductor.py - graphs that inductor compiles -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Exchanges that do not depend on each other keep their order on all ranks."""

import datetime

import pytest
import torch
import torch.distributed as dist

import moe_mlir as moe

HIDDEN = 64
# Of this test: compiling takes inductor a while, and on ranks that share a core longer.
SECONDS = 500


def two_batches(ep, first, second, router, weight):
    """Combines that need both dispatches, which have nothing to do with each other."""
    h1, h2 = torch.tanh(first @ weight), torch.tanh(second @ weight)
    w1, ids1 = torch.softmax(h1 @ router, -1).topk(2)
    w2, ids2 = torch.softmax(h2 @ router, -1).topk(2)
    r1 = ep.dispatch(h1, ids1.int(), w1)
    r2 = ep.dispatch(h2, ids2.int(), w2)
    both = r1.topk_weights.sum() + r2.topk_weights.sum()
    y1, y2 = torch.tanh(r1.x @ weight + both), torch.tanh(r2.x @ weight + both)
    out1 = ep.combine(y1, r1.handle, r1.topk_weights)
    out2 = ep.combine(y2, r2.handle, r2.topk_weights)
    # What takes much memory for many tokens, and little for few.
    sum1 = (out1 @ weight.repeat(1, 16)).sin().sum(0)
    return sum1 + (out2 @ weight.repeat(1, 16)).sin().sum(0)


def keeps_order(group):
    import torch._inductor.config

    torch._dynamo.reset()
    plan = moe.Exchange(
        num_experts=8, top_k=2, hidden=HIDDEN, dtype="f32", max_tokens=256,
        layout="expert_major", padding="zero", combine_weights=True,
    )  # fmt: skip
    torch._inductor.config.reorder_for_peak_memory = True  # as it is by default
    with moe.torch.ExpertParallel(plan, timeout=SECONDS) as ep, torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        router = torch.randn(HIDDEN, 8, generator=generator)
        weight = torch.randn(HIDDEN, HIDDEN, generator=generator) / 8
        # By the sizes on this rank either dispatch could come first.
        tokens = (200, 4) if group.rank == 0 else (4, 200)
        inputs = [torch.randn(t, HIDDEN, generator=generator) for t in tokens]
        expected = two_batches(ep, *inputs, router, weight)
        with torch._inductor.config.patch(compile_threads=1, force_disable_caches=True):
            compiled = torch.compile(two_batches, fullgraph=True, dynamic=True)
            found = compiled(ep, *inputs, router, weight)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
        assert expected.abs().max() > 1


def test_order_does_not_follow_the_sizes_of_a_rank(processes):
    processes(keeps_order)


def timeouts(group):
    plan = moe.Exchange(num_experts=4, top_k=1, hidden=8, dtype="f32", max_tokens=4)
    with pytest.raises(TypeError, match="no timeout with a Group"):
        moe.torch.ExpertParallel(plan, group, timeout=3)
    plan.build(group.size, group.target)  # Then ranks come to the load together.
    dist.barrier()
    with moe.torch.ExpertParallel(plan, dist.group.WORLD, timeout=6) as ep:
        begun = datetime.datetime.now()
        if group.rank == 0:
            x = torch.zeros(4, 8)
            with pytest.raises(moe.MoEError, match="rank 1"):
                ep.dispatch(x, torch.zeros(4, 1, dtype=torch.int32), torch.ones(4, 1))
            waited = (datetime.datetime.now() - begun).total_seconds()
            assert 5 < waited < 60
        dist.barrier()


def test_time_out_of_the_group_that_is_made(processes):
    processes(timeouts)
