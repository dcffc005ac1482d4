# ===- _gradients.py - dispatch and combine with gradients -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Functions of one rank's arrays that JAX can differentiate once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
from jax.custom_derivatives import SymbolicZero

from moe_mlir.runtime import dtypes

from . import _calls

if TYPE_CHECKING:
    from moe_mlir.exchange import Exchange, Received
    from moe_mlir.exchange import ExpertParallel as Plain


def _needs_gradients(plan: Exchange, name: str, perturbed: Sequence[bool]) -> None:
    if any(perturbed) and not plan.gradients:
        raise TypeError(
            f"{name}: expected a plan with gradients = True, since the program takes a "
            f"derivative, got {plan!r}"
        )


def dispatch(plain: Plain) -> Callable[..., Received]:
    """The dispatch, whose backward pass is a combine without weights."""
    plan = plain.plan
    back = dtypes.numpy_dtype(plan.combine_dtype)

    def call(x: Any, topk_idx: Any, topk_weights: Any, scales: Any) -> Received:
        return plain.dispatch(x, topk_idx, topk_weights, scales)

    def forward(*primals: Any) -> tuple[Received, tuple[Any, ...]]:
        x, _, weights, scales = primals
        _needs_gradients(plan, "dispatch", [x.perturbed, weights.perturbed])
        if scales is not None and scales.perturbed:
            raise TypeError(
                "dispatch: expected scales without a derivative, which is not defined "
                "(jax.lax.stop_gradient)"
            )
        if x.perturbed and back.itemsize == 1 < x.value.dtype.itemsize:
            raise TypeError(
                "dispatch: expected x without a derivative, since it would come back as "
                f"{back.name}, the combine_dtype of the plan, and x is {x.value.dtype.name}; "
                "choose a combine_dtype of 16 bits or more (or jax.lax.stop_gradient)"
            )
        received = call(*(None if p is None else p.value for p in primals))
        # Of what needs a gradient the type alone is needed.
        like = [p.value[:0] if p.perturbed else None for p in (x, weights)]
        return received, (received.handle, *like)

    def backward(residuals: tuple[Any, ...], given: Received) -> tuple[Any, ...]:
        handle, like, like_weights = residuals
        listed = given.list_weights
        if like_weights is not None and not isinstance(listed, (SymbolicZero, type(None))):
            raise TypeError(
                "dispatch: expected list_weights without a derivative, which only those of "
                "topk_weights have (jax.lax.stop_gradient)"
            )
        is_x, is_weights = (
            needed is not None and not isinstance(g, SymbolicZero) and _calls.is_number(g.dtype)
            for needed, g in ((like, given.x), (like_weights, given.topk_weights))
        )
        if not is_x and not is_weights:
            return None, None, None, None
        grad_x, grad_weights = plain.dispatch_backward(
            given.x.astype(back) if is_x else None,
            handle,
            given.topk_weights if is_weights else None,
        )
        if grad_x is None or not _calls.is_number(like.dtype):
            return None, None, grad_weights, None
        return grad_x.astype(like.dtype), None, grad_weights, None

    differentiable = jax.custom_vjp(call)
    differentiable.defvjp(forward, backward, symbolic_zeros=True)
    function: Callable[..., Received] = differentiable
    return function


def combine(plain: Plain) -> Callable[..., Any]:
    """The combine, whose backward pass is a dispatch along the same routes."""
    plan = plain.plan

    def call(y: Any, handle: Any, weights: Any) -> Any:
        return plain.combine(y, handle, weights)

    def forward(y: Any, handle: Any, weights: Any) -> tuple[Any, tuple[Any, ...]]:
        is_perturbed = [y.perturbed, weights is not None and weights.perturbed]
        _needs_gradients(plan, "combine", is_perturbed)
        routes = jax.tree.map(lambda p: p.value, handle, is_leaf=lambda p: hasattr(p, "perturbed"))
        if weights is None:
            return call(y.value, routes, None), (routes, None, None)
        out = call(y.value, routes, weights.value)
        return out, (routes, y.value, weights.value)

    def backward(residuals: tuple[Any, ...], grad_out: Any) -> tuple[Any, ...]:
        handle, y, weights = residuals
        if isinstance(grad_out, SymbolicZero):
            return None, None, None
        grad_y, grad_weights = plain.combine_backward(grad_out, handle, y, weights)
        return grad_y, None, grad_weights

    differentiable = jax.custom_vjp(call)
    differentiable.defvjp(forward, backward, symbolic_zeros=True)
    function: Callable[..., Any] = differentiable
    return function
