# ===- test_checkpoint.py - activation checkpointing -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Layers that are computed again in the backward pass, with routes that are not."""

import pytest
import torch
from layer import USUAL, case, layer, run
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import moe_mlir as moe

FORMS = {
    "rank_major": {"layout": "rank_major", "dtype": "f32"},
    "weights": {"layout": "expert_major", "combine_weights": True, "dtype": "bf16"},
    "scales": {"layout": "expert_major", "dtype": "f8E4M3FN", "scales": 2},
    "kept": {"layout": "expert_major", "dtype": "f32", "keep_blocks": True},
    "kept_scales": {
        "layout": "expert_major", "dtype": "f8E4M3FN", "scales": 2, "keep_blocks": True,
    },
}


class Calls(TorchDispatchMode):
    """The names of the operators of moe_mlir that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "moe_mlir":
            self.names.append(func._opname)
        return func(*args, **(kwargs or {}))


def checkpointed(*arguments):
    return checkpoint(layer, *arguments, use_reentrant=False, context_fn=moe.torch.reuse_routes)


def checkpointed_plainly(*arguments):
    return checkpoint(layer, *arguments, use_reentrant=False)


@pytest.mark.parametrize("form", FORMS)
def test_routes_are_computed_once(threads, form):
    plan = moe.Exchange(**USUAL, **FORMS[form], padding="zero", gradients=True)

    def main(ep):
        mine = case(plan, ep.group.rank, 1, 4)
        expected = run(ep, mine)
        with Calls() as calls:
            found = run(ep, mine, checkpointed)
        for value, other in zip(found, expected, strict=True):
            assert (value is None and other is None) or torch.equal(value, other)
        scaled = "_scaled" if plan.scales else ""
        dispatch = f"dispatch{'_kept' * plan.keep_blocks}{scaled}"
        assert calls.names[:2] == [dispatch, "combine"]
        assert dispatch not in calls.names[2:]
        assert "combine" not in calls.names[2:]
        assert f"dispatch_again{scaled}" in calls.names[2:]

    threads(2, plan, main)


def test_plain_checkpointing_works_too(threads):
    plan = moe.Exchange(**USUAL, **FORMS["weights"], padding="zero", gradients=True)

    def main(ep):
        mine = case(plan, ep.group.rank, 1, 4)
        expected = run(ep, mine)
        for value, other in zip(run(ep, mine, checkpointed_plainly), expected, strict=True):
            assert torch.equal(value, other)

    threads(2, plan, main)


def test_a_graph_that_is_kept_is_computed_again_each_time(threads):
    plan = moe.Exchange(**USUAL, **FORMS["rank_major"], padding="zero", gradients=True)

    def main(ep):
        mine = case(plan, ep.group.rank, 1, 4)
        x, weights, factor = mine.leaves()
        out = checkpointed(ep, x, mine.idx, weights, factor)
        out.backward(mine.grad_out, retain_graph=True)
        once = x.grad.clone()
        out.backward(mine.grad_out)
        assert torch.equal(x.grad, 2 * once)

    threads(2, plan, main)


def test_results_that_were_written_to_are_not_used_again(threads):
    plan = moe.Exchange(**USUAL, layout="expert_major", dtype="f32", gradients=True)

    def main(ep):
        mine = case(plan, ep.group.rank, 1, 4)
        x, weights, _ = mine.leaves()

        def changing(x):
            recv = ep.dispatch(x, mine.idx, weights)
            recv.handle.routes.add_(0)
            return ep.combine(recv.x * 2, recv.handle)

        out = checkpoint(
            changing, x, use_reentrant=False, context_fn=moe.torch.reuse_routes
        )
        with pytest.raises(RuntimeError, match="unchanged, got some that were written to"):
            out.backward(mine.grad_out)

    threads(1, plan, main)


def compiled(group):
    torch._dynamo.reset()
    plan = moe.Exchange(**USUAL, **FORMS["weights"], padding="zero", gradients=True)
    ep = moe.torch.ExpertParallel(plan, group)
    mine = case(plan, group.rank, 1, 4)
    expected = run(ep, mine)
    function = torch.compile(checkpointed, fullgraph=True, backend="aot_eager")
    for value, other in zip(run(ep, mine, function), expected, strict=True):
        assert torch.equal(value, other)


def test_compiled_layers(processes):
    processes(compiled)
