# ===- gradients.py - gradients of the operators -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Gradients of the operators, and what is said where there are none.

Whether a backward pass communicates, and what, depends on the plan and on which inputs
need gradients, never on values: so all ranks do the same.
"""

from __future__ import annotations

from typing import Any

import torch

from moe_mlir.torch.binding import Binding, find

_OPS = torch.ops.moe_mlir

def setup_dispatch(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    """Keep what the backward pass of a dispatch needs, or refuse one that there is none of."""
    name = inputs[-1]
    binding = find(name)
    if not binding.is_differentiable:
        _check_differentiable(binding, "dispatch", x=inputs[0], scales=inputs[3])
    if not ctx.needs_input_grad[0]:
        # The received weights stay in the graph, whose backward pass is that of all ranks.
        ctx.mark_non_differentiable(output[0])
    kept = output[-1:] if binding.keeps_blocks else ()
    ctx.save_for_backward(inputs[1], output[2], *kept)
    ctx.name, ctx.num_inputs = name, len(inputs)
    ctx.set_materialize_grads(False)


def backward_dispatch(ctx: Any, grad_x: Any, grad_weights: Any, *others: Any) -> Any:
    """Bring gradients back to the tokens and their weights."""
    topk_idx, routes, *kept = ctx.saved_tensors
    known = routes, topk_idx, kept[0] if kept else None
    name = ctx.name
    binding = find(name)
    needs_x, _, needs_weights = ctx.needs_input_grad[:3]
    # Where nothing depends on the results here, something may on another rank.
    if needs_x and grad_x is None:
        grad_x = routes.new_zeros(binding.rows_shape, dtype=binding.combine_dtype)
    elif needs_x:
        grad_x = grad_x.to(binding.combine_dtype)
    if needs_weights and grad_weights is None:
        grad_weights = routes.new_zeros(binding.per_row_shape, dtype=torch.float32)
    grads = [None] * ctx.num_inputs
    if not needs_x:
        grads[2] = _OPS.dispatch_backward_weights(grad_weights, *known, name)
    elif needs_weights:
        result, grads[2] = _OPS.dispatch_backward(grad_x, grad_weights, *known, name)
    else:
        result = _OPS.dispatch_backward_x(grad_x, *known, name)
    if needs_x:
        grads[0] = result.to(binding.dtype)
    return tuple(grads)


def setup_combine(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """Keep what the backward pass of a combine needs, or refuse one that there is none of."""
    y, routes, topk_idx, peer_rows, weights, _, name = inputs
    binding = find(name)
    if not binding.is_differentiable:
        _check_differentiable(binding, "combine", y=y, weights=weights)
    if weights is None:
        ctx.save_for_backward(routes, topk_idx, peer_rows)
    else:
        ctx.save_for_backward(routes, topk_idx, peer_rows, y, weights)
    ctx.name = name
    ctx.set_materialize_grads(False)


def backward_combine(ctx: Any, grad: Any) -> Any:
    """Send gradients along the routes to the rows and their weights."""
    routes, topk_idx, peer_rows, *weighted = ctx.saved_tensors
    known = routes, topk_idx, peer_rows
    name = ctx.name
    binding = find(name)
    if grad is None:
        shape = binding.out_shape(topk_idx.shape[0])
        grad = routes.new_zeros(shape, dtype=binding.combine_dtype)
    grad_weights = None
    if weighted:
        y, weights = weighted
        grad_y, grad_weights = _OPS.combine_backward_weighted(grad, *known, y, weights, name)
    else:
        grad_y = _OPS.combine_backward(grad, *known, name)
    return grad_y, None, None, None, grad_weights, None, None


def _check_differentiable(
    binding: Binding, op: str, **tensors: Any
) -> None:
    """Refuse what has no gradient, or one that would be rounded to 8 bits.

    Raises
    ------
    RuntimeError
    """
    if not binding.plan.gradients:
        raise RuntimeError(
            f"{op}: expected a plan with gradients = True, since an input requires a gradient, "
            f"got {binding.plan!r}; or call it under torch.no_grad()"
        )
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor) or not tensor.requires_grad:
            continue
        if name == "scales" or tensor.element_size() == 1:
            raise RuntimeError(
                f"{op}: expected {name} without a gradient, since 8-bit floats and their scales "
                f"have none, got {tensor.dtype} that requires one; detach() it"
            )
        if binding.combine_dtype.itemsize == 1:
            raise RuntimeError(
                f"{op}: expected {name} without a gradient, since it would come back as "
                f"{binding.combine_dtype}, the combine_dtype of the plan, got one that requires "
                "it; choose a combine_dtype of 16 bits or more, or detach() it"
            )


def setup_nothing(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """Keep nothing, for a backward pass that is refused."""


def refuse_backward(name: str) -> Any:
    """The backward pass of an operator that has none."""

    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(
            f"moe_mlir::{name}: expected no backward pass through this operator, which has no "
            "gradient, got one; gradients of gradients (create_graph = True) are not defined"
        )

    return backward
