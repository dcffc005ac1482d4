# ===- package.py - the same artifact through C and through Python -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Dispatch and combine into given outputs, replayed as a CUDA graph: captured from
calls of the C API, and captured from calls of the Python package."""

import sys
from pathlib import Path

import torch

from . import data, modules
from .problem import Problem
from .runtime import CallInto

CALLS = 20
ROUNDS, SAMPLES_PER_ROUND = 8, 12


class ByCApi:
    """The artifact on the context of the rank."""

    name = "c_api"

    def __init__(self, this, path):
        self.memory = this.memory
        self.artifact = self.memory.load(path)
        self.buffers = []

    def empty(self, shape, dtype):
        self.buffers.append(self.memory.symmetric(torch.Size(shape).numel() * dtype.itemsize))
        return self.buffers[-1].view(0, shape, dtype)

    def bind(self, entry, inputs, outputs):
        """A callable of no arguments."""
        return CallInto(self.memory, self.memory.entry(self.artifact, entry), inputs, outputs)

    def finish(self):
        self.memory.check_errors()

    def close(self):
        for buffer in self.buffers:
            self.memory.free(buffer)
        self.memory.unload(self.artifact)


class ByPackage:
    """The same artifact on a group of the Python package, with a heap of its own."""

    name = "python"

    def __init__(self, this, path):
        if this.config["package"] not in sys.path:
            sys.path.insert(0, this.config["package"])
        from moe_mlir.runtime import Group  # pylint: disable=import-outside-toplevel

        self.group = Group.from_torch()
        self.loaded = self.group.load(path)

    def empty(self, shape, dtype):
        return self.group.empty(shape, dtype)

    def bind(self, entry, inputs, outputs):
        into = self.loaded[entry].into
        return lambda: into(outputs, *inputs)

    def finish(self):
        self.group.check()

    def close(self):
        self.group.close()


class Exchange:
    """Dispatch and combine with all their arrays, by one of the ways above."""

    def __init__(self, this, problem, way):
        self.problem, self.way, self.rank = problem, way, this.rank
        mine, ranks = problem.mine, this.ranks
        model, rows = problem.model, ranks * problem.tokens
        self.received = [
            way.empty(shape, dtype) for shape, dtype in [
                ((rows, model.hidden), torch.bfloat16), ((rows, model.top_k), torch.int32),
                ((rows, model.top_k), torch.float32), ((rows,), torch.int32)]]
        numbers = dict(dtype=torch.int32, device=this.device)
        to_ranks, from_ranks = torch.empty(ranks, **numbers), torch.empty(ranks, **numbers)
        send_row = torch.empty((problem.tokens, ranks), **numbers)
        self.y = way.empty((rows, model.hidden), torch.bfloat16)
        self.out = torch.empty_like(mine.x)
        self.dispatch = way.bind("dispatch", [mine.x, mine.idx, mine.weights],
                                 [*self.received, to_ranks, from_ranks, send_row])
        self.combine = way.bind("combine", [self.y, send_row, self.received[3], from_ranks], [self.out])

    def __call__(self):
        self.dispatch()
        self.combine()

    def poison(self):
        for tensor in (*self.received, self.y, self.out):
            data.poison(tensor)
        expected = self.problem.expected
        self.y[expected.rows] = data.transform(self.problem.layout, self.rank, expected.x, None)

    def wrong(self, total):
        """What differs from the expected results."""
        x, idx, weights, source = self.received
        found = self.problem.expected.problems(x, source, idx, weights)
        same, note = data.compare_sums(self.out, total)
        return found + ([] if same else [f"sums ({note})"])


def run(this, unit):
    """Replays of both, in turn, so that whatever changes slowly changes both."""
    problem = Problem(this, unit, "rank_major")
    path = Path(this.config["artifacts"]) / modules.exchange_name(problem.model.name, problem.tokens, problem.layout, 0)
    total = problem.expected_combine(this, False)
    exchanges = [Exchange(this, problem, way(this, path)) for way in (ByCApi, ByPackage)]
    graphs, wrong = [], []
    for exchange in exchanges:
        exchange.poison()
        this.meet()
        # The first call may allocate, which a capture does not allow.
        exchange()
        this.finish()
        graphs.append(this.capture(exchange, CALLS))
        exchange.poison()
        this.meet()
        graphs[-1].replay()
        this.finish()
        exchange.way.finish()
        wrong.append(exchange.wrong(total))
        this.meet()
    samples, late = [[], []], [0, 0]
    for _ in range(ROUNDS):
        for i, graph in enumerate(graphs):
            taken, count = this.replays(graph, SAMPLES_PER_ROUND, CALLS)
            samples[i] += taken
            late[i] += count
    num_bytes = problem.dispatch_bytes + problem.combine_bytes
    for exchange, taken, count, problems in zip(exchanges, samples, late, wrong):
        key = {**problem.key, "series": exchange.way.name, "op": "dispatch_and_combine", "mode": "graph"}
        this.record(key, (taken, count), num_bytes, not problems,
                    f"wrong: {', '.join(problems)}" if problems else None)
    ways = [exchange.way for exchange in exchanges]
    del graphs, exchanges, exchange, graph
    this.meet()
    for way in ways:
        way.close()
