# ===- __init__.py - our ops in modules of other MLIR builds -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Builders that put our ops into a module of the user's own MLIR build.

JAX, torch-mlir and IREE each ship their own build of MLIR with its own ``ir``
module. Objects of one build mean nothing to another, so the builders here take
that module as their first argument and use nothing else. Their ops need not be
registered there; text or bytecode of the module carries them to our compiler.

>>> from jaxlib.mlir import ir
>>> from jaxlib.mlir.dialects import func
>>> from moe_mlir import upstream
>>> with ir.Context() as context, ir.Location.unknown():
...     context.allow_unregistered_dialects = True
...     module = ir.Module.create()
...     with ir.InsertionPoint(module.body):
...         upstream.grid(ir, "ep", 4)
...     # ... and within a function:
...     # recv = upstream.moe.dispatch(ir, x, idx, w, grid="ep", num_experts=8)
...     # recv.recv_x, recv.send_row, ...

``upstream.moe``, ``upstream.symm`` and ``upstream.coll`` have one builder per op of
the dialect, generated from the op definitions, and one function per attribute. The
region of ``coll.exchange`` is built by a function:

>>> def rows():
...     upstream.coll.rows(ir, x, starts, counts, recv, to, expected)
>>> # upstream.coll.exchange(ir, rows)

Memrefs in
``#symm.space``, which most ops of ``symm`` work on, exist only in builds of MLIR
that have the dialect: a memref takes no memory space of an unknown one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import coll, moe, symm
from ._build import Attr, OpSpec, Results, build

__all__ = ["Results", "coll", "grid", "mark_symmetric", "moe", "symm"]

_GRID = OpSpec(name="shard.grid", attributes=(Attr("sym_name", "string"), Attr("shape", "any")))


def grid(ir: Any, name: str, ranks: int, *, loc: Any = None, ip: Any = None) -> Any:
    """Builds ``shard.grid @name(shape = ranks)``: the group of ranks.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    name : str
        Symbol that ops name in their ``grid``.
    ranks : int
        Number of ranks, 1 to 65536.
    loc, ip : optional
        Location and insertion point.

    Returns
    -------
    operation of `ir`

    Raises
    ------
    TypeError, ValueError
        `ranks` is no int, or out of range.
    """
    if isinstance(ranks, bool) or not hasattr(ranks, "__index__"):
        raise TypeError(f"shard.grid: expected a number of ranks, got {ranks!r}")
    if not 1 <= ranks <= 65536:
        raise ValueError(f"shard.grid: expected 1 to 65536 ranks, got {ranks}")
    shape = f"array<i64: {ranks}>"
    attributes = {"sym_name": name, "shape": shape}
    return build(ir, _GRID, {}, attributes, loc=loc, ip=ip).operation


def mark_symmetric(
    ir: Any,
    function: Any,
    *,
    arguments: Sequence[int] = (),
    results: Sequence[int] = (),
) -> None:
    """Marks arguments and results of a ``func.func`` as ``moe.symmetric``.

    Parameters
    ----------
    ir
        The user's ``ir`` module.
    function
        The ``func.func``, of `ir`. Attributes it has on arguments and results
        are kept.
    arguments, results : sequence of int
        Numbers of those to be marked.

    Raises
    ------
    IndexError
        The function has no such argument or result.
    """
    operation = function.operation
    kind = ir.FunctionType(ir.TypeAttr(operation.attributes["function_type"]).value)
    for name, chosen, count in (
        ("arg_attrs", arguments, len(kind.inputs)),
        ("res_attrs", results, len(kind.results)),
    ):
        for number in chosen:
            if not 0 <= number < count:
                raise IndexError(f"expected a number below {count} in {name}, got {number}")
        if not chosen:
            continue
        with operation.context:
            unit = ir.Attribute.parse("unit")
            old: list[dict[str, Any]] = [{} for _ in range(count)]
            if name in operation.attributes:
                old = [
                    {named.name: named.attr for named in ir.DictAttr(attribute)}
                    for attribute in ir.ArrayAttr(operation.attributes[name])
                ]
            for number in chosen:
                old[number]["moe.symmetric"] = unit
            operation.attributes[name] = ir.ArrayAttr.get([ir.DictAttr.get(entry) for entry in old])
