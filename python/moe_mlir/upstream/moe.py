# ===- moe.py - builders of the moe dialect -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
# Made by python/tools/generate_builders.py from
# include/moe-mlir/Dialect/MoE/IR/MoEOps.td; do not edit.
"""Builders of the ops and attributes of the ``moe`` dialect.

Each takes the ``ir`` module of the user's own MLIR build. What the ops mean is
in the op reference, docs/generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import _infer
from ._build import (
    Attr,
    Operand,
    OpSpec,
    Result,
    Results,
    attribute,
    build,
    enum_attribute,
)

__all__ = [
    "algorithm_attr",
    "alltoallv",
    "combine",
    "dispatch",
    "dispatch_algorithm_attr",
    "kernel_attr",
    "layout_attr",
    "order_attr",
    "overflow_attr",
    "padding_attr",
    "partials_attr",
    "reduce_attr",
    "schedule_attr",
]


def layout_attr(ir: Any, value: str) -> Any:
    """``#moe.layout``: how received rows are laid out.

    `value` is one of: rank_major, expert_major, slab.
    """
    return enum_attribute(ir, "#moe.layout<{}>", ("rank_major", "expert_major", "slab"), value)


def order_attr(ir: Any, value: str) -> Any:
    """``#moe.order``: order of the rows of one sender.

    `value` is one of: token, expert.
    """
    return enum_attribute(ir, "#moe.order<{}>", ("token", "expert"), value)


def overflow_attr(ir: Any, value: str) -> Any:
    """``#moe.overflow``: what happens to rows beyond the capacity.

    `value` is one of: error, drop.
    """
    return enum_attribute(ir, "#moe.overflow<{}>", ("error", "drop"), value)


def padding_attr(ir: Any, value: str) -> Any:
    """``#moe.padding``: what received rows hold that no token was sent to.

    `value` is one of: none, zero.
    """
    return enum_attribute(ir, "#moe.padding<{}>", ("none", "zero"), value)


def reduce_attr(ir: Any, value: str) -> Any:
    """``#moe.reduce``: what a combine makes of the rows of a token.

    `value` is one of: sum, none.
    """
    return enum_attribute(ir, "#moe.reduce<{}>", ("sum", "none"), value)


def partials_attr(ir: Any, value: str) -> Any:
    """``#moe.partials``: type of the sums of the rows that one rank holds.

    `value` is one of: f32, element.
    """
    return enum_attribute(ir, "#moe.partials<{}>", ("f32", "element"), value)


def algorithm_attr(ir: Any, value: str) -> Any:
    """``#moe.algorithm``: how a combine moves rows.

    `value` is one of: pull, push.
    """
    return enum_attribute(ir, "#moe.algorithm<{}>", ("pull", "push"), value)


def dispatch_algorithm_attr(ir: Any, value: str) -> Any:
    """``#moe.dispatch_algorithm``: where the rows of a token for several experts are made.

    `value` is one of: direct, expand.
    """
    return enum_attribute(ir, "#moe.dispatch_algorithm<{}>", ("direct", "expand"), value)


def schedule_attr(ir: Any, value: str) -> Any:
    """``#moe.schedule``: how long the messages of an op are.

    `value` is one of: exact, padded.
    """
    return enum_attribute(ir, "#moe.schedule<{}>", ("exact", "padded"), value)


def kernel_attr(
    ir: Any,
    *,
    blocks: int | str | None = None,
    threads: int | str | None = None,
    transfer: int | str | None = None,
    stages: int | str | None = None,
    team: int | str | None = None,
) -> Any:
    """``#moe.kernel``: shape of the kernel of an op.

    What is not given has its default.
    """
    given = (
        ("blocks", blocks),
        ("threads", threads),
        ("transfer", transfer),
        ("stages", stages),
        ("team", team),
    )
    text = ", ".join(f"{name} = {value}" for name, value in given if value is not None)
    return attribute(ir, f"#moe.kernel<{text}>")


_ALLTOALLV = OpSpec(
    name="moe.alltoallv",
    operands=(
        Operand("send"),
        Operand("send_counts"),
        Operand("outs", "variadic"),
    ),
    attributes=(
        Attr("grid", "symbol"),
        Attr("overflow", "enum", "#moe.overflow<{}>", ("error", "drop")),
        Attr("schedule", "enum", "#moe.schedule<{}>", ("exact", "padded")),
        Attr("kernel", "any"),
    ),
    results=(Result("outputs", "variadic"),),
)


def alltoallv(
    ir: Any,
    send: Any,
    send_counts: Any,
    outs: Sequence[Any] = (),
    *,
    grid: str,
    overflow: str | None = None,
    schedule: str | None = None,
    kernel: Any = None,
    results: Sequence[Any] | None = None,
    ranks: int | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``moe.alltoallv``: exchanges blocks of rows between all ranks.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    send : operand
        Tensor or memref of rank 1 to 8 of f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32
        or i64 values.
    send_counts : operand
        Rank-1 tensor or memref of 32-bit signless integer values.
    outs : operand, optional
        Variadic of memref of any type values.
    grid : str
        Flat symbol reference attribute: the name of a shard.grid.
    overflow : str | None, optional
        What happens to rows beyond the capacity: error, drop; error when not given.
    schedule : str | None, optional
        How long the messages of an op are: exact, padded.
    kernel : Any, optional
        Shape of the kernel of an op.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    ranks : int, optional
        Extent of the grid, when it is not to be looked up.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        One value per result; its names are those of docs/Spec.md.
    """
    return build(
        ir,
        _ALLTOALLV,
        {
            "send": send,
            "send_counts": send_counts,
            "outs": outs,
        },
        {
            "grid": grid,
            "overflow": overflow,
            "schedule": schedule,
            "kernel": kernel,
        },
        results=results,
        infer=_infer.alltoallv,
        ranks=ranks,
        loc=loc,
        ip=ip,
    )


_COMBINE = OpSpec(
    name="moe.combine",
    operands=(
        Operand("y"),
        Operand("send_row"),
        Operand("recv_src_idx"),
        Operand("n_tokens_from_rank"),
        Operand("topk", "optional"),
        Operand("weights", "optional"),
        Operand("peer_blocks", "optional"),
        Operand("peer_rows", "optional"),
        Operand("outs", "variadic"),
    ),
    attributes=(
        Attr("grid", "symbol"),
        Attr("num_experts", "i64", minimum=1, maximum=2147483647),
        Attr("layout", "enum", "#moe.layout<{}>", ("rank_major", "expert_major", "slab")),
        Attr("reduce", "enum", "#moe.reduce<{}>", ("sum", "none")),
        Attr("partials", "enum", "#moe.partials<{}>", ("f32", "element")),
        Attr("max_tokens", "i64", minimum=1),
        Attr("defer_release", "unit"),
        Attr("algorithm", "enum", "#moe.algorithm<{}>", ("pull", "push")),
        Attr("schedule", "enum", "#moe.schedule<{}>", ("exact", "padded")),
        Attr("kernel", "any"),
    ),
    results=(Result("outputs", "variadic"),),
    has_operand_segments=True,
)


def combine(
    ir: Any,
    y: Any,
    send_row: Any,
    recv_src_idx: Any,
    n_tokens_from_rank: Any,
    topk: Any = None,
    weights: Any = None,
    peer_blocks: Any = None,
    peer_rows: Any = None,
    outs: Sequence[Any] = (),
    *,
    grid: str,
    num_experts: int,
    layout: str | None = None,
    reduce: str | None = None,
    partials: str | None = None,
    max_tokens: int | None = None,
    defer_release: bool = False,
    algorithm: str | None = None,
    schedule: str | None = None,
    kernel: Any = None,
    results: Sequence[Any] | None = None,
    ranks: int | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``moe.combine``: brings rows back to their tokens and adds them up.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    y : operand
        Rank-2 tensor or memref of f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32 or i64
        values.
    send_row : operand
        Rank-2 tensor or memref of 32-bit signless integer values.
    recv_src_idx : operand
        Rank-1 tensor or memref of 32-bit signless integer values.
    n_tokens_from_rank : operand
        Rank-1 tensor or memref of 32-bit signless integer values.
    topk : operand, optional
        Rank-2 tensor or memref of 32-bit signless integer or 64-bit signless
        integer values.
    weights : operand, optional
        Rank-1 tensor or memref of 32-bit float values.
    peer_blocks : operand, optional
        Rank-4 tensor or memref of 32-bit signless integer values.
    peer_rows : operand, optional
        Rank-2 tensor or memref of 32-bit signless integer values.
    outs : operand, optional
        Variadic of memref of any type values.
    grid : str
        Flat symbol reference attribute: the name of a shard.grid.
    num_experts : int
        64-bit signless integer attribute.
    layout : str | None, optional
        How received rows are laid out: rank_major, expert_major, slab; rank_major
        when not given.
    reduce : str | None, optional
        What a combine makes of the rows of a token: sum, none; sum when not given.
    partials : str | None, optional
        Type of the sums of the rows that one rank holds: f32, element; f32 when not
        given.
    max_tokens : int | None, optional
        64-bit signless integer attribute.
    defer_release : bool, optional
        Unit attribute.
    algorithm : str | None, optional
        How a combine moves rows: pull, push.
    schedule : str | None, optional
        How long the messages of an op are: exact, padded.
    kernel : Any, optional
        Shape of the kernel of an op.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    ranks : int, optional
        Extent of the grid, when it is not to be looked up.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        One value per result; its names are those of docs/Spec.md.
    """
    return build(
        ir,
        _COMBINE,
        {
            "y": y,
            "send_row": send_row,
            "recv_src_idx": recv_src_idx,
            "n_tokens_from_rank": n_tokens_from_rank,
            "topk": topk,
            "weights": weights,
            "peer_blocks": peer_blocks,
            "peer_rows": peer_rows,
            "outs": outs,
        },
        {
            "grid": grid,
            "num_experts": num_experts,
            "layout": layout,
            "reduce": reduce,
            "partials": partials,
            "max_tokens": max_tokens,
            "defer_release": defer_release,
            "algorithm": algorithm,
            "schedule": schedule,
            "kernel": kernel,
        },
        results=results,
        infer=_infer.combine,
        ranks=ranks,
        loc=loc,
        ip=ip,
    )


_DISPATCH = OpSpec(
    name="moe.dispatch",
    operands=(
        Operand("x"),
        Operand("topk_idx", "optional"),
        Operand("topk_weights", "optional"),
        Operand("scales", "optional"),
        Operand("reuse", "variadic"),
        Operand("peer_blocks", "optional"),
        Operand("peer_rows", "optional"),
        Operand("outs", "variadic"),
    ),
    attributes=(
        Attr("grid", "symbol"),
        Attr("num_experts", "i64", minimum=1, maximum=2147483647),
        Attr("layout", "enum", "#moe.layout<{}>", ("rank_major", "expert_major", "slab")),
        Attr("order", "enum", "#moe.order<{}>", ("token", "expert")),
        Attr("overflow", "enum", "#moe.overflow<{}>", ("error", "drop")),
        Attr("alignment", "i64", minimum=1),
        Attr("padding", "enum", "#moe.padding<{}>", ("none", "zero")),
        Attr("list_alignment", "i64", minimum=1),
        Attr("keep_blocks", "unit"),
        Attr("capacity", "i64", minimum=1),
        Attr("max_tokens", "i64", minimum=1),
        Attr("algorithm", "enum", "#moe.dispatch_algorithm<{}>", ("direct", "expand")),
        Attr("schedule", "enum", "#moe.schedule<{}>", ("exact", "padded")),
        Attr("kernel", "any"),
    ),
    results=(Result("outputs", "variadic"),),
    has_operand_segments=True,
)


def dispatch(
    ir: Any,
    x: Any,
    topk_idx: Any = None,
    topk_weights: Any = None,
    scales: Any = None,
    reuse: Sequence[Any] = (),
    peer_blocks: Any = None,
    peer_rows: Any = None,
    outs: Sequence[Any] = (),
    *,
    grid: str,
    num_experts: int,
    layout: str | None = None,
    order: str | None = None,
    overflow: str | None = None,
    alignment: int | None = None,
    padding: str | None = None,
    list_alignment: int | None = None,
    keep_blocks: bool = False,
    capacity: int | None = None,
    max_tokens: int | None = None,
    algorithm: str | None = None,
    schedule: str | None = None,
    kernel: Any = None,
    results: Sequence[Any] | None = None,
    ranks: int | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``moe.dispatch``: sends tokens to the ranks that own their experts.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    x : operand
        Rank-2 tensor or memref of f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32 or i64
        values.
    topk_idx : operand, optional
        Rank-2 tensor or memref of 32-bit signless integer or 64-bit signless
        integer values.
    topk_weights : operand, optional
        Rank-2 tensor or memref of 32-bit float values.
    scales : operand, optional
        Rank-2 tensor or memref of f32, f16, bf16 or i8 values.
    reuse : operand, optional
        Variadic of any type.
    peer_blocks : operand, optional
        Rank-4 tensor or memref of 32-bit signless integer values.
    peer_rows : operand, optional
        Rank-2 tensor or memref of 32-bit signless integer values.
    outs : operand, optional
        Variadic of memref of any type values.
    grid : str
        Flat symbol reference attribute: the name of a shard.grid.
    num_experts : int
        64-bit signless integer attribute.
    layout : str | None, optional
        How received rows are laid out: rank_major, expert_major, slab; rank_major
        when not given.
    order : str | None, optional
        Order of the rows of one sender: token, expert; token when not given.
    overflow : str | None, optional
        What happens to rows beyond the capacity: error, drop; error when not given.
    alignment : int | None, optional
        64-bit signless integer attribute; 1 when not given.
    padding : str | None, optional
        What received rows hold that no token was sent to: none, zero; none when not
        given.
    list_alignment : int | None, optional
        64-bit signless integer attribute.
    keep_blocks : bool, optional
        Unit attribute.
    capacity : int | None, optional
        64-bit signless integer attribute.
    max_tokens : int | None, optional
        64-bit signless integer attribute.
    algorithm : str | None, optional
        Where the rows of a token for several experts are made: direct, expand.
    schedule : str | None, optional
        How long the messages of an op are: exact, padded.
    kernel : Any, optional
        Shape of the kernel of an op.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    ranks : int, optional
        Extent of the grid, when it is not to be looked up.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        One value per result; its names are those of docs/Spec.md.
    """
    return build(
        ir,
        _DISPATCH,
        {
            "x": x,
            "topk_idx": topk_idx,
            "topk_weights": topk_weights,
            "scales": scales,
            "reuse": reuse,
            "peer_blocks": peer_blocks,
            "peer_rows": peer_rows,
            "outs": outs,
        },
        {
            "grid": grid,
            "num_experts": num_experts,
            "layout": layout,
            "order": order,
            "overflow": overflow,
            "alignment": alignment,
            "padding": padding,
            "list_alignment": list_alignment,
            "keep_blocks": keep_blocks,
            "capacity": capacity,
            "max_tokens": max_tokens,
            "algorithm": algorithm,
            "schedule": schedule,
            "kernel": kernel,
        },
        results=results,
        infer=_infer.dispatch,
        ranks=ranks,
        loc=loc,
        ip=ip,
    )
