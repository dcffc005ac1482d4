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

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .signature import DYNAMIC, TensorSpec, entries, received, signature

if TYPE_CHECKING:
    from .description import Exchange

GRID = "ep"


def module(plan: Exchange, ranks: int) -> str:
    """The module of all entries of `plan` for `ranks` ranks."""
    writers = {
        "dispatch": _dispatch,
        "combine": _combine,
        "dispatch_backward": _dispatch_backward,
        "dispatch_backward_x": _dispatch_backward,
        "combine_backward": _combine_backward,
    }
    parts = [f"// {plan}\nshard.grid @{GRID}(shape = {ranks})\n"]
    for entry in entries(plan):
        parts.append(_function(plan, entry, ranks, writers[entry](plan, entry, ranks)))
    return "\n".join(parts)


def _function(plan: Exchange, entry: str, ranks: int, body: str) -> str:
    """A function around a body that names each result as the signature does."""
    signed = signature(plan, entry, ranks)
    mark = " {moe.symmetric}"
    arguments = [f"%{a.name}: {a.type}{mark if a.symmetric else ''}" for a in signed.arguments]
    results = [f"{r.type}{mark if r.symmetric else ''}" for r in signed.results]
    names = _wrapped("return ", [f"%{r.name}" for r in signed.results], "", 2)
    types = _wrapped(": ", [r.type for r in signed.results], "", 6)
    return (
        f"func.func @{entry}(\n    {_lines(arguments, 4)})\n"
        f"    -> ({_lines(results, 8)}) {{\n"
        f"{body}"
        f"{names}{types}}}\n"
    )


def _lines(items: Sequence[str], indent: int) -> str:
    return (",\n" + " " * indent).join(items)


def _wrapped(start: str, items: Sequence[str], end: str, indent: int) -> str:
    """A list of names, types or attributes, broken between them at 80 columns."""
    lines, line = [], " " * indent + start
    for i, item in enumerate(items):
        item += "," if i + 1 < len(items) else end
        if len(line) + len(item) > 80 and i > 0:
            lines.append(line.rstrip())
            line = " " * (indent + len(start))
        line += item + " "
    return "\n".join([*lines, line.rstrip()]) + "\n"


def _attributes(values: Mapping[str, str | int | None]) -> str:
    """The attributes that are given, in alphabetical order."""
    parts = []
    for name, value in sorted(values.items()):
        if isinstance(value, int) and not isinstance(value, bool):
            parts.append(f"{name} = {value} : i64")
        elif value == "":
            parts.append(name)
        elif value is not None:
            parts.append(f"{name} = #moe.{name}<{value}>")
    return _wrapped("{", parts, "}", 6)


def _unless(value: str, default: str) -> str | None:
    """`value`, unless it is what the op has anyway."""
    return None if value == default else value


def _dispatch_attributes(plan: Exchange, ranks: int) -> str:
    return _attributes(
        {
            "num_experts": plan.num_experts,
            "layout": _unless(plan.layout, "rank_major"),
            "order": _unless(plan.order, "token"),
            "overflow": _unless(plan.overflow, "error"),
            "padding": _unless(plan.padding, "none"),
            "alignment": plan.alignment if plan.alignment > 1 else None,
            "capacity": plan.stated_capacity(ranks),
            "max_tokens": plan.max_tokens,
        }
    )


def _combine_attributes(plan: Exchange, reduce: str = "sum", defer_release: bool = False) -> str:
    return _attributes(
        {
            "num_experts": plan.num_experts,
            "layout": _unless(plan.layout, "rank_major"),
            "max_tokens": plan.max_tokens,
            "reduce": _unless(reduce, "sum"),
            "defer_release": "" if defer_release else None,
        }
    )


def _op(
    results: Sequence[TensorSpec],
    call: str,
    attributes: str,
    operands: Sequence[TensorSpec],
) -> str:
    """One op with its functional type."""
    return (
        _wrapped("", [f"%{r.name}" for r in results], " =", 2)
        + f"      {call} on @{GRID}\n"
        + attributes
        + _wrapped(": (", [o.type for o in operands], ")", 6)
        + _wrapped("-> (", [r.type for r in results], ")", 5)
    )


def _dispatch(plan: Exchange, entry: str, ranks: int) -> str:
    signed = signature(plan, entry, ranks)
    call = "moe.dispatch %x, %topk_idx, %topk_weights"
    if plan.scales:
        call += " scales(%scales)"
    return _op(signed.results, call, _dispatch_attributes(plan, ranks), signed.arguments)


def _combine_op(
    plan: Exchange,
    ranks: int,
    y: TensorSpec,
    out: TensorSpec,
    weights: TensorSpec | None = None,
    reduce: str = "sum",
    defer_release: bool = False,
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
    attributes = _combine_attributes(plan, reduce, defer_release)
    return _op([out], call, attributes, operands)


def _combine(plan: Exchange, entry: str, ranks: int) -> str:
    signed = signature(plan, entry, ranks)
    weights = signed.arguments[-1] if plan.combine_weights else None
    return _combine_op(
        plan,
        ranks,
        signed.arguments[0],
        signed.results[0],
        weights,
        plan.reduce,
        plan.defer_release,
    )


def _dispatch_backward(plan: Exchange, entry: str, ranks: int) -> str:
    signed = signature(plan, entry, ranks)
    body = _combine_op(plan, ranks, signed.arguments[0], signed.results[0])
    if entry == "dispatch_backward_x":
        return body
    if plan.is_expert_major:
        return body + _weights_by_slot(plan, ranks) + _repeated(plan)
    return body + _weights_by_row(plan, ranks) + _repeated(plan)


def _weights_by_slot(plan: Exchange, ranks: int) -> str:
    """%per_slot (TxK): the gradient of the weight of each slot's row.

    One row per slot, so the values come back without a sum.
    """
    rows, tokens = plan.rows(ranks), plan.token_extent
    column = TensorSpec("column", "f32", (rows, 1))
    apart = TensorSpec("apart", "f32", (tokens, plan.top_k, 1))
    return (
        "  %column = tensor.expand_shape %grad_recv_topk_weights [[0, 1]]\n"
        f"      output_shape [{rows}, 1] : tensor<{rows}xf32> into {column.type}\n"
        + _combine_op(plan, ranks, column, apart, reduce="none")
        + "  %per_slot = tensor.collapse_shape %apart [[0], [1, 2]]\n"
        f"      : {apart.type} into {_per_slot(plan).type}\n"
    )


def _weights_by_row(plan: Exchange, ranks: int) -> str:
    """%per_slot (TxK): the same when a row stands for all experts of a rank.

    Slots of experts of other ranks are constants of the dispatch (id -1, weight
    0), so their gradients must not reach the sum.
    """
    rows = plan.rows(ranks)
    masked = TensorSpec("masked", "f32", (rows, plan.top_k))
    ids = TensorSpec("recv_topk_idx", plan.index_dtype, masked.shape)
    return (
        f"  %zero.id = arith.constant 0 : {plan.index_dtype}\n"
        "  %zero.weight = arith.constant 0.0 : f32\n"
        f"  %masked.empty = tensor.empty() : {masked.type}\n"
        "  %masked = linalg.generic {\n"
        "      indexing_maps = [affine_map<(r, k) -> (r, k)>,\n"
        "                       affine_map<(r, k) -> (r, k)>,\n"
        "                       affine_map<(r, k) -> (r, k)>],\n"
        '      iterator_types = ["parallel", "parallel"]}\n'
        f"      ins(%recv_topk_idx, %grad_recv_topk_weights\n"
        f"          : {ids.type}, {masked.type})\n"
        f"      outs(%masked.empty : {masked.type}) {{\n"
        f"  ^bb0(%id: {plan.index_dtype}, %g: f32, %unused: f32):\n"
        f"    %is_here = arith.cmpi sge, %id, %zero.id : {plan.index_dtype}\n"
        "    %kept = arith.select %is_here, %g, %zero.weight : f32\n"
        "    linalg.yield %kept : f32\n"
        f"  }} -> {masked.type}\n" + _combine_op(plan, ranks, masked, _per_slot(plan))
    )


def _per_slot(plan: Exchange) -> TensorSpec:
    return TensorSpec("per_slot", "f32", (plan.token_extent, plan.top_k))


def _repeated(plan: Exchange) -> str:
    """%grad_topk_weights: all slots with the same expert have its gradient.

    An expert that is repeated within a token counts once, with the sum of the
    weights; the values come back in its first slot, and zeros in the others.
    """
    weights, idx = _per_slot(plan), plan.index_dtype
    ids = TensorSpec("topk_idx", idx, weights.shape)
    extent, lines = "", ""
    if plan.token_extent == DYNAMIC:
        lines = (
            "  %axis = arith.constant 0 : index\n"
            f"  %tokens = tensor.dim %topk_idx, %axis : {ids.type}\n"
        )
        extent = "%tokens"
    return (
        lines + "  %no_gradient = arith.constant 0.0 : f32\n"
        f"  %sums.empty = tensor.empty({extent}) : {weights.type}\n"
        "  %sums = linalg.fill ins(%no_gradient : f32)\n"
        f"      outs(%sums.empty : {weights.type}) -> {weights.type}\n"
        "  %grad_topk_weights = linalg.generic {\n"
        "      indexing_maps = [affine_map<(t, k, j) -> (t, k)>,\n"
        "                       affine_map<(t, k, j) -> (t, j)>,\n"
        "                       affine_map<(t, k, j) -> (t, j)>,\n"
        "                       affine_map<(t, k, j) -> (t, k)>],\n"
        '      iterator_types = ["parallel", "parallel", "reduction"]}\n'
        "      ins(%topk_idx, %topk_idx, %per_slot\n"
        f"          : {ids.type}, {ids.type}, {weights.type})\n"
        f"      outs(%sums : {weights.type}) {{\n"
        f"  ^bb0(%mine: {idx}, %other: {idx}, %g: f32, %sum: f32):\n"
        f"    %is_same = arith.cmpi eq, %mine, %other : {idx}\n"
        "    %part = arith.select %is_same, %g, %no_gradient : f32\n"
        "    %next = arith.addf %sum, %part : f32\n"
        "    linalg.yield %next : f32\n"
        f"  }} -> {weights.type}\n"
    )


def _combine_backward(plan: Exchange, entry: str, ranks: int) -> str:
    signed = signature(plan, entry, ranks)
    grad_y = signed.results[0]
    sent = TensorSpec("rows", grad_y.dtype, grad_y.shape)
    rows = sent if plan.combine_weights else grad_y
    routes = signed.arguments[: 3 if plan.is_expert_major else 2]
    reuse = ", ".join(f"%{a.name}" for a in routes[1:])
    body = _op(
        [rows],
        f"moe.dispatch %grad_out reuse({reuse})",
        _dispatch_attributes(plan, ranks),
        routes,
    )
    if not plan.combine_weights:
        return body
    return body + _weighted_rows(plan, grad_y) + _products(plan, grad_y)


def _extended(plan: Exchange, name: str) -> tuple[str, str]:
    """Code that extends %name to f32, and the name of the extended value."""
    if plan.combine_dtype == "f32":
        return "", f"%{name}"
    code = f"    %{name}.f32 = arith.extf %{name} : {plan.combine_dtype} to f32\n"
    return code, f"%{name}.f32"


def _weighted_rows(plan: Exchange, grad_y: TensorSpec) -> str:
    """%grad_y: each row of the gradient times the weight of the row."""
    dtype, weights = plan.combine_dtype, f"tensor<{grad_y.shape[0]}xf32>"
    extend, row = _extended(plan, "row")
    rounding, rounded = "", "%product"
    if dtype != "f32":
        rounding = f"    %rounded = arith.truncf %product : f32 to {dtype}\n"
        rounded = "%rounded"
    return (
        f"  %grad_y.empty = tensor.empty() : {grad_y.type}\n"
        "  %grad_y = linalg.generic {\n"
        "      indexing_maps = [affine_map<(r, h) -> (r, h)>,\n"
        "                       affine_map<(r, h) -> (r)>,\n"
        "                       affine_map<(r, h) -> (r, h)>],\n"
        '      iterator_types = ["parallel", "parallel"]}\n'
        f"      ins(%rows, %weights : {grad_y.type}, {weights})\n"
        f"      outs(%grad_y.empty : {grad_y.type}) {{\n"
        f"  ^bb0(%row: {dtype}, %weight: f32, %unused: {dtype}):\n"
        f"{extend}"
        f"    %product = arith.mulf {row}, %weight : f32\n"
        f"{rounding}"
        f"    linalg.yield {rounded} : {dtype}\n"
        f"  }} -> {grad_y.type}\n"
    )


def _products(plan: Exchange, grad_y: TensorSpec) -> str:
    """%grad_weights: the inner product of each row of y and of the gradient."""
    dtype, weights = plan.combine_dtype, f"tensor<{grad_y.shape[0]}xf32>"
    extend_row, row = _extended(plan, "row")
    extend_y, value = _extended(plan, "value")
    return (
        "  %zero.sum = arith.constant 0.0 : f32\n"
        f"  %grad_weights.empty = tensor.empty() : {weights}\n"
        "  %grad_weights.zeros = linalg.fill ins(%zero.sum : f32)\n"
        f"      outs(%grad_weights.empty : {weights}) -> {weights}\n"
        "  %grad_weights = linalg.generic {\n"
        "      indexing_maps = [affine_map<(r, h) -> (r, h)>,\n"
        "                       affine_map<(r, h) -> (r, h)>,\n"
        "                       affine_map<(r, h) -> (r)>],\n"
        '      iterator_types = ["parallel", "reduction"]}\n'
        f"      ins(%rows, %y : {grad_y.type}, {grad_y.type})\n"
        f"      outs(%grad_weights.zeros : {weights}) {{\n"
        f"  ^bb0(%row: {dtype}, %value: {dtype}, %sum: f32):\n"
        f"{extend_row}{extend_y}"
        f"    %product = arith.mulf {row}, {value} : f32\n"
        "    %next = arith.addf %sum, %product : f32\n"
        "    linalg.yield %next : f32\n"
        f"  }} -> {weights}\n"
    )
