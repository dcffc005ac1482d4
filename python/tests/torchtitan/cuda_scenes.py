# ===- cuda_scenes.py - layers of torchtitan on GPUs -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""``python cuda_scenes.py SCENE FOLDER``, by scripts/test-gpu, as that of moe_mlir.torch.

Ranks are threads, so there is no mesh of processes: each has its part of the experts'
weights, and a dispatcher that was given its exchange. Tokens are bfloat16, to which
torchtitan rounds each product and sum, and ours the results.
"""

from __future__ import annotations

import contextlib
import copy
import pathlib
import sys
from typing import NoReturn


def skip(reason: str) -> NoReturn:
    print(f"skipped: {reason}")
    sys.exit(0)


sys.path.append(str(pathlib.Path(__file__).parents[1] / "torch"))
try:
    import titan
    import torch
except ImportError as error:
    skip(f"torchtitan cannot be imported: {error}")

from scene_plans import PLANS  # noqa: E402

import moe_mlir as moe  # noqa: E402

TOKENS = (8, 5)


def with_dispatcher(dense, group):
    """A copy of a dense layer that has its rank's experts, and the dispatcher."""
    plan, _ = PLANS["titan"]
    config = titan.ours('"dtype": "bfloat16"').routed_experts.token_dispatcher
    dispatcher = config.build()
    assert dispatcher.plan(group.size) == plan
    artifact = f"{sys.argv[2]}/torch-titan.so"
    dispatcher.ep = moe.torch.ExpertParallel(plan, group, artifact=artifact)
    layer = copy.deepcopy(dense)
    layer.routed_experts.token_dispatcher = dispatcher
    experts = layer.routed_experts.inner_experts
    for name in titan.WEIGHTS:
        whole = getattr(experts, name).detach()
        mine = whole[dispatcher.ep.experts.start : dispatcher.ep.experts.stop]
        setattr(experts, name, torch.nn.Parameter(mine.clone()))
    return layer


def inputs(rank, seed, device):
    return [t.to(device, torch.bfloat16) for t in titan.inputs(rank, seed, TOKENS[rank])]


def on_ranks(main):
    titan.utils.set_spmd_backend("partial_dtensor")  # as there is no mesh
    dense = titan.dense(1)

    def rank(group):
        device = torch.device(group.device)
        stream = torch.cuda.Stream(device)
        with torch.cuda.device(device), torch.cuda.stream(stream):
            alone = copy.deepcopy(dense).to(device)
            main(group, alone, with_dispatcher(alone, group).to(device), stream)
            stream.synchronize()
            group.check()

    moe.run_local(2, rank, backend="cuda")


def layer():
    """Forward and backward, against all tokens on one GPU."""

    def main(group, alone, shared, stream):
        for seed in range(3):
            given = [inputs(rank, seed, group.device) for rank in range(2)]
            x, grad_out = (torch.cat(part, 1) for part in zip(*given, strict=True))
            out, grad_x, _, *grads = titan.run(alone, x, grad_out)
            found = titan.run(shared, *given[group.rank])
            expected = [part.split(TOKENS, 1)[group.rank] for part in (out, grad_x)]
            expected += [grad.chunk(2)[group.rank] for grad in grads]
            del found[2]  # the router's gradient of this rank's tokens alone
            for value, wanted in zip(found, expected, strict=True):
                titan.close(value, wanted, bits=5)

    on_ranks(main)


def captured_layer():
    """The whole forward pass in a graph, replayed with other tokens and routes."""

    def main(group, alone, shared, stream):
        shared.eval()
        x, _ = inputs(group.rank, 0, group.device)
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            shared(x)
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                out = shared(x)
            for seed in (1, 2):
                other, _ = inputs(group.rank, seed, group.device)
                x.copy_(other)
                graph.replay()
                stream.synchronize()
                group.check()
                titan.close(out, alone(other), bits=5)

    on_ranks(main)


if __name__ == "__main__":
    if not torch.cuda.is_available():
        skip("torch finds no GPU that it can use")
    globals()[sys.argv[1]]()
    print("done")
