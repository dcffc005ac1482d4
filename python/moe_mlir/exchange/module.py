# ===- module.py - the module of an exchange -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes the MLIR of an exchange as text.

Each entry is a function; the argument and result types are those of
``signature.py``. The text is what a person would write, so that it can be read,
changed and compiled by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import gradients, text
from .signature import entries, signature

if TYPE_CHECKING:
    from .description import Exchange


def module(plan: Exchange, ranks: int) -> str:
    """The module of all entries of `plan` for `ranks` ranks."""
    writers = {
        "dispatch": _dispatch,
        "combine": _combine,
        "dispatch_backward": gradients.dispatch_backward,
        "dispatch_backward_x": gradients.dispatch_backward,
        "dispatch_backward_weights": gradients.dispatch_backward,
        "combine_backward": gradients.combine_backward,
        "dispatch_again": gradients.dispatch_again,
    }
    parts = [f"// {plan}\nshard.grid @{text.GRID}(shape = {ranks})\n"]
    for entry in entries(plan):
        parts.append(_function(plan, entry, ranks, writers[entry](plan, entry, ranks)))
    return "\n".join(parts)


def _function(plan: Exchange, entry: str, ranks: int, body: str) -> str:
    """A function around a body that names each result as the signature does."""
    signed = signature(plan, entry, ranks)
    arguments = [f"%{a.name}: {a.type}{a.mark}" for a in signed.arguments]
    results = [f"{r.type}{r.mark}" for r in signed.results]
    names = text.wrapped("return ", [f"%{r.name}" for r in signed.results], "", 2)
    types = text.wrapped(": ", [r.type for r in signed.results], "", 6)
    return (
        f"func.func @{entry}(\n    {text.lines(arguments, 4)})\n"
        f"    -> ({text.lines(results, 8)}) {{\n"
        f"{body}"
        f"{names}{types}}}\n"
    )


def _dispatch(plan: Exchange, entry: str, ranks: int) -> str:
    signed = signature(plan, entry, ranks)
    call = "moe.dispatch %x, %topk_idx, %topk_weights"
    if plan.scales:
        call += " scales(%scales)"
    attributes = text.dispatch_attributes(plan, ranks, is_first=True)
    return text.op(signed.results, call, attributes, signed.arguments)


def _combine(plan: Exchange, entry: str, ranks: int) -> str:
    signed = signature(plan, entry, ranks)
    weights = next((a for a in signed.arguments if a.name == "weights"), None)
    return text.combine_op(
        plan,
        ranks,
        signed.arguments[0],
        signed.results[0],
        weights,
        plan.reduce,
        plan.defer_release,
        plan.partials,
    )
