# ===- signature.py - arguments and results of entries -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Names, types and order of what the entries of an exchange take and return."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .description import Exchange

DYNAMIC = -1


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """An argument or a result of an entry.

    Attributes
    ----------
    name : str
        As in the module.
    dtype : str
        MLIR's name of the element type, such as ``"bf16"``.
    shape : tuple of int
        -1 stands for the number of tokens of the call.
    symmetric : bool
        Whether it is symmetric memory.
    host : bool
        Whether it lies in memory of the host on every target.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    symmetric: bool = False
    host: bool = False

    @property
    def mark(self) -> str:
        """The attribute of an argument or result as MLIR writes it, or nothing."""
        return " {moe.symmetric}" if self.symmetric else " {moe.host}" if self.host else ""

    @property
    def type(self) -> str:
        """The tensor type as MLIR writes it."""
        extents = "".join("?x" if n == DYNAMIC else f"{n}x" for n in self.shape)
        return f"tensor<{extents}{self.dtype}>"


@dataclasses.dataclass(frozen=True)
class Signature:
    """What an entry takes and returns, in order."""

    entry: str
    arguments: tuple[TensorSpec, ...]
    results: tuple[TensorSpec, ...]


def entries(plan: Exchange) -> tuple[str, ...]:
    """Names of the entries of a plan, in the order of the module."""
    names: tuple[str, ...] = ("dispatch", "combine")
    if plan.gradients:
        names += (
            "dispatch_backward",
            "dispatch_backward_x",
            "dispatch_backward_weights",
            "combine_backward",
            "dispatch_again",
        )
    return names


def sends_along_blocks(plan: Exchange) -> bool:
    """Whether the gradient of a combine goes to where the blocks of the dispatch are.

    Slots of ranks are sent as rows of experts, which blocks of other kinds do not fit.
    """
    return plan.keep_blocks and (plan.reduce == "sum" or plan.is_expert_major)


def received(plan: Exchange, ranks: int) -> dict[str, TensorSpec]:
    """Results of the dispatch, by name and in order."""
    rows, top_k = plan.rows(ranks), plan.top_k
    local = plan.local_experts(ranks)
    per_row = (rows,) if plan.is_expert_major else (rows, top_k)
    specs = [TensorSpec("recv_x", plan.dtype, (rows, plan.hidden), plan.symmetric_recv)]
    if plan.scales:
        specs.append(
            TensorSpec(
                "recv_scales",
                plan.scales_dtype,
                (rows, plan.scales),
                plan.symmetric_recv,
            )
        )
    specs += [
        TensorSpec("recv_topk_idx", plan.index_dtype, per_row),
        TensorSpec("recv_topk_weights", "f32", per_row),
        TensorSpec("recv_src_idx", "i32", (rows,)),
        TensorSpec("n_tokens_to_rank", "i32", (ranks,)),
        TensorSpec("n_tokens_from_rank", "i32", (ranks,)),
        TensorSpec("send_row", "i32", (plan.token_extent, plan.slots(ranks))),
    ]
    if plan.is_expert_major or plan.has_lists:
        specs += [
            TensorSpec("expert_offsets", "i32", (local,)),
            TensorSpec("expert_counts", "i32", (local,)),
        ]
    if plan.has_lists:
        places = plan.list_places(ranks)
        specs += [
            TensorSpec("list_rows", "i32", (places,)),
            TensorSpec("list_weights", "f32", (places,)),
        ]
    if plan.keep_blocks:
        groups = local if plan.is_expert_major else 1
        specs += [
            TensorSpec("peer_blocks", "i32", (2, ranks, groups, 2)),
            TensorSpec("peer_rows", "i32", (4, ranks), host=True),
        ]
    return {spec.name: spec for spec in specs}


def signature(plan: Exchange, entry: str, ranks: int) -> Signature:
    """The signature of an entry.

    Raises
    ------
    ValueError
        The plan has no such entry.
    """
    if entry not in entries(plan):
        raise ValueError(f"expected one of the entries {', '.join(entries(plan))}, got '{entry}'")
    tokens, rows = plan.token_extent, plan.rows(ranks)
    back = received(plan, ranks)
    idx = TensorSpec("topk_idx", plan.index_dtype, (tokens, plan.top_k))
    out_shape: tuple[int, ...] = (tokens, plan.hidden)
    if plan.reduce == "none":
        out_shape = (tokens, plan.slots(ranks), plan.hidden)
    routes = [back["send_row"], back["recv_src_idx"], back["n_tokens_from_rank"]]
    topk = [idx] if plan.is_expert_major else []
    blocks = [back["peer_blocks"], back["peer_rows"]] if plan.keep_blocks else []
    # Other ranks read the weights as long as they read y.
    weights = [TensorSpec("weights", "f32", (rows,), plan.defer_release)]
    weights = weights if plan.combine_weights else []
    rows_shape = (rows, plan.hidden)
    y = TensorSpec("y", plan.combine_dtype, rows_shape, plan.symmetric_y)

    if entry == "dispatch":
        arguments = [
            TensorSpec("x", plan.dtype, (tokens, plan.hidden)),
            idx,
            TensorSpec("topk_weights", "f32", (tokens, plan.top_k)),
        ]
        if plan.scales:
            arguments.append(TensorSpec("scales", plan.scales_dtype, (tokens, plan.scales)))
        results = list(back.values())
    elif entry == "dispatch_again":
        arguments = [TensorSpec("x", plan.dtype, (tokens, plan.hidden))]
        results = [back["recv_x"]]
        if plan.scales:
            arguments.append(TensorSpec("scales", plan.scales_dtype, (tokens, plan.scales)))
            results.append(back["recv_scales"])
        arguments += [back["send_row"], *topk, *blocks]
    elif entry == "combine":
        arguments = [y, *routes, *topk, *weights, *blocks]
        results = [TensorSpec("out", plan.combine_dtype, out_shape)]
    elif entry == "combine_backward":
        arguments = [TensorSpec("grad_out", plan.combine_dtype, out_shape)]
        arguments += [back["send_row"], *topk]
        results = [TensorSpec("grad_y", plan.combine_dtype, rows_shape)]
        if weights:
            arguments += [dataclasses.replace(spec, symmetric=False) for spec in (y, *weights)]
            results.append(TensorSpec("grad_weights", "f32", (rows,)))
        if sends_along_blocks(plan):
            arguments += blocks
    else:
        arguments, results = [*routes, *topk], []
        if entry != "dispatch_backward_weights":
            arguments.insert(0, TensorSpec("grad_recv_x", plan.combine_dtype, rows_shape))
            results.append(TensorSpec("grad_x", plan.combine_dtype, (tokens, plan.hidden)))
        if entry != "dispatch_backward_x":
            arguments.append(
                dataclasses.replace(back["recv_topk_weights"], name="grad_recv_topk_weights")
            )
            if not plan.is_expert_major:
                arguments += [idx, back["recv_topk_idx"]]
            results.append(TensorSpec("grad_topk_weights", "f32", idx.shape))
        arguments += blocks
    return Signature(entry, tuple(arguments), tuple(results))
