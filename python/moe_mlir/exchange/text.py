# ===- text.py - pieces of a module as text -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Ops, types and attributes as MLIR writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .signature import TensorSpec, received

if TYPE_CHECKING:
    from .description import Exchange

GRID = "ep"
BLOCKS = " blocks(%peer_blocks, %peer_rows)"


def lines(items: Sequence[str], indent: int) -> str:
    """Items below each other, from a column on."""
    return (",\n" + " " * indent).join(items)


def wrapped(start: str, items: Sequence[str], end: str, indent: int) -> str:
    """A list of names, types or attributes, broken between them at 80 columns."""
    lines, line = [], " " * indent + start
    for i, item in enumerate(items):
        item += "," if i + 1 < len(items) else end
        if len(line) + len(item) > 80 and i > 0:
            lines.append(line.rstrip())
            line = " " * (indent + len(start))
        line += item + " "
    return "\n".join([*lines, line.rstrip()]) + "\n"


def attributes_text(values: Mapping[str, str | int | None]) -> str:
    """The attributes that are given, in alphabetical order."""
    parts = []
    for name, value in sorted(values.items()):
        if isinstance(value, int) and not isinstance(value, bool):
            parts.append(f"{name} = {value} : i64")
        elif value == "":
            parts.append(name)
        elif value is not None:
            parts.append(f"{name} = #moe.{name}<{value}>")
    return wrapped("{", parts, "}", 6)


def unless(value: str, default: str) -> str | None:
    """`value`, unless it is what the op has anyway."""
    return None if value == default else value


def dispatch_attributes(plan: Exchange, ranks: int, is_first: bool = False) -> str:
    """The attributes of a dispatch of the plan, which finds the routes if it `is_first`."""
    return attributes_text(
        {
            "num_experts": plan.num_experts,
            "layout": unless(plan.layout, "rank_major"),
            "order": unless(plan.order, "token"),
            "overflow": unless(plan.overflow, "error"),
            "padding": unless(plan.padding, "none"),
            "alignment": plan.alignment if plan.alignment > 1 else None,
            "list_alignment": plan.list_alignment if is_first else None,
            "keep_blocks": "" if is_first and plan.keep_blocks else None,
            "capacity": plan.stated_capacity(ranks),
            "max_tokens": plan.max_tokens,
        }
    )


def _combine_attributes(
    plan: Exchange, reduce: str = "sum", defer_release: bool = False, partials: str = "f32"
) -> str:
    return attributes_text(
        {
            "num_experts": plan.num_experts,
            "layout": unless(plan.layout, "rank_major"),
            "max_tokens": plan.max_tokens,
            "reduce": unless(reduce, "sum"),
            "partials": unless(partials, "f32"),
            "defer_release": "" if defer_release else None,
        }
    )


def op(
    results: Sequence[TensorSpec],
    call: str,
    attributes: str,
    operands: Sequence[TensorSpec],
) -> str:
    """One op with its functional type."""
    return (
        wrapped("", [f"%{r.name}" for r in results], " =", 2)
        + f"      {call} on @{GRID}\n"
        + attributes
        + wrapped(": (", [o.type for o in operands], ")", 6)
        + wrapped("-> (", [r.type for r in results], ")", 5)
    )


def kept_blocks(plan: Exchange, ranks: int) -> list[TensorSpec]:
    """The operands of `BLOCKS`."""
    back = received(plan, ranks)
    return [back["peer_blocks"], back["peer_rows"]]


def combine_op(
    plan: Exchange,
    ranks: int,
    y: TensorSpec,
    out: TensorSpec,
    weights: TensorSpec | None = None,
    reduce: str = "sum",
    defer_release: bool = False,
    partials: str = "f32",
) -> str:
    """A combine of `y` along the routes of the dispatch."""
    back = received(plan, ranks)
    routes = [back["send_row"], back["recv_src_idx"], back["n_tokens_from_rank"]]
    call = f"moe.combine %{y.name}, %send_row, %recv_src_idx, %n_tokens_from_rank"
    operands = [y, *routes]
    if plan.is_expert_major:
        shape = (plan.token_extent, plan.top_k)
        operands.append(TensorSpec("topk_idx", plan.index_dtype, shape))
        call += " topk(%topk_idx)"
    if weights:
        operands.append(weights)
        call += f" weights(%{weights.name})"
    if plan.keep_blocks:
        operands += kept_blocks(plan, ranks)
        call += BLOCKS
    attributes = _combine_attributes(plan, reduce, defer_release, partials)
    return op([out], call, attributes, operands)
