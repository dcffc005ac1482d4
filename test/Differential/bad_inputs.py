#===- bad_inputs.py - inputs that must be refused at run time -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Cases with one fault in the values of their inputs."""

from __future__ import annotations

import numpy as np

import oracle
from builder import Builder
from entries import build_alltoallv, build_combine
from inputs import sample
from moe_ops import DispatchReuse


def bad_expert(b, value):
    """One id that is no expert, somewhere."""
    b.tokens = [max(1, t) for t in b.tokens]
    x = b.x()
    idx, w = b.routing()
    arrays = b.data(idx).arrays
    victim = arrays[int(b.rng.integers(b.p.ranks))]
    at = (int(b.rng.integers(victim.shape[0])), int(b.rng.integers(b.p.k)))
    attrs = b.attrs(idx, "default")
    victim[at] = value
    d = b.dispatch("", attrs, x, idx, w, b.scales())
    b.returns(*d.results)


def bad_capacity(b):
    b.tokens = [b.p.t_max] * b.p.ranks
    x = b.x()
    idx, w = b.routing()
    d = b.dispatch("", b.attrs(idx, "error"), x, idx, w)
    b.returns(*d.results)


def bad_tokens(b):
    """One rank comes with more tokens than max_tokens."""
    b.tokens[int(b.rng.integers(b.p.ranks))] = b.p.t_max + 2
    x = b.x()
    idx, w = b.routing()
    d = b.dispatch("", b.p.dispatch_attrs(), x, idx, w)
    b.returns(*d.results)


def bad_send_row(b, build):
    """One entry of send_row, of a combine or a reuse, is no row."""
    b.tokens = [max(1, t) for t in b.tokens]
    if build == "combine":
        build_combine(b)
        send_row = b.entry.body[0].send_row
        capacity = b.entry.body[0].y.type.shape[0]
    else:
        x = b.x()
        other = Builder("unused", b.rng, b.p)
        other.tokens = b.tokens
        idx, w = other.routing()
        attrs = other.attrs(idx)
        d = oracle.dispatch(
            attrs, b.data(x).arrays, other.data(idx).arrays,
            other.data(w).arrays,
        )
        extent = b.p.tokens_extent
        columns = d.send_row[0].shape[1]
        send_row = b.arg("send_row", "i32", (extent, columns), d.send_row)
        topk = None
        if b.p.layout == "expert_major":
            topk = b.arg(
                "idx", b.p.idx_dtype, (extent, b.p.k), other.data(idx).arrays
            )
        capacity = attrs.rows(b.p.k)
        op = b.entry.add(DispatchReuse("", attrs, x, send_row, topk))
        b.returns(*op.results)
    choices = [capacity, -2, 2**31 - 1, -(2**31)]
    victim = b.data(send_row).arrays[int(b.rng.integers(b.p.ranks))]
    at = tuple(int(b.rng.integers(n)) for n in victim.shape)
    victim[at] = int(b.rng.choice(choices))


def bad_push(b, kind):
    """A row's source that is no token of its sender, or a number of rows that no
    sender can have sent."""
    b.tokens = [max(1, t) for t in b.tokens]
    build_combine(b)
    op = b.entry.body[0]
    ranks, bound = b.p.ranks, b.p.t_max
    counts = b.data(op.n_from).arrays
    if kind == "count":
        victim = counts[int(b.rng.integers(ranks))]
        victim[int(b.rng.integers(ranks))] = int(
            b.rng.choice([-1, bound + 1, 2**31 - 1, -(2**31)])
        )
        return
    holder = int(b.rng.choice([r for r in range(ranks) if counts[r].sum() > 0]))
    sender = int(b.rng.choice(np.flatnonzero(counts[holder])))
    first = sender * bound
    if b.p.layout != "slab":
        first = int(counts[holder][:sender].sum())
    row = first + int(b.rng.integers(counts[holder][sender]))
    b.data(op.src).arrays[holder][row] = int(
        b.rng.choice([sender * bound - 1, (sender + 1) * bound, 2**31 - 1])
    )


BAD_INPUTS = {
    "expert_high": lambda b: bad_expert(b, b.p.num_experts),
    "expert_low": lambda b: bad_expert(b, -2),
    "expert_wide": lambda b: bad_expert(b, 2**32),
    "expert_wide_minus_one": lambda b: bad_expert(b, 2**32 - 1),
    "expert_lowest": lambda b: bad_expert(b, np.iinfo(np.int64).min),
    "capacity": bad_capacity,
    "tokens": bad_tokens,
    "combine_row": lambda b: bad_send_row(b, "combine"),
    "push_source": lambda b: bad_push(b, "source"),
    "push_count": lambda b: bad_push(b, "count"),
    "reuse_row": lambda b: bad_send_row(b, "reuse"),
    "negative_count": lambda b: build_alltoallv(b, "negative"),
    "count_sum": lambda b: build_alltoallv(b, "sum"),
    "alltoallv_capacity": build_alltoallv,
}


def bad_input_params(kind, rng):
    """Parameters under which the input is sure to be bad."""
    fixed = dict(bench=0, capacity="default")
    if kind.startswith("expert_wide") or kind == "expert_lowest":
        fixed["idx_dtype"] = "i64"
    if kind == "capacity":
        fixed |= dict(routing="one_rank", token_mode="full", t_max=3)
        fixed |= dict(layout=str(rng.choice(["rank_major", "expert_major"])))
    if kind.startswith("push"):
        fixed |= dict(algorithm="push", routing="uniform", k=2)
        fixed |= dict(layout=str(rng.choice(["rank_major", "slab"])))
    if kind == "tokens":
        fixed |= dict(token_mode="dynamic")
    if kind == "alltoallv_capacity":
        fixed |= dict(routing="uniform", capacity="error", t_max=5, ranks=3)
    return fixed


def build_bad_input(name, rng, pick, kind, **fixed):
    params = sample(rng, pick, **{**bad_input_params(kind, rng), **fixed})
    builder = Builder(name, rng, params)
    BAD_INPUTS[kind](builder)
    return builder.case()
