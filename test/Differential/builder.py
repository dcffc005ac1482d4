#===- builder.py - an entry of the test while it is made -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Cases, and what collects an entry together with its inputs."""

from __future__ import annotations

from dataclasses import dataclass

import oracle
from inputs import Params, random_bits, random_topk, random_weights, token_counts
from ir import Data, TensorType, Value
from moe_ops import Combine, Dispatch
from oracle import DTYPES
from program import Function


@dataclass
class Case:
    name: str
    ranks: int
    entry: Function
    inputs: list  # one Data per argument
    params: Params | None = None
    bench: int = 0

    def expected(self, exact_messages=False):
        """Data of each result, or raises oracle.SpecifiedError. Only with exact
        messages does a dispatch know blocks that it could keep."""
        return self.entry.evaluate(self.inputs, exact_messages)

    @property
    def failing_op(self):
        """The op an expected error belongs to: error cases have just one."""
        (op,) = self.entry.body
        return op


class Builder:
    """Collects the arguments of an entry together with their data."""

    def __init__(self, name, rng, params):
        self.rng, self.p = rng, params
        self.entry = Function(name, [])
        self.inputs = []
        p = params
        self.tokens = token_counts(rng, p.token_mode, p.ranks, p.t_max)

    def arg(self, name, dtype, shape, arrays, valid=None):
        value = Value(name, TensorType(dtype, tuple(shape)))
        self.entry.args.append(value)
        self.inputs.append(Data(arrays, valid))
        return value

    def data(self, value) -> Data:
        return self.inputs[self.entry.args.index(value)]

    def rows(self, name, dtype, make, width, tokens=None):
        """An argument with one row per token."""
        tokens = self.tokens if tokens is None else tokens
        arrays = [make(self.rng, DTYPES[dtype], (t, width)) for t in tokens]
        return self.arg(name, dtype, (self.p.tokens_extent, width), arrays)

    def x(self, name="x", make=random_bits):
        return self.rows(name, self.p.dtype, make, self.p.hidden)

    def scales(self, name="s"):
        if self.p.scales is None:
            return None
        width = int(self.rng.integers(1, 6))
        return self.rows(name, self.p.scales, random_bits, width)

    def routing(self, suffix=""):
        p, rng = self.p, self.rng
        focus = int(rng.integers(p.num_experts * p.ranks))
        if p.routing == "one_rank":
            # A rank that owns something, when experts are scarce.
            focus %= min(p.ranks, p.num_experts)
        idx = [
            random_topk(
                rng, p.routing, t, p.k, p.num_experts, p.ranks,
                DTYPES[p.idx_dtype], focus,
            )
            for t in self.tokens
        ]
        weights = [random_weights(rng, (t, p.k)) for t in self.tokens]
        shape = (p.tokens_extent, p.k)
        return (
            self.arg(f"idx{suffix}", p.idx_dtype, shape, idx),
            self.arg(f"w{suffix}", "f32", shape, weights),
        )

    def attrs(self, idx, capacity=None):
        """Dispatch attributes with the capacity mode worked out."""
        p = self.p
        mode = p.capacity if capacity is None else capacity
        if p.layout == "slab":
            # No capacity to choose; either overflow mode is accepted.
            return p.dispatch_attrs(overflow="drop" if mode == "drop" else "error")
        needed = max(
            oracle.rows_needed(p.dispatch_attrs(), self.data(idx).arrays)
        )
        if mode == "default":
            if needed <= p.dispatch_attrs().rows(p.k):
                return p.dispatch_attrs()
            mode = "exact"  # the padding of aligned groups took too much
        if mode == "exact":
            return p.dispatch_attrs(capacity=max(1, needed))
        if mode == "generous":
            return p.dispatch_attrs(capacity=needed + 1 + needed // 2)
        fewer = max(1, needed - int(self.rng.integers(1, max(2, needed // 2))))
        if mode == "one":
            fewer = 1
        overflow = "error" if mode == "error" else "drop"
        return p.dispatch_attrs(capacity=fewer, overflow=overflow)

    def dispatch(self, prefix, attrs, x, idx, w, scales=None):
        return self.entry.add(Dispatch(prefix, attrs, x, idx, w, scales))

    def combine(self, name, y, d, idx, weights=None, reduce="sum"):
        topk = idx if self.p.layout == "expert_major" else None
        return self.entry.add(
            Combine(
                name, self.p.combine_attrs(reduce), y, d["send_row"],
                d["recv_src_idx"], d["n_tokens_from_rank"], topk, weights,
                self.p.algorithm if reduce == "sum" else None, blocks=d.blocks,
            )
        )

    def returns(self, *values):
        self.entry.returned += values

    def mark_some(self, values):
        """Some of these results are to be symmetric memory (symmetric_s2)."""
        self.entry.symmetric_results += [
            v for v in values if self.rng.random() < 0.4
        ]

    def case(self):
        return Case(
            self.entry.name, self.p.ranks, self.entry, self.inputs, self.p,
            self.p.bench,
        )
