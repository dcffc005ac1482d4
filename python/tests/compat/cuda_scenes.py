# ===- cuda_scenes.py - moe_mlir.compat on GPUs -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""``python cuda_scenes.py SCENE FOLDER``, by scripts/test-gpu.

FOLDER has the artifacts of scene_plans.py as compat-NAME.so. Two ranks are threads that
share what GPUs there are; each has a stream of its own, so that kernels that wait for each
other can run at the same time.
"""

from __future__ import annotations

import sys
from typing import NoReturn


def skip(reason: str) -> NoReturn:
    print(f"skipped: {reason}")
    sys.exit(0)


try:
    import torch
except ImportError:
    skip("torch is not installed")

import buffer_checks  # noqa: E402
import elastic_checks  # noqa: E402
import low_latency_checks  # noqa: E402
from cases import Sizes, equal  # noqa: E402
from scene_plans import EXPERTS, HIDDEN, LONG, MAX_TOKENS, PLANS, RANKS, TOP_K  # noqa: E402

import moe_mlir as moe  # noqa: E402
from moe_mlir.compat import deep_ep  # noqa: E402


def on_ranks(main, hidden=HIDDEN):
    """Run ``main(group, sizes, artifacts)`` on two ranks that are threads."""
    artifacts = {plan: f"{sys.argv[2]}/compat-{name}.so" for name, plan in PLANS.items()}

    def rank(group):
        sizes = Sizes(RANKS, EXPERTS, TOP_K, hidden, MAX_TOKENS, group.device)
        device = torch.device(group.device)
        stream = torch.cuda.Stream(device)
        with torch.cuda.device(device), torch.cuda.stream(stream):
            try:
                main(group, sizes, artifacts)
            except AssertionError:
                # Where a kernel has failed, that is why its results are wrong.
                stream.synchronize()
                group.check()
                raise
            stream.synchronize()
            group.check()

    moe.run_local(RANKS, rank, backend="cuda")


def elastic(check):
    def main(group, sizes, artifacts):
        buffer = deep_ep.ElasticBuffer(group, num_max_tokens_per_rank=sizes.max_tokens)
        buffer.use_artifacts(artifacts)
        check(buffer, group.rank, sizes)

    on_ranks(main)


def old(check, hidden):
    def main(group, sizes, artifacts):
        buffer = deep_ep.Buffer(group)
        buffer.use_artifacts(artifacts)
        check(buffer, group.rank, sizes)

    on_ranks(main, hidden)


def rows():
    elastic(elastic_checks.rows)


def expanded():
    elastic(elastic_checks.expanded)


def combined():
    elastic(elastic_checks.combined)


def reused():
    elastic(elastic_checks.reused)


def overlapped():
    elastic(elastic_checks.overlapped)


def normal():
    old(buffer_checks.normal, HIDDEN)


def low_latency():
    old(low_latency_checks.check, LONG)


def captured():
    """Calls without a CPU sync in a graph, replayed with other tokens and routes."""

    def main(group, sizes, artifacts):
        buffer = deep_ep.ElasticBuffer(group, num_max_tokens_per_rank=sizes.max_tokens)
        buffer.use_artifacts(artifacts)
        mine = sizes.case(group.rank, 0)

        def step():
            x, _, _, handle, _ = buffer.dispatch(
                mine.x, mine.idx, mine.weights, num_experts=sizes.experts, do_cpu_sync=False,
                do_expand=True, expert_alignment=4,
            )  # fmt: skip
            return buffer.combine(x, handle)[0]

        step()
        torch.cuda.current_stream().synchronize()
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream()
        # Other threads of the process capture, too.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            out = step()
        for seed in (2, 4):
            other = sizes.case(group.rank, seed)
            tokens = min(len(mine.x), len(other.x))
            mine.idx.fill_(-1)
            mine.x[:tokens], mine.idx[:tokens] = other.x[:tokens], other.idx[:tokens]
            graph.replay()
            expected = step()
            stream.synchronize()
            group.check()
            equal(out, expected)
            assert bool(out[:tokens].any())

    on_ranks(main)


if __name__ == "__main__":
    if not torch.cuda.is_available():
        skip("torch finds no GPU that it can use")
    globals()[sys.argv[1]]()
    print("done")
