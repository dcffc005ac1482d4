# ===- rules.py - what the fields of an exchange ask of each other -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Checks of whole exchanges, in the words of docs/Spec.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import checks

if TYPE_CHECKING:
    from .description import Exchange

MAX_RANKS = 65536


def check_ranks(ranks: Any) -> int:
    """A number of ranks, as an int of Python, which does not overflow."""
    return checks.whole_number("ranks", ranks, 1, MAX_RANKS)


def check_together(plan: Exchange) -> None:
    """What fields ask of each other."""
    if (plan.max_tokens is None) == (plan.tokens is None):
        raise ValueError(
            "Exchange: expected either max_tokens (calls may send fewer) or "
            "tokens (each call sends so many), got "
            + ("neither" if plan.tokens is None else "both")
        )
    if plan.top_k > plan.num_experts:
        raise ValueError(
            f"Exchange: expected top_k to be at most num_experts "
            f"({plan.num_experts}), got {plan.top_k}"
        )
    if plan.scales and plan.dtype not in checks.FLOAT8_DTYPES:
        raise ValueError(
            f"Exchange: expected dtype to be f8E4M3FN or f8E5M2 with scales, got {plan.dtype}"
        )
    if plan.alignment > 1 and not plan.is_expert_major:
        raise ValueError(
            "Exchange: expected layout to be expert_major with an alignment "
            f"above 1, got {plan.layout}"
        )
    if plan.has_lists and plan.is_expert_major:
        raise ValueError(
            "Exchange: expected layout to be rank_major or slab with list_alignment, "
            f"got {plan.layout}"
        )
    if plan.order == "expert" and (plan.top_k, plan.layout) != (1, "rank_major"):
        raise ValueError(
            "Exchange: expected top_k = 1 and layout = rank_major with "
            f"order = expert, got {plan.top_k} and {plan.layout}"
        )
    if plan.capacity is not None and plan.layout == "slab":
        raise ValueError(
            "Exchange: expected no capacity with layout = slab, whose capacity "
            f"is R * max_tokens, got {plan.capacity}"
        )
    if plan.combine_weights and not checks.is_float(plan.combine_dtype):
        raise ValueError(
            "Exchange: expected combine_dtype to be a floating-point type with "
            f"combine_weights, got {plan.combine_dtype}"
        )
    if plan.partials == "element":
        check_partials(plan)
    if plan.defer_release and not plan.symmetric_y:
        raise ValueError(
            "Exchange: expected symmetric_y with defer_release, since other "
            "ranks read y after the call; got symmetric_y = False"
        )
    if plan.gradients and not checks.is_float(plan.combine_dtype):
        raise ValueError(
            "Exchange: expected combine_dtype to be a floating-point type with "
            f"gradients, got {plan.combine_dtype}"
        )


def check_partials(plan: Exchange) -> None:
    """What sums of ranks that are rounded ask for (combine_c11)."""
    if not checks.is_float(plan.combine_dtype):
        raise ValueError(
            "Exchange: expected combine_dtype to be a floating-point type with "
            f"partials = element, got {plan.combine_dtype}"
        )
    if (plan.layout, plan.reduce) != ("expert_major", "sum"):
        raise ValueError(
            "Exchange: expected layout = expert_major and reduce = sum with "
            f"partials = element, got {plan.layout} and {plan.reduce}"
        )


def check_rows(plan: Exchange, ranks: int) -> int:
    """A number of ranks, with which row numbers fit i32."""
    ranks = check_ranks(ranks)
    numbers = {
        "rows per rank": plan.rows(ranks),
        "ranks * max_tokens": ranks * plan.token_bound,
    }
    if plan.is_expert_major:
        local = plan.local_experts(ranks)
        numbers["rows of all groups"] = (
            ranks * plan.token_bound * min(plan.top_k, local) + local * plan.alignment
        )
    if plan.has_lists:
        numbers["places of a list"] = plan.list_places(ranks)
    for name, number in numbers.items():
        if number > checks.INT32_MAX:
            raise ValueError(
                f"Exchange: expected {name} to be at most 2^31 - 1, got {number} "
                f"with {ranks} ranks"
            )
    return ranks
