# ===- _infer.py - types of results of moe ops -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Result types of the ops of the moe dialect, as docs/Spec.md states them.

The op definitions say only "any number of tensors"; the rules are those of the
tables in the specification. ``moe-opt`` verifies what comes out of here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import _grids

Named = tuple[list[str], list[Any]]
Operands = Mapping[str, list[Any]]
Attributes = Mapping[str, Any]


def _shape(ir: Any, value: Any) -> tuple[list[int], Any]:
    """Extents, with -1 for a dynamic one, and the element type."""
    shaped = ir.ShapedType(value.type)
    extents = [
        -1 if shaped.is_dynamic_dim(i) else shaped.get_dim_size(i) for i in range(shaped.rank)
    ]
    return extents, shaped.element_type


def _matrix(ir: Any, op: str, name: str, value: Any) -> tuple[list[int], Any]:
    """The two extents of an operand, and its element type.

    Raises
    ------
    TypeError
        It is no tensor of rank 2, from which types of results follow.
    """
    if str(value.type).startswith("memref<"):
        raise TypeError(
            f"{op}: expected '{name}' to be a tensor, got {value.type}; with memrefs it needs "
            "'outs', and has no results"
        )
    if str(value.type).startswith("tensor<") and ir.ShapedType(value.type).has_rank:
        extents, element = _shape(ir, value)
        if len(extents) == 2:
            return extents, element
    raise TypeError(f"{op}: expected '{name}' to be a tensor of rank 2, got {value.type}")


def _tensor(ir: Any, shape: list[int], element: Any) -> Any:
    extents = "".join("?x" if extent < 0 else f"{extent}x" for extent in shape)
    return ir.Type.parse(f"tensor<{extents}{element}>")


def _ranks(ir: Any, operands: Operands, grid: Any, ranks: int | None) -> int:
    if ranks is not None:
        return ranks
    values = [value for segment in operands.values() for value in segment]
    name = grid if isinstance(grid, str) else ir.FlatSymbolRefAttr(grid).value
    return _grids.find_ranks(ir, name, values)


def _is(attributes: Attributes, name: str, case: str) -> bool:
    """Whether an enum attribute, given as text or as an attribute, is `case`."""
    value = attributes.get(name)
    if value is None:
        return False
    text = str(value)
    return text == case or text.endswith((f"<{case}>", f" {case}>"))


def _number(attributes: Attributes, name: str) -> int | None:
    value = attributes.get(name)
    if value is None or isinstance(value, int):
        return value
    return int(str(value).split(":", maxsplit=1)[0])


def local_experts(num_experts: int, ranks: int) -> int:
    """EL: the largest number of experts any rank owns."""
    return -(-num_experts // ranks)


def list_places(rows: int, rows_each: int, local: int, alignment: int) -> int:
    """L: places of a list of `rows` rows that at most `rows_each` experts take."""
    entries = rows * rows_each
    most = entries + min(local, entries) * (alignment - 1)
    return most - most % alignment


def dispatch(ir: Any, operands: Operands, attributes: Attributes, ranks: int | None) -> Named:
    """Results of ``moe.dispatch``; none in memref form."""
    if operands["outs"]:
        return [], []
    ranks = _ranks(ir, operands, attributes["grid"], ranks)
    (tokens, hidden), element = _matrix(ir, "moe.dispatch", "x", operands["x"][0])
    bound = _number(attributes, "max_tokens")
    bound = tokens if bound is None else bound
    if bound < 0:
        raise ValueError(
            "moe.dispatch: expected 'max_tokens', since the number of tokens of 'x' is dynamic"
        )
    by_expert = _is(attributes, "layout", "expert_major")
    routes = operands["topk_idx"] or operands["reuse"][1:]
    top_k, index_type = 0, None
    if routes:
        name = "topk_idx" if operands["topk_idx"] else "reuse"
        (_, top_k), index_type = _matrix(ir, "moe.dispatch", name, routes[0])
    num_experts = _number(attributes, "num_experts")
    assert num_experts is not None
    local = local_experts(num_experts, ranks)
    rows = _number(attributes, "capacity")
    if rows is None:
        rows = ranks * bound * (min(top_k, local) if by_expert else 1)

    i32, f32 = ir.Type.parse("i32"), ir.Type.parse("f32")
    found: list[tuple[str, Any]] = [("recv_x", _tensor(ir, [rows, hidden], element))]
    for scales in operands["scales"]:
        (_, width), scale_type = _matrix(ir, "moe.dispatch", "scales", scales)
        found.append(("recv_scales", _tensor(ir, [rows, width], scale_type)))
    if not operands["reuse"]:
        slots = [rows] if by_expert else [rows, top_k]
        routed = [tokens, top_k] if by_expert else [tokens, ranks]
        found += [
            ("recv_topk_idx", _tensor(ir, slots, index_type)),
            ("recv_topk_weights", _tensor(ir, slots, f32)),
            ("recv_src_idx", _tensor(ir, [rows], i32)),
            ("n_tokens_to_rank", _tensor(ir, [ranks], i32)),
            ("n_tokens_from_rank", _tensor(ir, [ranks], i32)),
            ("send_row", _tensor(ir, routed, i32)),
        ]
        alignment = _number(attributes, "list_alignment")
        if by_expert or alignment is not None:
            found += [
                ("expert_offsets", _tensor(ir, [local], i32)),
                ("expert_counts", _tensor(ir, [local], i32)),
            ]
        if alignment is not None:
            places = list_places(rows, min(top_k, local), local, alignment)
            found += [
                ("list_rows", _tensor(ir, [places], i32)),
                ("list_weights", _tensor(ir, [places], f32)),
            ]
    return [name for name, _ in found], [kind for _, kind in found]


def combine(ir: Any, operands: Operands, attributes: Attributes, ranks: int | None) -> Named:
    """The result of ``moe.combine``; none in memref form."""
    del ranks
    if operands["outs"]:
        return [], []
    (_, hidden), element = _matrix(ir, "moe.combine", "y", operands["y"][0])
    routed, _ = _matrix(ir, "moe.combine", "send_row", operands["send_row"][0])
    # Without the sum each slot of a token keeps its row.
    kept = routed if _is(attributes, "reduce", "none") else routed[:1]
    return ["out"], [_tensor(ir, [*kept, hidden], element)]


def alltoallv(ir: Any, operands: Operands, attributes: Attributes, ranks: int | None) -> Named:
    """``moe.alltoallv`` has no inference: its capacity is its result type."""
    del ir, attributes, ranks
    if operands["outs"]:
        return [], []
    raise TypeError(
        "moe.alltoallv: expected 'results', the types of 'recv' and 'recv_counts'; "
        "the capacity does not follow from the operands"
    )
