# ===- symm.py - builders of the symm dialect -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
# Made by python/tools/generate_builders.py from
# include/moe-mlir/Dialect/Symm/IR/SymmOps.td; do not edit.
"""Builders of the ops and attributes of the ``symm`` dialect.

Each takes the ``ir`` module of the user's own MLIR build. What the ops mean is
in the op reference, docs/generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    "alloc",
    "alloc_result",
    "barrier",
    "bulk_fence",
    "check",
    "collect",
    "collective_begin",
    "collective_end",
    "copy_rows",
    "failed",
    "failure_attr",
    "fetch",
    "free",
    "grid_barrier",
    "join_loads",
    "mark",
    "next_epoch",
    "peer",
    "phase",
    "post",
    "put",
    "put_each",
    "put_wait",
    "rank",
    "signal",
    "space_attr",
    "stage_arrive",
    "stage_expect",
    "stage_init",
    "stage_wait",
    "take",
    "wait",
]


def space_attr(ir: Any) -> Any:
    """``#symm.space``: the memory space of symmetric buffers."""
    return attribute(ir, "#symm.space")


def failure_attr(ir: Any, value: str) -> Any:
    """``#symm.failure``: what a failed check reports.

    `value` is one of: invalid_argument, peer_failed, invalid_expert,
    capacity_exceeded, invalid_count.
    """
    return enum_attribute(
        ir,
        "#symm<failure {}>",
        ("invalid_argument", "peer_failed", "invalid_expert", "capacity_exceeded", "invalid_count"),
        value,
    )


_PUT_EACH = OpSpec(
    name="symm.put_each",
    operands=(
        Operand("source"),
        Operand("from"),
        Operand("target"),
        Operand("to"),
        Operand("rank"),
        Operand("rotation"),
        Operand("member", "optional"),
    ),
    attributes=(
        Attr("lanes", "i64", minimum=1, maximum=32),
        Attr("team", "i64", minimum=1, maximum=32),
        Attr("rows", "i64", minimum=1),
        Attr("coherent", "unit"),
    ),
)


def put_each(
    ir: Any,
    source: Any,
    from_: Any,
    target: Any,
    to: Any,
    rank: Any,
    rotation: Any,
    member: Any = None,
    *,
    lanes: int,
    team: int | None = None,
    rows: int | None = None,
    coherent: bool = False,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.put_each``: copies rows to several ranks, executed by a subgroup.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    source : operand
        Memref of any type values.
    from_ : operand
        Index.
    target : operand
        Memref of any type values.
    to : operand
        Index.
    rank : operand
        Index.
    rotation : operand
        Index.
    lanes : int
        64-bit signless integer attribute.
    member : operand, optional
        Index.
    team : int | None, optional
        64-bit signless integer attribute; 1 when not given.
    rows : int | None, optional
        64-bit signless integer attribute; 1 when not given.
    coherent : bool, optional
        Unit attribute.
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
        _PUT_EACH,
        {
            "source": source,
            "from": from_,
            "target": target,
            "to": to,
            "rank": rank,
            "rotation": rotation,
            "member": member,
        },
        {
            "lanes": lanes,
            "team": team,
            "rows": rows,
            "coherent": coherent,
        },
        results=results,
        loc=loc,
        ip=ip,
    )


_GRID_BARRIER = OpSpec(
    name="symm.grid_barrier",
    operands=(Operand("counter"),),
    results=(Result("met", "optional"),),
)


def grid_barrier(
    ir: Any,
    counter: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.grid_barrier``: waits until all blocks of the grid have arrived.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    counter : operand
        Statically shaped rank-1 memref of i64.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        met.
    """
    return build(
        ir,
        _GRID_BARRIER,
        {
            "counter": counter,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_POST = OpSpec(
    name="symm.post",
    operands=(
        Operand("value"),
        Operand("words"),
        Operand("index"),
        Operand("epoch"),
    ),
)


def post(
    ir: Any,
    value: Any,
    words: Any,
    index: Any,
    epoch: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.post``: tells the other blocks of the grid a value.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    value : operand
        32-bit signless integer.
    words : operand
        Statically shaped rank-1 memref of i64.
    index : operand
        Index.
    epoch : operand
        64-bit signless integer.
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
        _POST,
        {
            "value": value,
            "words": words,
            "index": index,
            "epoch": epoch,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_COLLECT = OpSpec(
    name="symm.collect",
    operands=(
        Operand("words"),
        Operand("index"),
        Operand("epoch"),
    ),
    results=(
        Result("value", type="i32"),
        Result("posted", type="i1"),
    ),
)


def collect(
    ir: Any,
    words: Any,
    index: Any,
    epoch: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.collect``: waits for a value that a block of the grid posts.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    words : operand
        Statically shaped rank-1 memref of i64.
    index : operand
        Index.
    epoch : operand
        64-bit signless integer.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        value, posted.
    """
    return build(
        ir,
        _COLLECT,
        {
            "words": words,
            "index": index,
            "epoch": epoch,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_TAKE = OpSpec(
    name="symm.take",
    operands=(
        Operand("counters"),
        Operand("index"),
    ),
    results=(Result("number", type="i64"),),
)


def take(
    ir: Any,
    counters: Any,
    index: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.take``: takes the next number of a counter.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    counters : operand
        Statically shaped rank-1 memref of i64.
    index : operand
        Index.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        number.
    """
    return build(
        ir,
        _TAKE,
        {
            "counters": counters,
            "index": index,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_MARK = OpSpec(
    name="symm.mark",
    operands=(
        Operand("words"),
        Operand("index"),
        Operand("bits"),
    ),
)


def mark(
    ir: Any,
    words: Any,
    index: Any,
    bits: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.mark``: sets bits of a word that threads of a block share.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    words : operand
        Rank-1 memref of i32 in workgroup memory (#gpu.address_space<workgroup>).
    index : operand
        Index.
    bits : operand
        32-bit signless integer.
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
        _MARK,
        {
            "words": words,
            "index": index,
            "bits": bits,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_FAILED = OpSpec(
    name="symm.failed",
    results=(Result("result", type="i1"),),
)


def failed(
    ir: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.failed``: whether this rank has recorded an error.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
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
        _FAILED,
        {},
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_JOIN_LOADS = OpSpec(
    name="symm.join_loads",
    operands=(
        Operand("values", "variadic"),
        Operand("others", "variadic"),
    ),
    results=(Result("results", "variadic", same_as="values"),),
    has_operand_segments=True,
)


def join_loads(
    ir: Any,
    values: Sequence[Any] = (),
    others: Sequence[Any] = (),
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.join_loads``: vectors that are there when all of them, and others, are.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    values : operand, optional
        Variadic of vector of 1, 2, 4, 8 or 16 bytes.
    others : operand, optional
        Variadic of vector of 1, 2, 4, 8 or 16 bytes.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        results.
    """
    return build(
        ir,
        _JOIN_LOADS,
        {
            "values": values,
            "others": others,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_STAGE_INIT = OpSpec(
    name="symm.stage_init",
    operands=(Operand("counters"),),
    attributes=(Attr("arrivals", "i64", minimum=1),),
)


def stage_init(
    ir: Any,
    counters: Any,
    *,
    arrivals: int,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.stage_init``: prepares the arrival counters of stages.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    counters : operand
        Rank-1 memref of i64 in workgroup memory (#gpu.address_space<workgroup>).
    arrivals : int
        64-bit signless integer attribute.
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
        _STAGE_INIT,
        {
            "counters": counters,
        },
        {
            "arrivals": arrivals,
        },
        results=results,
        loc=loc,
        ip=ip,
    )


_STAGE_EXPECT = OpSpec(
    name="symm.stage_expect",
    operands=(
        Operand("counters"),
        Operand("index"),
        Operand("bytes"),
    ),
)


def stage_expect(
    ir: Any,
    counters: Any,
    index: Any,
    bytes: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.stage_expect``: arrives at a stage and announces bytes.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    counters : operand
        Rank-1 memref of i64 in workgroup memory (#gpu.address_space<workgroup>).
    index : operand
        Index.
    bytes : operand
        Index.
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
        _STAGE_EXPECT,
        {
            "counters": counters,
            "index": index,
            "bytes": bytes,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_STAGE_ARRIVE = OpSpec(
    name="symm.stage_arrive",
    operands=(
        Operand("counters"),
        Operand("index"),
    ),
)


def stage_arrive(
    ir: Any,
    counters: Any,
    index: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.stage_arrive``: arrives at a stage.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    counters : operand
        Rank-1 memref of i64 in workgroup memory (#gpu.address_space<workgroup>).
    index : operand
        Index.
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
        _STAGE_ARRIVE,
        {
            "counters": counters,
            "index": index,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_STAGE_WAIT = OpSpec(
    name="symm.stage_wait",
    operands=(
        Operand("counters"),
        Operand("index"),
        Operand("parity"),
    ),
)


def stage_wait(
    ir: Any,
    counters: Any,
    index: Any,
    parity: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.stage_wait``: waits for the end of a stage's phase.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    counters : operand
        Rank-1 memref of i64 in workgroup memory (#gpu.address_space<workgroup>).
    index : operand
        Index.
    parity : operand
        Index.
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
        _STAGE_WAIT,
        {
            "counters": counters,
            "index": index,
            "parity": parity,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_FETCH = OpSpec(
    name="symm.fetch",
    operands=(
        Operand("source"),
        Operand("indices", "variadic"),
        Operand("stage"),
        Operand("slot"),
        Operand("counters"),
        Operand("counter"),
    ),
)


def fetch(
    ir: Any,
    source: Any,
    indices: Sequence[Any],
    stage: Any,
    slot: Any,
    counters: Any,
    counter: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.fetch``: starts a bulk copy into a stage.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    source : operand
        Memref of any type values.
    indices : operand
        Variadic of index.
    stage : operand
        Statically shaped memref with rows in workgroup memory
        (#gpu.address_space<workgroup>).
    slot : operand
        Index.
    counters : operand
        Rank-1 memref of i64 in workgroup memory (#gpu.address_space<workgroup>).
    counter : operand
        Index.
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
        _FETCH,
        {
            "source": source,
            "indices": indices,
            "stage": stage,
            "slot": slot,
            "counters": counters,
            "counter": counter,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_PUT_WAIT = OpSpec(
    name="symm.put_wait",
    attributes=(
        Attr("pending", "i64", minimum=0),
        Attr("read", "unit"),
    ),
)


def put_wait(
    ir: Any,
    *,
    pending: int,
    read: bool = False,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.put_wait``: waits for the bulk copies of a subgroup's puts.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    pending : int
        64-bit signless integer attribute.
    read : bool, optional
        Unit attribute.
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
        _PUT_WAIT,
        {},
        {
            "pending": pending,
            "read": read,
        },
        results=results,
        loc=loc,
        ip=ip,
    )


_BULK_FENCE = OpSpec(
    name="symm.bulk_fence",
)


def bulk_fence(
    ir: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.bulk_fence``: orders loads and stores before bulk copies.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
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
        _BULK_FENCE,
        {},
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_ALLOC = OpSpec(
    name="symm.alloc",
    attributes=(
        Attr("persistent", "unit"),
        Attr("result_index", "i64", minimum=0),
        Attr("offset", "i64", minimum=0),
    ),
    results=(Result("buffer"),),
)


def alloc(
    ir: Any,
    *,
    persistent: bool = False,
    result_index: int | None = None,
    offset: int | None = None,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.alloc``: names a symmetric buffer.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    persistent : bool, optional
        Unit attribute.
    result_index : int | None, optional
        64-bit signless integer attribute.
    offset : int | None, optional
        64-bit signless integer attribute.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        buffer.
    """
    return build(
        ir,
        _ALLOC,
        {},
        {
            "persistent": persistent,
            "result_index": result_index,
            "offset": offset,
        },
        results=results,
        loc=loc,
        ip=ip,
    )


_FREE = OpSpec(
    name="symm.free",
    operands=(Operand("buffer"),),
)


def free(
    ir: Any,
    buffer: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.free``: ends the lifetime of a symmetric buffer.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    buffer : operand
        Statically shaped memref in symmetric memory (#symm.space).
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
        _FREE,
        {
            "buffer": buffer,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_ALLOC_RESULT = OpSpec(
    name="symm.alloc_result",
    operands=(Operand("sizes", "variadic"),),
    attributes=(Attr("index", "i64", minimum=0),),
    results=(Result("buffer"),),
)


def alloc_result(
    ir: Any,
    sizes: Sequence[Any] = (),
    *,
    index: int,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.alloc_result``: memory for a result of the entry.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    index : int
        64-bit signless integer attribute.
    sizes : operand, optional
        Variadic of index.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        buffer.
    """
    return build(
        ir,
        _ALLOC_RESULT,
        {
            "sizes": sizes,
        },
        {
            "index": index,
        },
        results=results,
        loc=loc,
        ip=ip,
    )


_COPY_ROWS = OpSpec(
    name="symm.copy_rows",
    operands=(
        Operand("sources", "variadic"),
        Operand("targets", "variadic"),
        Operand("counts"),
        Operand("offsets", "optional"),
    ),
    attributes=(Attr("every", "i64", minimum=1),),
    has_operand_segments=True,
)


def copy_rows(
    ir: Any,
    sources: Sequence[Any],
    targets: Sequence[Any],
    counts: Any,
    offsets: Any = None,
    *,
    every: int | None = None,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.copy_rows``: copies the rows of buffers that are valid.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    sources : operand
        Variadic of statically shaped memref of any type values.
    targets : operand
        Variadic of statically shaped memref of any type values.
    counts : operand
        Statically shaped rank-1 memref of i32.
    offsets : operand, optional
        Statically shaped rank-1 memref of i32.
    every : int | None, optional
        64-bit signless integer attribute.
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
        _COPY_ROWS,
        {
            "sources": sources,
            "targets": targets,
            "counts": counts,
            "offsets": offsets,
        },
        {
            "every": every,
        },
        results=results,
        loc=loc,
        ip=ip,
    )


_RANK = OpSpec(
    name="symm.rank",
    results=(Result("rank", type="index"),),
)


def rank(
    ir: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.rank``: rank of this process in the group.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        rank.
    """
    return build(
        ir,
        _RANK,
        {},
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_PEER = OpSpec(
    name="symm.peer",
    operands=(
        Operand("buffer"),
        Operand("rank"),
    ),
    results=(Result("result", same_as="buffer"),),
)


def peer(
    ir: Any,
    buffer: Any,
    rank: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.peer``: the copy of a symmetric buffer on another rank.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    buffer : operand
        Statically shaped memref in symmetric memory (#symm.space).
    rank : operand
        Index.
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
        _PEER,
        {
            "buffer": buffer,
            "rank": rank,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_PUT = OpSpec(
    name="symm.put",
    operands=(
        Operand("source"),
        Operand("from"),
        Operand("target"),
        Operand("to"),
        Operand("rank"),
        Operand("count", "optional"),
    ),
)


def put(
    ir: Any,
    source: Any,
    from_: Any,
    target: Any,
    to: Any,
    rank: Any,
    count: Any = None,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.put``: copies rows into a buffer on another rank.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    source : operand
        Memref of any type values.
    from_ : operand
        Index.
    target : operand
        Statically shaped memref in symmetric memory (#symm.space).
    to : operand
        Index.
    rank : operand
        Index.
    count : operand, optional
        Index.
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
        _PUT,
        {
            "source": source,
            "from": from_,
            "target": target,
            "to": to,
            "rank": rank,
            "count": count,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_NEXT_EPOCH = OpSpec(
    name="symm.next_epoch",
    operands=(Operand("counter"),),
    results=(Result("epoch", type="i64"),),
)


def next_epoch(
    ir: Any,
    counter: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.next_epoch``: increments an epoch counter.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    counter : operand
        Rank-1 memref of i64 in symmetric memory (#symm.space).
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        epoch.
    """
    return build(
        ir,
        _NEXT_EPOCH,
        {
            "counter": counter,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_SIGNAL = OpSpec(
    name="symm.signal",
    operands=(
        Operand("flags"),
        Operand("index"),
        Operand("rank"),
        Operand("value"),
    ),
    attributes=(Attr("relaxed", "unit"),),
)


def signal(
    ir: Any,
    flags: Any,
    index: Any,
    rank: Any,
    value: Any,
    *,
    relaxed: bool = False,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.signal``: sets a flag on another rank.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    flags : operand
        Rank-1 memref of i64 in symmetric memory (#symm.space).
    index : operand
        Index.
    rank : operand
        Index.
    value : operand
        64-bit signless integer.
    relaxed : bool, optional
        Unit attribute.
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
        _SIGNAL,
        {
            "flags": flags,
            "index": index,
            "rank": rank,
            "value": value,
        },
        {
            "relaxed": relaxed,
        },
        results=results,
        loc=loc,
        ip=ip,
    )


_WAIT = OpSpec(
    name="symm.wait",
    operands=(
        Operand("flags"),
        Operand("index"),
        Operand("peer"),
        Operand("value"),
    ),
    results=(Result("seen", "optional"),),
)


def wait(
    ir: Any,
    flags: Any,
    index: Any,
    peer: Any,
    value: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.wait``: waits for a flag.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    flags : operand
        Rank-1 memref of i64 in symmetric memory (#symm.space).
    index : operand
        Index.
    peer : operand
        Index.
    value : operand
        64-bit signless integer.
    results : sequence of types, optional
        Types of the results, when they are not to be inferred.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    Results
        seen.
    """
    return build(
        ir,
        _WAIT,
        {
            "flags": flags,
            "index": index,
            "peer": peer,
            "value": value,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_BARRIER = OpSpec(
    name="symm.barrier",
    operands=(
        Operand("flags"),
        Operand("value"),
    ),
)


def barrier(
    ir: Any,
    flags: Any,
    value: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.barrier``: waits until all ranks have arrived.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    flags : operand
        Rank-1 memref of i64 in symmetric memory (#symm.space).
    value : operand
        64-bit signless integer.
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
        _BARRIER,
        {
            "flags": flags,
            "value": value,
        },
        {},
        results=results,
        loc=loc,
        ip=ip,
    )


_CHECK = OpSpec(
    name="symm.check",
    operands=(
        Operand("condition"),
        Operand("expected"),
        Operand("least", "optional"),
        Operand("seen"),
        Operand("token", "optional"),
        Operand("slot", "optional"),
        Operand("peer", "optional"),
    ),
    attributes=(
        Attr(
            "failure",
            "enum",
            "#symm<failure {}>",
            (
                "invalid_argument",
                "peer_failed",
                "invalid_expert",
                "capacity_exceeded",
                "invalid_count",
            ),
        ),
        Attr("what", "string"),
    ),
    has_operand_segments=True,
)


def check(
    ir: Any,
    condition: Any,
    expected: Any,
    least: Any = None,
    token: Any = None,
    slot: Any = None,
    peer: Any = None,
    *,
    seen: Any,
    failure: str,
    what: str,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.check``: ends the entry with an error unless a condition holds.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    condition : operand
        1-bit signless integer.
    failure : str
        What a failed check reports: invalid_argument, peer_failed, invalid_expert,
        capacity_exceeded, invalid_count.
    what : str
        String attribute.
    expected : operand
        64-bit signless integer.
    least : operand, optional
        64-bit signless integer.
    seen : operand
        64-bit signless integer.
    token : operand, optional
        Index.
    slot : operand, optional
        Index.
    peer : operand, optional
        Index.
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
        _CHECK,
        {
            "condition": condition,
            "expected": expected,
            "least": least,
            "seen": seen,
            "token": token,
            "slot": slot,
            "peer": peer,
        },
        {
            "failure": failure,
            "what": what,
        },
        results=results,
        loc=loc,
        ip=ip,
    )


_COLLECTIVE_BEGIN = OpSpec(
    name="symm.collective_begin",
    attributes=(
        Attr("op", "string"),
        Attr("site", "i64", minimum=0),
    ),
)


def collective_begin(
    ir: Any,
    *,
    op: str,
    site: int,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.collective_begin``: marks the start of a collective op.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    op : str
        String attribute.
    site : int
        64-bit signless integer attribute.
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
        _COLLECTIVE_BEGIN,
        {},
        {
            "op": op,
            "site": site,
        },
        results=results,
        loc=loc,
        ip=ip,
    )


_PHASE = OpSpec(
    name="symm.phase",
    attributes=(Attr("phase", "string"),),
)


def phase(
    ir: Any,
    *,
    phase: str,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.phase``: marks the start of a phase of the current collective.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    phase : str
        String attribute.
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
        _PHASE,
        {},
        {
            "phase": phase,
        },
        results=results,
        loc=loc,
        ip=ip,
    )


_COLLECTIVE_END = OpSpec(
    name="symm.collective_end",
)


def collective_end(
    ir: Any,
    *,
    results: Sequence[Any] | None = None,
    loc: Any = None,
    ip: Any = None,
) -> Results:
    """``symm.collective_end``: marks the end of a collective op.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
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
        _COLLECTIVE_END,
        {},
        {},
        results=results,
        loc=loc,
        ip=ip,
    )
