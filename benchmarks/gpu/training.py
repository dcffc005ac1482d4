# ===- training.py - exchanges called from torch -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Dispatch and combine by the operators of moe_mlir.torch, beside the entries that
they call: forward and backward passes, also as one writes them with torch alone, and
CUDA graphs of few tokens. Experts give back what they get, so that exchanges alone are
timed."""

import functools
from pathlib import Path

import torch
from moe_mlir.runtime import Group
from moe_mlir.runtime.dtypes import torch_dtype
from moe_mlir.torch import ExpertParallel

from . import data, host_rank, plans, rank
from .by_torch import ByTorch
from .problem import Problem

DYNAMIC = -1
# Steps in a row per sample, so that the CPU is ahead of the GPU as in training.
STEPS = 5
GRAPH_CALLS = 20
FORWARD = ("dispatch", "combine")


# --- ways to exchange --------------------------------------------------------- #


class Bare:
    """Entries with given outputs. They are joined by name: what one writes is what
    the next one reads."""

    series = "bare"
    adds_in_f32 = True
    # Experts give back what they get, also in the backward pass.
    SAME = {"y": "recv_x", "weights": "recv_topk_weights", "grad_recv_x": "grad_y",
            "grad_recv_topk_weights": "grad_weights"}

    def __init__(self, problem, loaded, plan, group, entries, grad_out=None):
        mine = problem.mine
        self.tensors = {"x": mine.x, "topk_idx": mine.idx, "topk_weights": mine.weights, "grad_out": grad_out}
        self.written, self.calls = [], []
        for entry in entries:
            signature = plan.signature(entry, group.size)
            for spec in signature.results:
                shape = [problem.tokens if extent == DYNAMIC else extent for extent in spec.shape]
                dtype = torch_dtype(spec.dtype)
                made = (group.empty(shape, dtype, like="torch") if spec.symmetric
                        else torch.empty(shape, dtype=dtype, device=mine.x.device))
                self.tensors[spec.name] = made
                self.written.append(made)
            arguments = [self.tensors[self.SAME.get(spec.name, spec.name)] for spec in signature.arguments]
            results = [self.tensors[spec.name] for spec in signature.results]
            self.calls.append(functools.partial(loaded[entry].into, results, *arguments))

    def __call__(self):
        for call in self.calls:
            call()

    def poison(self):
        for tensor in self.written:
            data.poison(tensor)

    def results(self):
        return self.tensors


class Operators:
    """Those of moe_mlir.torch; with `grad_out` forward and backward."""

    series = "torch"
    adds_in_f32 = True

    def __init__(self, problem, ep, grad_out=None, given=False):
        self.ep, self.mine, self.grad_out = ep, problem.mine, grad_out
        self.is_weighted = ep.plan.combine_weights
        x, weights = self.mine.x, self.mine.weights
        self.leaves = []
        if grad_out is not None:
            x, weights = x.detach().requires_grad_(), weights.detach()
            self.leaves = [x, weights.requires_grad_()] if self.is_weighted else [x]
        self.x, self.weights, self.grads = x, weights, ()
        self.received = ep.empty_received(problem.tokens) if given else None
        self.out = torch.empty_like(x) if given else None
        # Ids that lie where the routes are kept are not copied there, as the entries copy none.
        self.idx = self.received.handle.topk_idx.copy_(self.mine.idx) if given else self.mine.idx
        self.is_given = given

    def __call__(self):
        given = self.received if self.is_given else None
        recv = self.received = self.ep.dispatch(self.x, self.idx, self.weights, out=given)
        weights = recv.topk_weights if self.is_weighted else None
        out = self.ep.combine(recv.x, recv.handle, weights, out=self.out if self.is_given else None)
        if self.leaves:
            self.grads = torch.autograd.grad(out, self.leaves, self.grad_out)
        self.out = out.detach()

    def poison(self):
        recv = self.received
        for tensor in (recv.x, recv.topk_weights, recv.handle.routes, self.out):
            data.poison(tensor.detach())

    def results(self):
        recv = self.received
        found = {name: recv.layout.part(recv.handle.routes, name) for name in ("recv_src_idx", "recv_topk_idx")}
        found |= {"recv_x": recv.x.detach(), "recv_topk_weights": recv.topk_weights.detach(), "out": self.out}
        return found | dict(zip(("grad_x", "grad_topk_weights"), self.grads))


class TorchAlone:
    """by_torch.py, forward and backward."""

    series = "nccl"
    adds_in_f32 = False  # gradients of x, whose rows index_select has taken several times

    def __init__(self, problem, ranks, grad_out):
        self.code, self.mine, self.grad_out = ByTorch(problem, ranks), problem.mine, grad_out
        self.x = problem.mine.x.detach().requires_grad_()
        self.found = {}

    def __call__(self):
        received, route = self.code.dispatch(self.x, self.mine.idx, self.mine.weights)
        out = self.code.combine(received[0], route)
        grad, = torch.autograd.grad(out, self.x, self.grad_out)
        self.found = {"out": out.detach(), "grad_x": grad}

    def poison(self):
        pass

    def results(self):
        return self.found


# --- what must come out --------------------------------------------------------- #


class Oracle:
    """Results of a layer whose experts give back what they get, from the inputs alone."""

    def __init__(self, problem, ranks, grad_out=None):
        self.received = problem.expected
        mine, local = problem.mine, problem.model.experts // ranks
        if problem.layout == "expert_major":
            terms = mine.weights.sum(1, keepdim=True)
        else:
            terms = torch.nn.functional.one_hot((mine.idx // local).long(), ranks).amax(1).sum(1, keepdim=True)
        self.is_weighted = problem.layout == "expert_major"
        self.sums = {"out": mine.x.float() * terms}
        if grad_out is not None:
            self.sums["grad_x"] = grad_out.float() * terms
            if self.is_weighted:
                dots = (grad_out.double() * mine.x.double()).sum(1, keepdim=True)
                self.sums["grad_topk_weights"] = dots.float().expand(mine.weights.shape)

    def wrong(self, way):
        """Names of the results of a way that are wrong."""
        results, found = way.results(), []
        if "recv_x" in results:
            found += self.received.problems(results["recv_x"], results["recv_src_idx"], results["recv_topk_idx"],
                                            results["recv_topk_weights"])
        for name, want in self.sums.items():
            got = results.get(name)
            if got is None:
                continue
            if name == "grad_topk_weights":  # a sum of products over the row, in f32 and another order
                close = torch.allclose(got, want, rtol=1e-3, atol=1e-2)
            elif way.adds_in_f32 and not self.is_weighted:
                close = torch.equal(got, want.bfloat16())
            else:  # terms are rounded to bf16, and the sum once more
                close = torch.allclose(got.float(), want, rtol=2**-7, atol=1e-6)
            if not close:
                found.append(name)
        return found


# --- units --------------------------------------------------------------------- #


def join(this, unit, problem):
    """(plan, group, what is loaded, ExpertParallel), of one artifact."""
    use = unit.get("use", "training")
    plan = plans.plan(problem.model, problem.tokens, problem.layout, use)
    artifact = Path(this.config["artifacts"]) / plans.name(problem.model, problem.tokens, problem.layout, use)
    group = Group.from_torch()
    return plan, group, group.load(artifact), ExpertParallel(plan, group, artifact=artifact)


def check(this, ways, oracle):
    """What is wrong with the results of each, by name of the series."""
    wrong = {}
    for way in ways:
        way()
        way.poison()
        this.finish()
        this.meet()
        way()
        this.finish()
        wrong[way.series] = oracle.wrong(way)
    return wrong


def compare(this, key, ways, wrong, one_round):
    """Samples of all ways in turn, so that whatever changes slowly changes all."""
    samples, late = {way.series: [] for way in ways}, dict.fromkeys((way.series for way in ways), 0)
    for _ in range(this.config["rounds"]):
        for way in ways:
            taken, count = one_round(way)
            samples[way.series] += taken
            late[way.series] += count
    for way in ways:
        names = wrong[way.series]
        this.record({**key, "series": way.series}, (samples[way.series], late[way.series]), 0, not names,
                    f"wrong: {', '.join(names)}" if names else None)


def train(this, unit):
    """Forward and backward passes; and the forward exchanges alone, for other
    frameworks to be compared with."""
    problem = Problem(this, unit, unit["layout"])
    grad_out = torch.randn(problem.mine.x.shape, device=this.device,
                           generator=data.generator(this.device, 17, this.rank)).bfloat16()
    plan, group, loaded, ep = join(this, unit, problem)
    oracle = Oracle(problem, this.ranks, grad_out)
    # What the operators call: gradients of weights where these have an effect.
    backward = "dispatch_backward" if plan.combine_weights else "dispatch_backward_x"
    ways = [Bare(problem, loaded, plan, group, (*FORWARD, "combine_backward", backward), grad_out),
            Operators(problem, ep, grad_out)]
    if problem.layout == "rank_major":
        ways.append(TorchAlone(problem, this.ranks, grad_out))

    def in_a_row(way):
        def steps():
            for _ in range(STEPS):
                way()
        taken, late = this.eager(steps, this.config["samples"], warmup=2, waits_for_cpu=True)
        return [rank.sampling.Sample(s.gpu_us / STEPS, s.enqueue_us / STEPS, s.is_late) for s in taken], late

    compare(this, {**problem.key, "op": "forward_and_backward", "mode": "eager"}, ways, check(this, ways, oracle),
            in_a_row)
    del ways
    if problem.layout == "rank_major":
        forward = [Bare(problem, loaded, plan, group, FORWARD)]
        compare(this, {**problem.key, "op": "dispatch_and_combine", "mode": "eager"}, forward,
                check(this, forward, Oracle(problem, this.ranks)), in_a_row)
        del forward
    this.meet()
    ep.close()
    group.close()


def captured(this, unit):
    """CUDA graphs of both, without gradients. In the use `zero_copy` the operators
    write to given tensors, otherwise to new ones of the graph."""
    problem = Problem(this, unit, unit["layout"])
    plan, group, loaded, ep = join(this, unit, problem)
    ways = [Bare(problem, loaded, plan, group, FORWARD), Operators(problem, ep, given=unit["use"] == "zero_copy")]
    oracle, wrong, graphs = Oracle(problem, this.ranks), {}, {}
    for way in ways:
        # The first call may allocate, which a capture does not allow.
        way()
        this.finish()
        this.meet()
        graphs[way.series] = this.capture(way, GRAPH_CALLS)
        way.poison()
        this.finish()
        this.meet()
        graphs[way.series].replay()
        this.finish()
        group.check()
        wrong[way.series] = oracle.wrong(way)
        this.meet()
    compare(this, {**problem.key, "op": "dispatch_and_combine", "mode": "graph", "use": unit["use"]}, ways, wrong,
            lambda way: this.replays(graphs[way.series], this.config["samples"], GRAPH_CALLS))
    del graphs, ways, way
    this.meet()
    ep.close()
    group.close()


def run(this, unit):
    {"training": train, "captured": captured}[unit["kind"]](this, unit)


def serve(number, ranks, config, connection):
    """The main function of a rank's process."""
    kind = host_rank.HostRank if config["target"] == "host" else rank.Rank
    rank.serve_units(kind, run, number, ranks, config, connection)
