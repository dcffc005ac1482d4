#===- moe_ops.py - ops of the moe dialect in a program -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Ops of the `moe` dialect: their text, and their call of the oracle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import oracle
from ir import Data, Op, TensorType, Value, attr_dict, functional_type


def common_attrs(attrs):
    pairs = []
    if attrs.layout != "rank_major":
        pairs.append(("layout", f"#moe.layout<{attrs.layout}>"))
    pairs.append(("num_experts", f"{attrs.num_experts} : i64"))
    if attrs.max_tokens is not None:
        pairs.append(("max_tokens", f"{attrs.max_tokens} : i64"))
    if attrs.kernel is not None:
        pairs.append(("kernel", f"#moe.kernel<{attrs.kernel}>"))
    return pairs


class Dispatch(Op):
    mnemonic = "moe.dispatch"

    def __init__(self, prefix, attrs, x, idx, weights, scales=None):
        self.attrs, self.x, self.idx, self.weights = attrs, x, idx, weights
        self.scales = scales
        k = idx.type.shape[1]
        tokens, hidden = x.type.shape
        rows = attrs.rows(k)
        expert_major = attrs.layout == "expert_major"
        local = oracle.max_local_experts(attrs.num_experts, attrs.ranks)
        per_row = () if expert_major else (k,)
        table = [("recv_x", x.type.dtype, (rows, hidden))]
        if scales is not None:
            shape = (rows, scales.type.shape[1])
            table.append(("recv_scales", scales.type.dtype, shape))
        table += [
            ("recv_topk_idx", idx.type.dtype, (rows, *per_row)),
            ("recv_topk_weights", "f32", (rows, *per_row)),
            ("recv_src_idx", "i32", (rows,)),
            ("n_tokens_to_rank", "i32", (attrs.ranks,)),
            ("n_tokens_from_rank", "i32", (attrs.ranks,)),
            ("send_row", "i32", (tokens, k if expert_major else attrs.ranks)),
        ]
        lists = attrs.list_alignment is not None
        if expert_major or lists:
            table += [
                ("expert_offsets", "i32", (local,)),
                ("expert_counts", "i32", (local,)),
            ]
        if lists:
            places = attrs.list_places(k)
            table += [
                ("list_rows", "i32", (places,)),
                ("list_weights", "f32", (places,)),
            ]
        if attrs.keep_blocks:
            parts = local if expert_major else 1
            table += [
                ("peer_blocks", "i32", (2, attrs.ranks, parts, 2)),
                ("peer_rows", "i32", (4, attrs.ranks)),
            ]
        self.fields = [name for name, _, _ in table]
        self.results = [
            Value(f"{prefix}{name}", TensorType(dtype, shape))
            for name, dtype, shape in table
        ]

    def __getitem__(self, name) -> Value:
        return self.results[self.fields.index(name)]

    @property
    def blocks(self):
        """What later ops know of rows, where the op keeps it."""
        if not self.attrs.keep_blocks:
            return ()
        return self["peer_blocks"], self["peer_rows"]

    def text(self):
        operands = [self.x, self.idx, self.weights]
        body = f"moe.dispatch {self.x}, {self.idx}, {self.weights}"
        if self.scales is not None:
            operands.append(self.scales)
            body += f" scales({self.scales})"
        body += f" on @ep{attr_dict(dispatch_attrs(self.attrs))}"
        types = functional_type(operands, self.results)
        return self.assign(f"{body} : {types}")

    def evaluate(self, env):
        x = env[self.x]
        scales = None if self.scales is None else env[self.scales].arrays
        result = oracle.dispatch(
            self.attrs, x.arrays, env[self.idx].arrays,
            env[self.weights].arrays, scales,
        )
        for name, value in zip(self.fields, self.results):
            by_row = name.startswith("recv_")
            loose = (name == "recv_x" and x.loose) or (
                # sums, where experts repeat
                name in ("recv_topk_weights", "list_weights")
            )
            is_open = by_row and self.attrs.padding == "none"
            arrays = getattr(result, name)
            if name.startswith("peer_") and not env.exact_messages:
                arrays = [np.full_like(a, -1) for a in arrays]
            env[value] = Data(arrays, result.valid if is_open else None, loose)


def dispatch_attrs(attrs):
    pairs = common_attrs(attrs)
    if attrs.order != "token":
        pairs.append(("order", f"#moe.order<{attrs.order}>"))
    if attrs.overflow != "error":
        pairs.append(("overflow", f"#moe.overflow<{attrs.overflow}>"))
    if attrs.padding != "none":
        pairs.append(("padding", f"#moe.padding<{attrs.padding}>"))
    if attrs.alignment != 1:
        pairs.append(("alignment", f"{attrs.alignment} : i64"))
    if attrs.list_alignment is not None:
        pairs.append(("list_alignment", f"{attrs.list_alignment} : i64"))
    if attrs.keep_blocks:
        pairs.append(("keep_blocks", None))
    if attrs.capacity is not None:
        pairs.append(("capacity", f"{attrs.capacity} : i64"))
    if attrs.algorithm is not None:
        pairs.append(
            ("algorithm", f"#moe.dispatch_algorithm<{attrs.algorithm}>")
        )
    return pairs


class DispatchReuse(Op):
    mnemonic = "moe.dispatch"

    def __init__(self, prefix, attrs, x, send_row, idx=None, scales=None,
                 blocks=()):
        self.attrs = replace(attrs, list_alignment=None, keep_blocks=False)
        self.blocks = blocks
        self.x, self.send_row = x, send_row
        self.idx, self.scales = idx, scales
        k = 1 if idx is None else idx.type.shape[1]
        rows = attrs.rows(k)
        self.results = [
            Value(
                f"{prefix}recv_x",
                TensorType(x.type.dtype, (rows, x.type.shape[1])),
            )
        ]
        if scales is not None:
            shape = (rows, scales.type.shape[1])
            self.results.append(
                Value(
                    f"{prefix}recv_scales", TensorType(scales.type.dtype, shape)
                )
            )

    def text(self):
        operands = [self.x]
        body = f"moe.dispatch {self.x}"
        if self.scales is not None:
            operands.append(self.scales)
            body += f" scales({self.scales})"
        routes = [self.send_row] + ([self.idx] if self.idx else [])
        operands += routes
        body += f" reuse({', '.join(map(str, routes))})"
        operands += self.blocks
        body += blocks_text(self.blocks)
        body += f" on @ep{attr_dict(dispatch_attrs(self.attrs))}"
        types = functional_type(operands, self.results)
        return self.assign(f"{body} : {types}")

    def evaluate(self, env):
        x = env[self.x]
        recv_x, recv_scales, valid = oracle.dispatch_reuse(
            self.attrs, x.arrays, env[self.send_row].arrays,
            None if self.idx is None else env[self.idx].arrays,
            None if self.scales is None else env[self.scales].arrays,
        )
        if self.attrs.padding != "none":
            valid = None
        env[self.results[0]] = Data(recv_x, valid, x.loose)
        if recv_scales is not None:
            env[self.results[1]] = Data(recv_scales, valid)


def blocks_text(blocks):
    return f" blocks({', '.join(map(str, blocks))})" if blocks else ""


class Combine(Op):
    mnemonic = "moe.combine"

    def __init__(self, name, attrs, y, send_row, src, n_from, idx=None,
                 weights=None, algorithm=None, deferred=False, blocks=()):
        self.deferred = deferred
        self.blocks = blocks
        self.attrs, self.y, self.send_row = attrs, y, send_row
        self.src, self.n_from = src, n_from
        self.idx, self.weights = idx, weights
        self.algorithm = algorithm
        tokens, slots = send_row.type.shape
        shape = (tokens, y.type.shape[1])
        if attrs.reduce == "none":
            shape = (tokens, slots, y.type.shape[1])
        self.results = [Value(name, TensorType(y.type.dtype, shape))]

    def text(self):
        operands = [self.y, self.send_row, self.src, self.n_from]
        body = f"moe.combine {', '.join(map(str, operands))}"
        if self.idx is not None:
            operands.append(self.idx)
            body += f" topk({self.idx})"
        if self.weights is not None:
            operands.append(self.weights)
            body += f" weights({self.weights})"
        operands += self.blocks
        body += blocks_text(self.blocks)
        pairs = common_attrs(self.attrs)
        if self.algorithm is not None:
            pairs.append(("algorithm", f"#moe.algorithm<{self.algorithm}>"))
        if self.attrs.reduce != "sum":
            pairs.append(("reduce", f"#moe.reduce<{self.attrs.reduce}>"))
        if self.attrs.partials != "f32":
            pairs.append(("partials", f"#moe.partials<{self.attrs.partials}>"))
        attributes = attr_dict(pairs)
        if self.deferred:
            attributes = attributes.replace("{", "{defer_release, ", 1)
        body += f" on @ep{attributes}"
        types = functional_type(operands, self.results)
        return self.assign(f"{body} : {types}")

    def evaluate(self, env):
        y = env[self.y]
        if self.algorithm == "push" and self.attrs.layout != "expert_major":
            oracle.check_push(
                self.attrs, env[self.src].arrays, env[self.n_from].arrays,
                self.y.type.shape[0],
            )
        operands = (
            self.attrs, y.arrays, env[self.send_row].arrays,
            None if self.idx is None else env[self.idx].arrays,
            None if self.weights is None else env[self.weights].arrays,
            y.valid,
        )
        if self.attrs.reduce == "none":
            loose = y.loose or self.weights is not None
            rows = oracle.combine_rows(*operands)
            env[self.results[0]] = Data(rows, loose=loose)
            return
        out, moved = oracle.combine(*operands)
        loose_rows = [~m | y.loose for m in moved]
        env[self.results[0]] = Data(out, loose_rows=loose_rows)


class Alltoallv(Op):
    mnemonic = "moe.alltoallv"

    def __init__(self, send, counts, capacity, overflow="error"):
        self.send, self.counts = send, counts
        self.capacity, self.overflow = capacity, overflow
        shape = (capacity, *send.type.shape[1:])
        self.results = [
            Value("recv", TensorType(send.type.dtype, shape)),
            Value("recv_counts", counts.type),
        ]

    def text(self):
        operands = [self.send, self.counts]
        pairs = []
        if self.overflow != "error":
            pairs.append(("overflow", f"#moe.overflow<{self.overflow}>"))
        body = f"moe.alltoallv {self.send}, {self.counts} on @ep"
        types = functional_type(operands, self.results)
        return self.assign(f"{body}{attr_dict(pairs)} : {types}")

    def evaluate(self, env):
        recv, counts, valid = oracle.alltoallv(
            env[self.send].arrays, env[self.counts].arrays, self.capacity,
            self.overflow,
        )
        env[self.results[0]] = Data(recv, valid)
        env[self.results[1]] = Data(counts)
