#===- entries.py - what the entries of the test do -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Entries of every kind: each function fills a Builder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import oracle
from builder import Builder
from inputs import LAYOUTS, random_bits, random_weights, summands
from ir import Value
from moe_ops import Alltoallv, Combine, Dispatch, DispatchReuse
from oracle import DTYPES
from program import Call, Double, Function, Loop


def build_dispatch(b):
    x = b.x()
    idx, w = b.routing()
    d = b.dispatch("", b.attrs(idx), x, idx, w, b.scales())
    b.returns(*d.results)
    b.mark_some(d[name] for name in d.fields if name.startswith("recv_"))


def build_combine(b, deferred=False):
    """Combine alone, on rows and indices that the oracle's dispatch made."""
    p, rng = b.p, b.rng
    idx_builder = Builder("unused", rng, p)
    idx_builder.tokens = b.tokens
    idx, w = idx_builder.routing()
    attrs = idx_builder.attrs(idx)
    x = [np.zeros((t, 1), np.int8) for t in b.tokens]
    d = oracle.dispatch(
        attrs, x, idx_builder.data(idx).arrays, idx_builder.data(w).arrays
    )
    capacity, dtype = attrs.rows(p.k), DTYPES[p.dtype]
    y, src = [], []
    for rank in range(p.ranks):
        valid = d.valid[rank]
        # What no token was sent to must not matter: random bits.
        rows = random_bits(rng, dtype, (capacity, p.hidden))
        good = summands(rng, dtype, (capacity, p.hidden))
        rows[valid] = good[valid]
        y.append(rows)
        noise = random_bits(rng, DTYPES["i32"], (capacity,))
        src.append(np.where(valid, d.recv_src_idx[rank], noise))
    columns = d.send_row[0].shape[1]
    args = [
        b.arg("y", p.dtype, (capacity, p.hidden), y, d.valid),
        b.arg("send_row", "i32", (p.tokens_extent, columns), d.send_row),
        b.arg("src", "i32", (capacity,), src),
        b.arg("n_from", "i32", (p.ranks,), d.n_tokens_from_rank),
    ]
    topk = weights = None
    if p.layout == "expert_major":
        topk = b.arg(
            "idx", p.idx_dtype, (p.tokens_extent, p.k),
            idx_builder.data(idx).arrays,
        )
    if p.weighted:
        arrays = [random_weights(rng, (capacity,)) for _ in range(p.ranks)]
        weights = b.arg("weights", "f32", (capacity,), arrays)
    blocks = ()
    if attrs.keep_blocks:
        # Where nothing knows blocks, nothing reads them.
        blocks = tuple(
            b.arg(name, "i32", arrays[0].shape, arrays)
            for name, arrays in (
                ("peer_blocks", d.peer_blocks), ("peer_rows", d.peer_rows),
            )
        )
    op = Combine(
        "out", p.combine_attrs(p.reduce), *args, topk, weights, p.algorithm,
        deferred, blocks,
    )
    if deferred:
        b.entry.symmetric = [v for v in (op.y, weights) if v is not None]
    b.entry.add(op)
    b.returns(*op.results)


def build_deferred(b):
    """A combine that does not wait until its rows have been read; the caller
    leaves them alone until the next one (combine_s6)."""
    build_combine(b, deferred=True)


def build_round_trip(b):
    x = b.x(make=summands)
    idx, w = b.routing()
    d = b.dispatch("", b.attrs(idx), x, idx, w)
    by_row = b.p.layout == "expert_major" and b.p.weighted
    weights = d["recv_topk_weights"] if by_row else None
    out = b.combine("out", d["recv_x"], d, idx, weights, b.p.reduce)
    b.returns(*out.results, d["send_row"], d["recv_src_idx"])


def build_gradients(b):
    """The two directions of a layer's backward pass, beside each other: sums of
    weighted rows, and the rows that the gradient of the weights is made of."""
    x = b.x(make=summands)
    idx, w = b.routing()
    d = b.dispatch("", b.attrs(idx), x, idx, w)
    by_row = b.p.layout == "expert_major" and b.p.weighted
    weights = d["recv_topk_weights"] if by_row else None
    out = b.combine("out", d["recv_x"], d, idx, weights)
    rows = b.combine("rows", d["recv_x"], d, idx, reduce="none")
    b.returns(*out.results, *rows.results)


def build_padding(b):
    """A dispatch, and a reuse of its routes, into memory that holds the noise of
    other dispatches: those send every token to every expert."""
    p, rng = b.p, b.rng
    x, x2 = b.x("x"), b.x("x2")
    s = b.scales("s")
    s2 = b.rows("s2", s.type.dtype, random_bits, s.type.shape[1]) if s else None
    idx, w = b.routing()
    attrs = b.attrs(idx)
    everywhere = replace(
        attrs, padding="none", overflow="drop", alignment=1,
        capacity=None if p.layout == "slab" else attrs.rows(p.k),
    )
    tokens = [p.t_max] * p.ranks
    all_experts = [
        np.stack([rng.permutation(p.num_experts) for _ in range(t)]).astype(
            DTYPES[p.idx_dtype]
        )
        for t in tokens
    ]
    shape = (p.tokens_extent, p.num_experts)
    full = b.arg("idx_full", p.idx_dtype, shape, all_experts)
    full_w = b.rows("w_full", "f32", random_bits, p.num_experts, tokens)

    def fill(prefix):
        noise = b.rows(f"{prefix}x", p.dtype, random_bits, p.hidden, tokens)
        scales = s and b.rows(
            f"{prefix}s", s.type.dtype, random_bits, s.type.shape[1], tokens
        )
        d = b.dispatch(prefix, everywhere, noise, full, full_w, scales)
        # Weights are merged, so that one that is no number may change.
        b.returns(*(v for v in d.results if "weights" not in v.name))

    fill("noise_")
    d = b.dispatch("", attrs, x, idx, w, s)
    b.returns(*d.results)
    fill("noise2_")
    topk = idx if p.layout == "expert_major" else None
    again = b.entry.add(
        DispatchReuse(
            "again_", attrs, x2, d["send_row"], topk, s2, blocks=d.blocks
        )
    )
    b.returns(*again.results)


def build_compute(b):
    """Something is computed between dispatch and combine."""
    x = b.x(make=summands)
    idx, w = b.routing()
    d = b.dispatch("", b.attrs(idx), x, idx, w)
    y = b.entry.add(Double("y", d["recv_x"]))
    out = b.combine("out", y.results[0], d, idx)
    b.returns(*out.results)


def build_reuse(b):
    x, x2 = b.x("x"), b.x("x2", summands)
    s, s2 = b.scales("s"), None
    if s is not None:
        s2 = b.rows("s2", s.type.dtype, random_bits, s.type.shape[1])
    idx, w = b.routing()
    attrs = b.attrs(idx)
    d = b.dispatch("", attrs, x, idx, w, s)
    topk = idx if b.p.layout == "expert_major" else None
    again = b.entry.add(
        DispatchReuse(
            "again_", attrs, x2, d["send_row"], topk, s2, blocks=d.blocks
        )
    )
    out = b.combine("out", again.results[0], d, idx)
    b.returns(d["recv_x"], *again.results, *out.results)


def build_two_dispatches(b):
    """Two exchanges with different routes share the workspace of an entry."""
    x, x2 = b.x("x"), b.x("x2")
    idx, w = b.routing()
    idx2, w2 = b.routing("2")
    first = b.dispatch("a_", b.attrs(idx), x, idx, w)
    second = b.dispatch("b_", b.attrs(idx2, "default"), x2, idx2, w2)
    out2 = b.combine("out2", second["recv_x"], second, idx2)
    out = b.combine("out", first["recv_x"], first, idx)
    b.returns(first["recv_x"], first["recv_topk_weights"], first["send_row"])
    b.returns(second["recv_x"], second["recv_topk_idx"], second["send_row"])
    b.returns(*out.results, *out2.results)


def build_helper_twice(b):
    """One dispatch in a function that the entry calls twice."""
    x, x2 = b.x("x"), b.x("x2")
    idx, w = b.routing()
    idx2, w2 = b.routing("2")
    p = b.p
    # The capacity must do for both routings, so take the drop of the first.
    attrs = b.attrs(idx)
    if attrs.overflow == "error":
        rows = b.attrs(idx2, "exact").rows(p.k)
        if rows > attrs.rows(p.k):
            attrs.overflow = "drop"
    helper = Function(
        f"{b.entry.name}_helper",
        [Value(n, v.type) for n, v in zip(("x", "idx", "w"), (x, idx, w))],
        private=True,
    )
    d = helper.add(Dispatch("", attrs, *helper.args))
    helper.returned = [d["recv_x"], d["recv_src_idx"], d["send_row"]]
    one = b.entry.add(Call("one_", helper, [x, idx, w]))
    two = b.entry.add(Call("two_", helper, [x2, idx2, w2]))
    b.returns(*one.results, *two.results)


def build_layers(b):
    """Layers of several kinds, of which some are equal and some are in a loop:
    their buffers share memory, equal ops all that they keep."""
    p, rng = b.p, b.rng
    x = b.x(make=summands)
    routings = [b.routing(), b.routing("2")]
    # Each kind twice at least, in any order.
    first, second = rng.permutation(len(LAYOUTS))[:2]
    kinds = rng.permutation([first, second, first, second, first])
    in_loop = int(rng.integers(len(kinds)))
    entry = b.entry
    for number, kind in enumerate(kinds):
        layout = LAYOUTS[int(kind)]
        b.p = replace(
            p, layout=layout, order="token",
            alignment=p.alignment if layout == "expert_major" else 1,
            algorithm=p.algorithm,
        )
        idx, w = routings[number % 2]
        attrs = b.attrs(idx, "default")
        body = entry
        if number == in_loop:
            loop = entry.add(Loop(f"l{number}_", x, rounds=2))
            body, x = loop.body, loop.body.args[0]
        b.entry = body
        d = b.dispatch(f"d{number}_", attrs, x, idx, w)
        x = b.combine(f"x{number}_", d["recv_x"], d, idx).results[0]
        if number == in_loop:
            body.returned = [x]
            x = loop.results[0]
        b.entry = entry
    b.p = p
    b.returns(x)


def all_to_all_counts(rng, ranks, most, mode):
    counts = rng.integers(0, most + 1, (ranks, ranks)).astype(np.int32)
    if mode == "sparse":
        counts[rng.random((ranks, ranks)) < 0.6] = 0
    if mode == "one_rank":
        hot = int(rng.integers(ranks))
        counts[:, [d for d in range(ranks) if d != hot]] = 0
    if mode == "none":
        counts[...] = 0
    return counts


def build_alltoallv(b, error=None):
    p, rng = b.p, b.rng
    counts = all_to_all_counts(rng, p.ranks, p.t_max, p.routing)
    if p.capacity == "error":
        counts[0, 0] = max(2, counts[0, 0])
    spare = 0 if error == "sum" else int(rng.integers(0, 4))
    sizes = [int(c.sum()) + spare for c in counts]
    extent = None
    if p.token_mode.startswith("static"):
        extent = max(1, *sizes)
        sizes = [extent] * p.ranks
    trailing = {1: (), 7: (7,), 2: (2, 3), 16: (1, 2, 8)}.get(
        p.hidden, (p.hidden,)
    )
    needed = int(counts.sum(0).max())
    capacity = {
        "default": needed + 5, "generous": 2 * needed + 1, "exact": needed,
        "drop": needed - 1 - int(rng.integers(0, needed // 2 + 1)), "one": 1,
        "error": needed - 1,
    }[p.capacity]
    overflow = "drop" if p.capacity in ("drop", "one") else "error"
    if error == "negative":
        counts[int(rng.integers(p.ranks)), int(rng.integers(p.ranks))] = -1
    elif error == "sum":
        rank = int(rng.integers(p.ranks))
        counts[rank, -1] += sizes[rank] - int(counts[rank].sum()) + 1
    dtype = DTYPES[p.dtype]
    send = b.arg(
        "send", p.dtype, (extent, *trailing),
        [random_bits(rng, dtype, (n, *trailing)) for n in sizes],
    )
    count_arg = b.arg("counts", "i32", (p.ranks,), list(counts))
    op = b.entry.add(Alltoallv(send, count_arg, max(1, capacity), overflow))
    b.returns(*op.results)
    b.mark_some(op.results)
