# ===- binding.py - entries called with tensors -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The entries of a loaded exchange, called with tensors of torch.

What is here runs below autograd: operators.py makes operators of it. `peer_rows` is what
a plan with `keep_blocks` keeps in memory of the host, and None with other plans.
"""

from __future__ import annotations

import hashlib
import itertools
import weakref
from typing import Any

import torch

from moe_mlir.exchange import Exchange
from moe_mlir.exchange.signature import sends_along_blocks
from moe_mlir.runtime import Group, LoadedArtifact
from moe_mlir.runtime.dtypes import torch_dtype
from moe_mlir.torch.entries import Entries
from moe_mlir.torch.memory import Kind, empty_on

_numbers = itertools.count()
_bindings: dict[str, Binding] = {}


def find(name: str) -> Binding:
    """The binding that operators of a graph name.

    Raises
    ------
    RuntimeError
        Its ExpertParallel is gone.
    """
    try:
        return _bindings[name]
    except KeyError:
        raise RuntimeError(
            f"expected the ExpertParallel {name!r} that this graph was made with, but it has "
            "been deleted or closed; keep it as long as its results and compiled graphs"
        ) from None


def _kept(peer_rows: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
    """What is passed of it."""
    return () if peer_rows is None else (peer_rows,)


class Binding(Entries):
    """A plan, the entries of its artifact on a group, and what calls of them need.

    Parameters
    ----------
    plan : Exchange
    group : Group
    loaded : LoadedArtifact

    Attributes
    ----------
    name : str
        What operators have in the place of this object, as the collectives of torch
        have names of process groups. It depends on the plan, so that what a compiler
        has cached for another plan is not taken for this one's.
    """

    def __init__(self, plan: Exchange, group: Group, loaded: LoadedArtifact) -> None:
        super().__init__(plan, group, loaded)
        what = f"{plan!r} {group.size} {group.device}".encode()
        self.name = f"{next(_numbers)}-{hashlib.sha256(what).hexdigest()[:12]}"
        self.is_expert_major = plan.is_expert_major
        self.dtype = torch_dtype(plan.dtype)
        self.combine_dtype = torch_dtype(plan.combine_dtype)
        self.index_dtype = torch_dtype(plan.index_dtype)
        self.scales_dtype = torch_dtype(plan.scales_dtype)
        rows = plan.rows(self.ranks)
        self.rows_shape = (rows, plan.hidden)
        self.scales_shape = (rows, plan.scales)
        self.per_row_shape = (rows,) if plan.is_expert_major else (rows, plan.top_k)
        self.weights_shape = (rows,)
        # What does not have to be looked at again in each call.
        self.is_differentiable = (
            plan.gradients and self.dtype.itemsize > 1 and self.combine_dtype.itemsize > 1
        )
        self._fixed, self._slots, self._hidden = self.layout.fixed, self.layout.slots, plan.hidden
        self._adds_up = plan.reduce != "none"
        self.keeps_blocks = plan.keep_blocks
        self._sends_along_blocks = sends_along_blocks(plan)
        self._empty = empty_on(self.device)
        self._empty_on_host = empty_on(torch.device("cpu"))
        self._received = Kind.of(self.rows_shape, self.dtype)
        self._received_scales = Kind.of(self.scales_shape, self.scales_dtype)
        self._received_weights = Kind.of(self.per_row_shape, torch.float32)
        self._rows = Kind.of(self.rows_shape, self.combine_dtype)
        self._weights = Kind.of(self.weights_shape, torch.float32)
        self._peer_rows = Kind.of((4, self.ranks), torch.int32)
        _bindings[self.name] = self

    def forget(self) -> None:
        """Make operators that name this binding fail."""
        _bindings.pop(self.name, None)

    # Calls

    def dispatch_into(
        self,
        x: torch.Tensor,
        topk_idx: torch.Tensor,
        topk_weights: torch.Tensor,
        scales: torch.Tensor | None,
        recv_x: torch.Tensor,
        recv_topk_weights: torch.Tensor,
        routes: torch.Tensor,
        recv_scales: torch.Tensor | None,
        peer_rows: torch.Tensor | None = None,
    ) -> None:
        """Dispatch to given tensors."""
        expected = self._fixed + x.shape[0] * self._slots
        if routes.shape[0] != expected:
            raise ValueError(
                f"dispatch: expected routes of {expected} elements for {x.shape[0]} tokens, "
                f"got {routes.shape[0]}"
            )
        given = (x, topk_idx, topk_weights)
        made = (routes, recv_topk_weights, *_kept(peer_rows))
        if scales is None or recv_scales is None:
            self.call("dispatch", *given, recv_x, *made)
        else:
            self.call("dispatch", *given, scales, recv_x, recv_scales, *made)

    def dispatch(
        self,
        x: torch.Tensor,
        topk_idx: torch.Tensor,
        topk_weights: torch.Tensor,
        scales: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Dispatch to new tensors: rows, weights, routes[, scales][, peer_rows]."""
        empty = self._empty
        recv_x, weights = empty(*self._received), empty(*self._received_weights)
        routes = empty((self._fixed + x.shape[0] * self._slots,), (1,), torch.int32)
        kept = (self._empty_on_host(*self._peer_rows),) if self.keeps_blocks else ()
        if scales is None:
            self.call("dispatch", x, topk_idx, topk_weights, recv_x, routes, weights, *kept)
            return recv_x, weights, routes, *kept
        recv_scales = empty(*self._received_scales)
        self.call(
            "dispatch", x, topk_idx, topk_weights, scales, recv_x, recv_scales, routes, weights,
            *kept,
        )  # fmt: skip
        return recv_x, weights, routes, recv_scales, *kept

    def empty_received(
        self,
        x: torch.Tensor,
        topk_idx: torch.Tensor,
        topk_weights: torch.Tensor,
        scales: torch.Tensor | None,
    ) -> tuple[torch.Tensor, ...]:
        """What a dispatch of fake tensors returns."""
        made: tuple[torch.Tensor, ...] = (
            x.new_empty(self.rows_shape),
            topk_weights.new_empty(self.per_row_shape),
            x.new_empty((self._fixed + x.shape[0] * self._slots,), dtype=torch.int32),
        )
        if scales is not None:
            made = (*made, scales.new_empty(self.scales_shape))
        return (*made, *self.empty_kept(x))

    def empty_kept(self, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What a dispatch keeps in memory of the host, like a fake or another tensor."""
        if not self.keeps_blocks:
            return ()
        return (like.new_empty(self._peer_rows.shape, dtype=torch.int32, device="cpu"),)

    def dispatch_again(
        self,
        x: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor,
        scales: torch.Tensor | None = None,
        peer_rows: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Send rows along known routes: x[, scales]."""
        made = [self._empty(*self._received)]
        if scales is not None:
            made.append(self._empty(*self._received_scales))
        self.dispatch_again_into(x, routes, topk_idx, scales, *made, peer_rows=peer_rows)
        return tuple(made)

    def dispatch_again_into(
        self,
        x: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor | None,
        scales: torch.Tensor | None,
        *made: torch.Tensor,
        peer_rows: torch.Tensor | None = None,
    ) -> None:
        """Send rows along known routes to given tensors."""
        given = [x] if scales is None else [x, scales]
        given.append(routes)
        if self.is_expert_major and topk_idx is not None:
            given.append(topk_idx)
        self.call("dispatch_again", *given, *_kept(peer_rows), *made)

    def combine_into(
        self,
        y: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor,
        weights: torch.Tensor | None,
        out: torch.Tensor,
        peer_rows: torch.Tensor | None = None,
    ) -> None:
        """Combine to a given tensor."""
        given = (y, routes, topk_idx) if self.is_expert_major else (y, routes)
        if weights is not None:
            given = (*given, weights)
        if peer_rows is not None:
            given = (*given, peer_rows)
        self.call("combine", *given, out)

    def combine(
        self,
        y: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor,
        weights: torch.Tensor | None,
        peer_rows: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Combine to a new tensor."""
        tokens, hidden, slots = topk_idx.shape[0], self._hidden, self._slots
        if self._adds_up:
            out = self._empty((tokens, hidden), (hidden, 1), self.combine_dtype)
        else:
            strides = (slots * hidden, hidden, 1)
            out = self._empty((tokens, slots, hidden), strides, self.combine_dtype)
        self.combine_into(y, routes, topk_idx, weights, out, peer_rows)
        return out

    def out_shape(self, tokens: Any) -> tuple[Any, ...]:
        """Shape of what a combine returns."""
        if self._adds_up:
            return (tokens, self._hidden)
        return (tokens, self._slots, self._hidden)

    # Gradients

    def dispatch_backward_x(
        self,
        grad: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor,
        peer_rows: torch.Tensor | None,
    ) -> torch.Tensor:
        """The gradient of `x` from that of the received rows."""
        grad_x = self._empty_gradient(topk_idx)
        given = [topk_idx] if self.is_expert_major else []
        self.call("dispatch_backward_x", grad, routes, *given, *_kept(peer_rows), grad_x)
        return grad_x

    def dispatch_backward(
        self,
        grad: torch.Tensor,
        grad_weights: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor,
        peer_rows: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradients of `x` and of `topk_weights`."""
        grad_x, grad_topk_weights = self._empty_gradient(topk_idx), self._empty_weights(topk_idx)
        given = self._with_weights(grad_weights, topk_idx, peer_rows)
        self.call("dispatch_backward", grad, routes, *given, grad_x, grad_topk_weights)
        return grad_x, grad_topk_weights

    def dispatch_backward_weights(
        self,
        grad_weights: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor,
        peer_rows: torch.Tensor | None,
    ) -> torch.Tensor:
        """The gradient of `topk_weights` alone: no rows are sent."""
        grad_topk_weights = self._empty_weights(topk_idx)
        given = self._with_weights(grad_weights, topk_idx, peer_rows)
        self.call("dispatch_backward_weights", routes, *given, grad_topk_weights)
        return grad_topk_weights

    def combine_backward(
        self,
        grad_out: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor,
        peer_rows: torch.Tensor | None,
        y: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """The gradients of `y` and, where there are any, of the weights."""
        given = [grad_out, routes]
        if self.is_expert_major:
            given.append(topk_idx)
        outputs = [self._empty(*self._rows)]
        if y is not None and weights is not None:
            given += [y, weights]
            outputs.append(self._empty(*self._weights))
        kept = _kept(peer_rows) if self._sends_along_blocks else ()
        self.call("combine_backward", *given, *kept, *outputs)
        return tuple(outputs)

    def _empty_gradient(self, topk_idx: torch.Tensor) -> torch.Tensor:
        shape = (topk_idx.shape[0], self._hidden)
        return self._empty(shape, (self._hidden, 1), self.combine_dtype)

    def _empty_weights(self, topk_idx: torch.Tensor) -> torch.Tensor:
        return self._empty(*Kind.of(tuple(topk_idx.shape), torch.float32))

    def _with_weights(
        self,
        grad_weights: torch.Tensor,
        topk_idx: torch.Tensor,
        peer_rows: torch.Tensor | None,
    ) -> tuple[torch.Tensor, ...]:
        """What follows the routes where weights have gradients."""
        if self.is_expert_major:
            return topk_idx, grad_weights, *_kept(peer_rows)
        return grad_weights, topk_idx, *_kept(peer_rows)


def forget_with(owner: object, binding: Binding) -> None:
    """Forget a binding when its owner is gone."""
    weakref.finalize(owner, binding.forget)
