# ===- gradients.py - entries for gradients -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes the entries for gradients; ``Exchange`` states what they compute."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from . import text
from .signature import DYNAMIC, TensorSpec, sends_along_blocks, signature

if TYPE_CHECKING:
    from .description import Exchange


def dispatch_again(plan: Exchange, entry: str, ranks: int) -> str:
    """The body of ``dispatch_again``: other rows along the routes of a dispatch."""
    signed = signature(plan, entry, ranks)
    routes = [a for a in signed.arguments if a.name in ("send_row", "topk_idx")]
    call = "moe.dispatch %x scales(%scales)" if plan.scales else "moe.dispatch %x"
    call += f" reuse({', '.join(f'%{a.name}' for a in routes)})"
    if plan.keep_blocks:
        call += text.BLOCKS
    attributes = text.dispatch_attributes(plan, ranks)
    return text.op(signed.results, call, attributes, signed.arguments)


def dispatch_backward(plan: Exchange, entry: str, ranks: int) -> str:
    """The body of ``dispatch_backward``, and of the parts ``_x`` and ``_weights``."""
    signed = signature(plan, entry, ranks)
    body = ""
    if entry != "dispatch_backward_weights":
        body = text.combine_op(plan, ranks, signed.arguments[0], signed.results[0])
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
        + text.combine_op(plan, ranks, column, apart, reduce="none")
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
        f"  }} -> {masked.type}\n" + text.combine_op(plan, ranks, masked, _per_slot(plan))
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


def combine_backward(plan: Exchange, entry: str, ranks: int) -> str:
    """The body of ``combine_backward``."""
    signed = signature(plan, entry, ranks)
    grad_y = signed.results[0]
    sent = TensorSpec("rows", grad_y.dtype, grad_y.shape)
    rows = sent if plan.combine_weights else grad_y
    if plan.reduce == "none":
        body = _send_apart(plan, ranks, rows)
    else:
        routes = list(signed.arguments[: 3 if plan.is_expert_major else 2])
        reuse = ", ".join(f"%{a.name}" for a in routes[1:])
        call = f"moe.dispatch %grad_out reuse({reuse})"
        if plan.keep_blocks:
            call += text.BLOCKS
            routes += text.kept_blocks(plan, ranks)
        body = text.op([rows], call, text.dispatch_attributes(plan, ranks), routes)
    if not plan.combine_weights:
        return body
    return body + _weighted_rows(plan, grad_y) + _products(plan, grad_y)


def _send_apart(plan: Exchange, ranks: int, rows: TensorSpec) -> str:
    """%rows: the row of each slot sent to where that slot's row is.

    Each slot of a token becomes a token of its own, which chooses one expert. In
    expert_major that is the expert of the slot; otherwise slots are those of ranks,
    and rank `r` stands for the expert `r` of as many experts as there are ranks.
    """
    slots, tokens, index = plan.slots(ranks), plan.token_extent, plan.index_dtype
    several = DYNAMIC if tokens == DYNAMIC else tokens * slots
    grad = TensorSpec("grad_out", rows.dtype, (tokens, slots, plan.hidden))
    each = TensorSpec("grad_slots", rows.dtype, (several, plan.hidden))
    routed = TensorSpec("send_row", "i32", (tokens, slots))
    to = TensorSpec("slot_rows", "i32", (several, 1))
    chosen = TensorSpec("slot_experts", index if plan.is_expert_major else "i32", (several, 1))
    body = (
        "  %grad_slots = tensor.collapse_shape %grad_out [[0, 1], [2]]\n"
        f"      : {grad.type} into {each.type}\n"
        "  %axis = arith.constant 0 : index\n"
        f"  %num_slots = tensor.dim %grad_slots, %axis : {each.type}\n"
    ) + _column(routed, to)
    if plan.is_expert_major:
        body += _column(dataclasses.replace(routed, name="topk_idx", dtype=index), chosen)
    else:
        extent = "%num_slots" if several == DYNAMIC else ""
        body += (
            f"  %num_ranks = arith.constant {ranks} : index\n"
            f"  %slot_experts.empty = tensor.empty({extent}) : {chosen.type}\n"
            "  %slot_experts = linalg.generic {\n"
            "      indexing_maps = [affine_map<(s, one) -> (s, one)>],\n"
            '      iterator_types = ["parallel", "parallel"]}\n'
            f"      outs(%slot_experts.empty : {chosen.type}) {{\n"
            "  ^bb0(%unused: i32):\n"
            "    %slot = linalg.index 0 : index\n"
            "    %rank = arith.remui %slot, %num_ranks : index\n"
            "    %rank.i32 = arith.index_cast %rank : index to i32\n"
            "    linalg.yield %rank.i32 : i32\n"
            f"  }} -> {chosen.type}\n"
        )
    attributes = text.attributes_text(
        {
            "num_experts": plan.num_experts if plan.is_expert_major else ranks,
            "layout": "expert_major",
            "padding": text.unless(plan.padding, "none"),
            "capacity": rows.shape[0],
            "max_tokens": None if plan.max_tokens is None else plan.max_tokens * slots,
        }
    )
    call = f"moe.dispatch %{each.name} reuse(%{to.name}, %{chosen.name})"
    operands = [each, to, chosen]
    if sends_along_blocks(plan):
        call += text.BLOCKS
        operands += text.kept_blocks(plan, ranks)
    return body + text.op([rows], call, attributes, operands)


def _column(values: TensorSpec, column: TensorSpec) -> str:
    """%column: all of `values` below each other."""
    flat = TensorSpec(f"{column.name}.flat", column.dtype, column.shape[:1])
    extent = "%num_slots" if column.shape[0] == DYNAMIC else str(column.shape[0])
    return (
        f"  %{flat.name} = tensor.collapse_shape %{values.name} [[0, 1]]\n"
        f"      : {values.type} into {flat.type}\n"
        f"  %{column.name} = tensor.expand_shape %{flat.name} [[0, 1]]\n"
        f"      output_shape [{extent}, 1] : {flat.type} into {column.type}\n"
    )


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
