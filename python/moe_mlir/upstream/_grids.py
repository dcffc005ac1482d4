# ===- _grids.py - the grid that an op names -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Looks up the extent of a grid around the op to build."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def find_ranks(ir: Any, grid: str, values: Sequence[Any]) -> int:
    """Extent of the ``shard.grid`` that ``@grid`` names.

    Looks in the symbol tables around the op or block that `values` come from,
    from the inside to the outside.

    Raises
    ------
    ValueError
        There is no such grid, or it does not have one dimension of static
        extent.
    """
    for table in _enclosing_ops(ir, values):
        for region in table.regions:
            for block in region.blocks:
                for child in block.operations:
                    op = child.operation
                    if op.name == "shard.grid" and _symbol_of(ir, op) == grid:
                        return _extent(op, grid)
    raise ValueError(
        f"expected a shard.grid @{grid} around the op, found none; make one with "
        "upstream.grid(), or pass ranks="
    )


def _enclosing_ops(ir: Any, values: Sequence[Any]) -> Iterator[Any]:
    """The ops around the op to build, from the inside to the outside."""
    try:
        block = ir.InsertionPoint.current.block
    except (ValueError, AttributeError):
        if not values:
            return
        owner = values[0].owner
        block = owner if hasattr(owner, "operations") else owner.block
    op = block.owner
    while op is not None:
        yield op.operation
        op = op.operation.parent


def _symbol_of(ir: Any, op: Any) -> str | None:
    if "sym_name" not in op.attributes:
        return None
    return str(ir.StringAttr(op.attributes["sym_name"]).value)


def _extent(grid: Any, name: str) -> int:
    shape = [int(extent) for extent in grid.attributes["shape"]]
    if len(shape) != 1 or shape[0] < 1:
        raise ValueError(f"expected @{name} to have one dimension of static extent, got {shape}")
    return shape[0]
