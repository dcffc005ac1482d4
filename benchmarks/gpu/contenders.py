# ===- contenders.py - exchanges that take turns -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Several ways to do the same exchange, checked and then timed in turn, so that
whatever changes slowly changes all of them."""

import importlib
from pathlib import Path

import torch

from . import data, forms, shapes
from .cases import compare_ours
from .host_rank import HostRank
from .modules import COMBINES, result_dims
from .peers import PEERS, measure
from .problem import Problem
from .rank import Rank, serve_units
from .runtime import CallInto
from .shapes import PAIR, effort

DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32, "i32": torch.int32}
# Series take turns this often. In a round there are so many samples of eager calls
# and of graphs, by whether an exchange has few tokens.
ROUNDS = 5
SAMPLES = {True: (7, 6), False: (3, 3)}


class Arrays:
    """What exchanges of ours of one layout write and read; they share it, since one
    runs at a time."""

    def __init__(self, this, problem, is_listed):
        self.this, self.problem, self.buffers = this, problem, []
        dims = result_dims(problem.model, this.ranks, problem.tokens, problem.layout,
                           shapes.LISTED if is_listed else None)
        shaped = [(shape, DTYPES[element]) for *shape, element in dims]
        self.received = [self.symmetric(shape, dtype) for shape, dtype in shaped[:4]]
        self.results = [*self.received, *(torch.empty(s, dtype=d, device=this.device) for s, d in shaped[4:])]
        self.y = self.symmetric(*shaped[0])
        self.out = torch.empty_like(problem.mine.x)

    def symmetric(self, shape, dtype):
        self.buffers.append(self.this.memory.symmetric(torch.Size(shape).numel() * dtype.itemsize))
        return self.buffers[-1].view(0, shape, dtype)

    def poison(self):
        for tensor in (*self.received, self.y, self.out):
            data.poison(tensor)
        expected, problem = self.problem.expected, self.problem
        self.y[expected.rows] = data.transform(problem.layout, self.this.rank, expected.x, expected.experts)

    def close(self):
        del self.received, self.results, self.y
        for buffer in self.buffers:
            self.this.memory.free(buffer)


class Ours:
    """An artifact: its dispatch, and a combine with or without a deferred release."""

    def __init__(self, this, arrays, artifact, key):
        self.this, self.arrays, self.key = this, arrays, key
        problem, memory = arrays.problem, this.memory
        recv_weights, source, from_ranks, send_row = (arrays.results[i] for i in (2, 3, 5, 6))
        inputs = [arrays.y, send_row, source, from_ranks]
        if problem.layout == "expert_major":
            inputs += [problem.mine.idx, recv_weights]
        results = arrays.results if self.is_listed else arrays.results[:9 if problem.layout == "expert_major" else 7]
        mine = problem.mine
        self.dispatch = CallInto(memory, memory.entry(artifact, "dispatch"), [mine.x, mine.idx, mine.weights], results)
        self.combine = CallInto(memory, memory.entry(artifact, COMBINES[key["defer_release"]]), inputs, [arrays.out])
        self.bytes = (problem.dispatch_bytes, problem.combine_bytes)

    @property
    def is_listed(self):
        return self.key.get("variant") == shapes.LISTED

    def pair(self):
        self.dispatch()
        self.combine()

    def wrong(self):
        """(right, note) of what the last pair wrote."""
        problem, results = self.arrays.problem, self.arrays.results
        recv, experts, weights, source, _, from_ranks, _, *lists = results
        wrong = problem.expected.problems(recv, source, experts, weights)
        if from_ranks.tolist() != problem.expected.counts:
            wrong.append("counts")
        if self.is_listed:
            local = problem.model.experts // self.this.ranks
            wrong += problem.expected.problems_of_lists(*lists, self.this.rank * local, shapes.LIST_ALIGNMENT)
        right, note = compare_ours(self.this, problem, self.key.get("variant"), self.arrays.out)
        return right and not wrong, f"wrong: {', '.join(wrong)}" if wrong else note

    def check(self, call):
        self.this.meet()
        self.arrays.poison()
        self.this.meet()
        call()
        self.this.finish()
        return self.wrong()

    def capture(self, calls):
        # The first call may allocate, which a capture does not allow.
        ok, note = self.check(self.pair)
        self.graph = self.this.capture(self.pair, calls)
        if ok:
            ok, note = self.check(self.graph.replay)
        return ok, note


class Peer:
    """An exchange of another project."""

    def __init__(self, this, problem, kind):
        self.this, self.problem = this, problem
        self.exchange = importlib.import_module(f".peers.{kind}", __package__).Exchange(this, problem)
        self.key = {**problem.key, "series": kind, "version": self.exchange.version}
        self.dispatch, self.combine = self.exchange.dispatch, self.exchange.combine
        self.bytes = (problem.dispatch_bytes, problem.combine_bytes)

    def pair(self):
        self.exchange.dispatch()
        self.exchange.combine()

    def capture(self, calls):
        got, ok, note = measure.check(self.this, self.problem, self.exchange)
        self.graph = self.this.capture(self.pair, calls)
        if ok:
            ok, note = measure.check_replay(self.this, self.problem, self.exchange, self.graph, got)
        return ok, note


def series(this, contender, tokens):
    """What is timed of a contender: (operation, mode, how samples are taken, bytes)."""
    eager, replays = SAMPLES[tokens <= shapes.SLAB_TOKENS]
    calls = effort(tokens)["graph_calls"]
    dispatch, combine = contender.bytes
    return [
        ("dispatch", "eager", lambda: this.eager(contender.dispatch, eager, after=contender.combine), dispatch),
        ("combine", "eager", lambda: this.eager(contender.combine, eager, before=contender.dispatch), combine),
        (PAIR, "graph", lambda: this.replays(contender.graph, replays, calls), dispatch + combine),
    ]


def take_turns(this, contenders, tokens):
    checked = {contender: contender.capture(effort(tokens)["graph_calls"]) for contender in contenders}
    taken = {}
    for _ in range(ROUNDS):
        for contender in contenders:
            for op, mode, take, num_bytes in series(this, contender, tokens):
                this.meet()
                samples, late = take()
                kept = taken.setdefault((contender, op, mode, num_bytes), [[], 0])
                kept[0] += samples
                kept[1] += late
    for (contender, op, mode, num_bytes), (samples, late) in taken.items():
        this.record({**contender.key, "op": op, "mode": mode}, (samples, late), num_bytes, *checked[contender])


def run(this, unit):
    """All contenders of a shape."""
    tokens, folder = unit["tokens"], Path(this.config["artifacts"])
    contenders, arrays, artifacts = [], {}, []
    for kind in this.config["peers"]:
        peer = PEERS[kind]
        contenders.append(Peer(this, Problem(this, unit, peer.layout, peer.sends), kind))
    for form, layout, variant, path in forms.artifacts_of(folder, unit["model"], tokens):
        if layout not in arrays:
            arrays[layout] = Arrays(this, Problem(this, unit, layout), layout != "expert_major")
        artifacts.append(this.memory.load(path))
        this.meet()
        key = {**arrays[layout].problem.key, "series": "ours", "blocks": 0, "form": form,
               **({"variant": variant} if variant else {})}
        # A push ends in the same way in both forms, and lists change no combine.
        for deferred in (True,) if layout != "expert_major" else (False, True):
            contenders.append(Ours(this, arrays[layout], artifacts[-1], {**key, "defer_release": deferred}))
    take_turns(this, contenders, tokens)
    for contender in contenders:
        contender.graph = None
    this.meet()
    for contender in contenders:
        if isinstance(contender, Peer):
            contender.exchange.close()
    del contenders, contender
    for made in arrays.values():
        made.close()
    for artifact in artifacts:
        this.memory.unload(artifact)


class Host(HostRank):
    """A rank without a GPU, to try this where there is none."""

    def __init__(self, rank, ranks, config, send):
        super().__init__(rank, ranks, config, send)
        self.memory = self.open_memory()


def serve(number, ranks, config, connection):
    """The main function of a rank's process."""
    serve_units(Host if config["target"] == "host" else Rank, run, number, ranks, config, connection)
