# ===- cuda_scenes.py - what only GPUs can show -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""``python cuda_scenes.py SCENE FOLDER``, by scripts/test-gpu: moe_mlir.torch on GPUs.

FOLDER has the artifacts of scene_plans.py as torch-NAME.so.

Two ranks are threads that share what GPUs there are; each has a stream of its own, so
that kernels that wait for each other can run at the same time.
"""

from __future__ import annotations

import contextlib
import sys
from typing import NoReturn


def skip(reason: str) -> NoReturn:
    print(f"skipped: {reason}")
    sys.exit(0)


try:
    import torch
except ImportError:
    skip("torch is not installed")

from layer import case, dense, layer, run, same  # noqa: E402
from scene_plans import PLANS  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import moe_mlir as moe  # noqa: E402


@contextlib.contextmanager
def on_stream(group):
    device = torch.device(group.device)
    stream = torch.cuda.Stream(device)
    with torch.cuda.device(device), torch.cuda.stream(stream):
        try:
            yield stream
        except AssertionError:
            # Where a kernel has failed, that is why its results are wrong.
            stream.synchronize()
            group.check()
            raise
        stream.synchronize()
        group.check()


def on_ranks(main, name):
    """Run ``main(ep, stream)`` on ranks that are threads, with a plan of a name."""
    plan, ranks = PLANS[name]
    artifact = f"{sys.argv[2]}/torch-{name}.so"

    def rank(group):
        with on_stream(group) as stream:
            main(moe.torch.ExpertParallel(plan, group, artifact=artifact), stream)

    moe.run_local(ranks, rank, backend="cuda")


def of(ep, seed, tokens=4):
    """A case in the memory of the rank's GPU, and what the dense layer makes of it."""
    mine = case(ep.plan, ep.group.rank, seed, tokens)
    return mine.to(ep.group.device), dense(ep.plan, mine)


def check(found, expected):
    for value, wanted in zip(found[:3], expected[:3], strict=True):
        assert value is None or same(value.cpu(), wanted)


def gradients():
    def main(ep, stream):
        for tokens in (4, 0, 6):
            mine, expected = of(ep, 1, tokens if ep.group.rank else 5)
            check(run(ep, mine), expected)

    for name, (plan, _) in PLANS.items():
        if plan.gradients:
            on_ranks(main, name)


def checkpointing():
    def main(ep, stream):
        mine, expected = of(ep, 2)

        def again(*arguments):
            return checkpoint(
                layer, *arguments, use_reentrant=False, context_fn=moe.torch.reuse_routes
            )

        check(run(ep, mine, again), expected)

    for form in ("rank_major", "weights", "scales", "kept"):
        on_ranks(main, form)


def captured_forward():
    """A graph of torch's is replayed with other tokens and other routes."""

    def main(ep, stream):
        mine, _ = of(ep, 3)
        x, idx, weights, factor = mine.x, mine.idx, mine.weights, mine.factor
        layer(ep, x, idx, weights, factor)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads of the process capture, too.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            out = layer(ep, x, idx, weights, factor)
        for seed in (4, 5):
            other, expected = of(ep, seed)
            x.copy_(other.x)
            idx.copy_(other.idx)
            weights.copy_(other.weights)
            factor.copy_(other.factor)
            graph.replay()
            stream.synchronize()
            ep.group.check()
            assert same(out.cpu(), expected[0])

    on_ranks(main, "weights")


def captured_training_step():
    """Both passes in one graph."""

    def main(ep, stream):
        mine, _ = of(ep, 6)
        x, weights, factor = mine.leaves()

        def step():
            out = layer(ep, x, mine.idx, weights, factor)
            return torch.autograd.grad(out, (x, weights), mine.grad_out)

        step()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            grad_x, grad_weights = step()
        for seed in (7, 8):
            other, expected = of(ep, seed)
            with torch.no_grad():
                for tensor, value in (
                    (x, other.x), (weights, other.weights), (factor, other.factor),
                    (mine.idx, other.idx), (mine.grad_out, other.grad_out),
                ):  # fmt: skip
                    tensor.copy_(value)
            graph.replay()
            stream.synchronize()
            ep.group.check()
            assert same(grad_x.cpu(), expected[1]) and same(grad_weights.cpu(), expected[2])

    on_ranks(main, "alone")


def side_stream():
    """Calls run on the current stream, after what an event makes them wait for."""

    def main(ep, stream):
        side = torch.cuda.Stream()
        for seed in range(3):
            mine, expected = of(ep, seed)
            x = mine.x * 1
            side.wait_stream(stream)
            with torch.cuda.stream(side):
                out = layer(ep, x, mine.idx, mine.weights, mine.factor)
            stream.wait_stream(side)
            out.record_stream(stream)
            assert same(out.cpu(), expected[0])

    on_ranks(main, "rank_major")


def mixed_streams():
    """Without events between them, calls on several streams run one after the other."""

    def main(ep, stream):
        others = [torch.cuda.Stream() for _ in range(3)]
        given = [of(ep, seed) for seed in range(6)]
        stream.synchronize()
        outs = []
        for number, (mine, _) in enumerate(given):
            with torch.cuda.stream(others[number % 3]):
                outs.append(layer(ep, mine.x, mine.idx, mine.weights, mine.factor))
        for other in others:
            other.synchronize()
        for out, (_, expected) in zip(outs, given, strict=True):
            assert same(out.cpu(), expected[0])

    on_ranks(main, "rank_major")


def given_tensors():
    def main(ep, stream):
        recv, y = ep.empty_received(4), ep.empty_rows()
        out = torch.empty(4, ep.plan.hidden, device=y.device)
        for seed in range(3):
            mine, expected = of(ep, seed)
            got = ep.dispatch(mine.x, mine.idx, mine.weights, out=recv)
            ids = got.topk_idx.clamp(0, ep.plan.num_experts - 1)
            torch.mul(got.x * mine.factor[ids], got.topk_weights[:, None], out=y)
            ep.combine(y, got.handle, out=out)
            assert same(out.cpu(), expected[0])

    on_ranks(main, "zero_copy")


def strided_tensors():
    def main(ep, stream):
        mine, expected = of(ep, 1)
        wide = torch.zeros(4, 2 * ep.plan.hidden, device=mine.x.device)
        wide[:, ::2] = mine.x
        out = layer(ep, wide[:, ::2], mine.idx, mine.weights, mine.factor)
        assert same(out.cpu(), expected[0])

    on_ranks(main, "rank_major")


def compiled():
    def main(ep, stream):
        function = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
        for tokens in (5, 3, 6):
            mine, expected = of(ep, tokens, tokens)
            check(run(ep, mine, function), expected)

    for form in ("alone", "kept_alone"):
        on_ranks(main, form)


def host_tensors():
    """They are refused, since results would be on another device than inputs."""

    def main(ep, stream):
        mine = case(ep.plan, ep.group.rank, 1, 4)
        try:
            ep.dispatch(mine.x, mine.idx, mine.weights)
        except ValueError as error:
            assert str(error) == (
                f"dispatch: expected x on {ep.group.device}, where the group of this "
                "ExpertParallel is, got a tensor on cpu"
            )
        else:
            raise AssertionError("nothing was raised")

    on_ranks(main, "rank_major")


if __name__ == "__main__":
    if not torch.cuda.is_available():
        skip("torch finds no GPU that it can use")
    globals()[sys.argv[1]]()
    print("done")
