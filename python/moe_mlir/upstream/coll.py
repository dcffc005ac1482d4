# ===- coll.py - builders of the coll dialect -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
# Made by python/tools/generate_builders.py from
# include/moe-mlir/Dialect/Coll/IR/CollOps.td; do not edit.
"""Builders of the ops of the ``coll`` dialect.

Each takes the ``ir`` module of the user's own MLIR build. What the ops mean is
in the op reference, docs/generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._build import (
    Attr,
    Body,
    Operand,
    OpSpec,
    Result,
    Results,
    build,
)

__all__ = [
    "all_gather",
    "all_to_all",
    "clear_table",
    "copy_table",
    "exchange",
    "read",
    "rows",
    "table",
    "table_end",
]


_ALL_GATHER = OpSpec(
    name="coll.all_gather",
    operands=(
        Operand("send"),
        Operand("recv"),
    ),
)


def all_gather(
    ir: Any,
    send: Any,
    recv: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``coll.all_gather``: brings a buffer of every rank to every rank.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    send : operand
        Statically shaped memref of integers or floats of 8, 16, 32 or 64 bits with
        contiguous rows, of rank 1 or more.
    recv : operand
        Statically shaped memref of integers or floats of 8, 16, 32 or 64 bits with
        contiguous rows, of rank 1 or more.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        No value.
    """
    return build(
        ir,
        _ALL_GATHER,
        {
            "send": send,
            "recv": recv,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_ALL_TO_ALL = OpSpec(
    name="coll.all_to_all",
    operands=(
        Operand("send"),
        Operand("recv"),
    ),
)


def all_to_all(
    ir: Any,
    send: Any,
    recv: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``coll.all_to_all``: sends a part of a buffer to every rank.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    send : operand
        Statically shaped memref of integers or floats of 8, 16, 32 or 64 bits with
        contiguous rows, of rank 1 or more.
    recv : operand
        Statically shaped memref of integers or floats of 8, 16, 32 or 64 bits with
        contiguous rows, of rank 1 or more.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        No value.
    """
    return build(
        ir,
        _ALL_TO_ALL,
        {
            "send": send,
            "recv": recv,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_EXCHANGE = OpSpec(
    name="coll.exchange",
    regions=("body",),
)


def exchange(
    ir: Any,
    body: Body,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``coll.exchange``: exchanges rows of several buffers at once.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    body : callable
        Called to build the ops of the region.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        No value.
    """
    return build(
        ir,
        _EXCHANGE,
        {},
        {},
        regions={
            "body": body,
        },
        results=results,
        loc=loc,
        ip=ip,
    )


_ROWS = OpSpec(
    name="coll.rows",
    operands=(
        Operand("send"),
        Operand("send_starts"),
        Operand("send_counts"),
        Operand("recv"),
        Operand("recv_starts"),
        Operand("recv_counts"),
    ),
)


def rows(
    ir: Any,
    send: Any,
    send_starts: Any,
    send_counts: Any,
    recv: Any,
    recv_starts: Any,
    recv_counts: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``coll.rows``: rows of a pair of buffers in an exchange.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    send : operand
        Memref of integers or floats of 8, 16, 32 or 64 bits with contiguous rows,
        of rank 1 or more.
    send_starts : operand
        Statically shaped rank-1 memref of i32 with contiguous rows.
    send_counts : operand
        Statically shaped rank-1 memref of i32 with contiguous rows.
    recv : operand
        Memref of integers or floats of 8, 16, 32 or 64 bits with contiguous rows,
        of rank 1 or more.
    recv_starts : operand
        Statically shaped rank-1 memref of i32 with contiguous rows.
    recv_counts : operand
        Statically shaped rank-1 memref of i32 with contiguous rows.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        No value.
    """
    return build(
        ir,
        _ROWS,
        {
            "send": send,
            "send_starts": send_starts,
            "send_counts": send_counts,
            "recv": recv,
            "recv_starts": recv_starts,
            "recv_counts": recv_counts,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_READ = OpSpec(
    name="coll.read",
    operands=(Operand("table"),),
    results=(Result("result", same_as="table"),),
)


def read(
    ir: Any,
    table: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``coll.read``: a table of the device, in host memory.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    table : operand
        Statically shaped memref of integers or floats of 8, 16, 32 or 64 bits with
        contiguous rows, of rank 1 or more.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        result.
    """
    return build(
        ir,
        _READ,
        {
            "table": table,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_COPY_TABLE = OpSpec(
    name="coll.copy_table",
    operands=(
        Operand("table"),
        Operand("target"),
    ),
)


def copy_table(
    ir: Any,
    table: Any,
    target: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``coll.copy_table``: copies a table in host memory.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    table : operand
        Statically shaped memref of i32 with contiguous rows, of rank 1 or more.
    target : operand
        Statically shaped memref of i32 with contiguous rows, of rank 1 or more.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        No value.
    """
    return build(
        ir,
        _COPY_TABLE,
        {
            "table": table,
            "target": target,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_CLEAR_TABLE = OpSpec(
    name="coll.clear_table",
    operands=(Operand("table"),),
)


def clear_table(
    ir: Any,
    table: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``coll.clear_table``: makes a table in host memory name no rows.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    table : operand
        Statically shaped memref of i32 with contiguous rows, of rank 1 or more.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        No value.
    """
    return build(
        ir,
        _CLEAR_TABLE,
        {
            "table": table,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_TABLE_END = OpSpec(
    name="coll.table_end",
    operands=(
        Operand("starts"),
        Operand("counts"),
        Operand("limit"),
    ),
    results=(Result("end", type="index"),),
)


def table_end(
    ir: Any,
    starts: Any,
    counts: Any,
    limit: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``coll.table_end``: checks a table, and returns the end of its rows.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    starts : operand
        Statically shaped rank-1 memref of i32 with contiguous rows.
    counts : operand
        Statically shaped rank-1 memref of i32 with contiguous rows.
    limit : operand
        Index.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        end.
    """
    return build(
        ir,
        _TABLE_END,
        {
            "starts": starts,
            "counts": counts,
            "limit": limit,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_TABLE = OpSpec(
    name="coll.table",
    attributes=(Attr("numbers", "i32s"),),
    results=(Result("table"),),
)


def table(
    ir: Any,
    *,
    numbers: Sequence[int],
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``coll.table``: a table that is known when it is compiled.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    numbers : Sequence[int]
        Whole numbers of 32 bits.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        table.
    """
    return build(
        ir,
        _TABLE,
        {},
        {
            "numbers": numbers,
        },
        results=results,
        loc=loc,
        ip=ip,
    )
