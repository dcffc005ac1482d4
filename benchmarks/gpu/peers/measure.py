# ===- measure.py - how a peer is measured -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Checks and times one exchange of a peer, in the same way as ours.

A peer's exchange is a class `Exchange(this, problem)` with

    version, variant   the peer's version; how it is used, or None
    dispatch()         enqueues a dispatch
    combine()          enqueues the combine that belongs to the last dispatch
    received()         what the last dispatch delivered: a `Received`
    rows, y            after `received`, the rows of `y`, combine's input, that
                       belong to what was received
    is_weighted        whether combine multiplies rows by their weights
    rounds_partials    whether combine rounds the sum of each rank
    out                what the last combine made
    close()            collective; gives everything back
"""

import dataclasses
import importlib

import torch

from .. import data
from ..problem import Problem
from ..shapes import PAIR, effort
from . import PEERS


@dataclasses.dataclass
class Received:
    """Received rows in any order; None for what a peer does not deliver."""

    x: torch.Tensor
    experts: torch.Tensor
    weights: torch.Tensor | None


def order_of(x, experts):
    """An order of rows that depends on their contents alone. Rows of the same
    token differ in their experts, and other rows in their first elements."""
    order = torch.argsort(experts.reshape(len(experts), -1)[:, 0], stable=True)
    for first in (4, 0):
        # Four elements of bf16 in an integer.
        key = x[:, first:first + 4].contiguous().view(torch.int64).flatten()
        order = order[torch.argsort(key[order], stable=True)]
    return order


def problems(expected, got):
    """Names of the received tensors that are wrong."""
    if len(got.x) != len(expected.x):
        return [f"number of rows ({len(got.x)}, expected {len(expected.x)})"]
    mine, theirs = order_of(expected.x, expected.experts), order_of(got.x, got.experts)
    pairs = [("x", got.x, expected.x), ("experts", got.experts, expected.experts),
             ("weights", got.weights, expected.weights)]
    return [name for name, have, want in pairs
            if have is not None and not data.same_bits(have[theirs], want[mine])]


def fill(this, problem, exchange, x, experts):
    """Writes what the experts of this rank make of received rows."""
    exchange.y[exchange.rows] = data.transform(problem.layout, this.rank, x, experts)


def compare(this, problem, exchange, x):
    """(right, note) of the sums that combine made of the tokens `x`."""
    want = problem.expected_combine(this, exchange.is_weighted, x)
    if not exchange.rounds_partials:
        return data.compare_sums(exchange.out, want)
    return data.compare_partial_sums(exchange.out, want, problem.expected_combine(this, exchange.is_weighted, x.abs()))


def check(this, problem, exchange):
    """What a dispatch delivered, and (right, note) of it and its combine."""
    this.meet()
    data.poison(exchange.y)
    data.poison(exchange.out)
    this.meet()
    exchange.dispatch()
    this.finish()
    got = exchange.received()
    wrong = problems(problem.expected, got)
    if not wrong:
        fill(this, problem, exchange, got.x, got.experts)
    this.meet()
    exchange.combine()
    this.finish()
    right, note = compare(this, problem, exchange, problem.mine.x)
    return got, right and not wrong, f"wrong: {', '.join(wrong)}" if wrong else note


def check_replay(this, problem, exchange, graph, got):
    """(right, note) of the last pair of a graph. The order of received rows may have
    changed since combine's input was written; so equal rows are combined for this."""
    fill(this, problem, exchange, torch.ones_like(got.x), got.experts)
    data.poison(exchange.out)
    this.meet()
    graph.replay()
    this.finish()
    right, note = compare(this, problem, exchange, torch.ones_like(problem.mine.x))
    got = exchange.received()
    # Others may still have read these rows.
    this.meet()
    wrong = problems(problem.expected, got)
    if not wrong:
        fill(this, problem, exchange, got.x, got.experts)
    return right and not wrong, f"wrong in a graph: {', '.join(wrong)}" if wrong else note


def run(this, unit):
    kind = unit["kind"]
    peer = PEERS[kind]
    problem = Problem(this, unit, peer.layout, peer.sends)
    exchange = importlib.import_module(f".{kind}", __package__).Exchange(this, problem)
    measure(this, problem, exchange, {**problem.key, "series": kind})
    this.meet()
    exchange.close()


def measure(this, problem, exchange, key):
    got, ok, note = check(this, problem, exchange)
    key = {**key, "version": exchange.version}
    if exchange.variant:
        key["variant"] = exchange.variant
    how = effort(problem.tokens)
    samples, calls = how["samples"], how["graph_calls"]

    def pair():
        exchange.dispatch()
        exchange.combine()

    # A dispatch is followed by its combine, which is not timed; and a combine
    # follows its dispatch.
    this.meet()
    this.record({**key, "op": "dispatch", "mode": "eager"},
                this.eager(exchange.dispatch, samples, after=exchange.combine), problem.dispatch_bytes, ok, note)
    this.record({**key, "op": "combine", "mode": "eager"},
                this.eager(exchange.combine, samples, before=exchange.dispatch), problem.combine_bytes, ok, note)
    graph = this.capture(pair, calls)
    if ok:
        ok, note = check_replay(this, problem, exchange, graph, got)
    this.record({**key, "op": PAIR, "mode": "graph"}, this.replays(graph, max(7, samples // 2), calls),
                problem.dispatch_bytes + problem.combine_bytes, ok, note)
