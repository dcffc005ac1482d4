# ===- binding.py - entries called with tensors -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The entries of a loaded exchange, called with tensors of torch.

What is here runs below autograd: operators.py makes operators of it. Calls are on
the hot path, so they check nothing that the runtime checks as well; its errors are
told to all ranks, and get a note here with the names that torch's users know.
"""

from __future__ import annotations

import hashlib
import itertools
import weakref
from typing import Any

import torch

from moe_mlir._runtime import PackedEntry
from moe_mlir.exchange import Exchange
from moe_mlir.runtime import Code, Entry, Group, LoadedArtifact, MoEError
from moe_mlir.runtime.dtypes import torch_dtype
from moe_mlir.torch.memory import Kind, empty_on
from moe_mlir.torch.routes import Layout
from moe_mlir.torch.streams import streams_of

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


class Binding:
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
        self.plan, self.group, self.ranks = plan, group, group.size
        what = f"{plan!r} {group.size} {group.device}".encode()
        self.name = f"{next(_numbers)}-{hashlib.sha256(what).hexdigest()[:12]}"
        self.device = torch.device(group.device)
        self.on_gpu = self.device.type == "cuda"
        self.streams = streams_of(group, self.device)
        self.is_expert_major = plan.is_expert_major
        self.layout = Layout.of(plan, self.ranks, self.device.type)
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
        self._empty = empty_on(self.device)
        self._received = Kind.of(self.rows_shape, self.dtype)
        self._received_scales = Kind.of(self.scales_shape, self.scales_dtype)
        self._received_weights = Kind.of(self.per_row_shape, torch.float32)
        self._rows = Kind.of(self.rows_shape, self.combine_dtype)
        self._weights = Kind.of(self.weights_shape, torch.float32)
        self._tensors: dict[str, dict[str, int]] = {}
        self._calls = {name: self._pack(loaded[name]) for name in plan.entries}
        _bindings[self.name] = self

    def _pack(self, entry: Entry) -> PackedEntry:
        """The entry with all routes in one tensor.

        Its tensors are numbered in the order of the entry's arguments and results, and the
        routes come where the first of them does.
        """
        number: dict[str, int] = {}

        def place(name: str) -> int | tuple[Any, ...]:
            part = self.layout.place(name)
            tensor = number.setdefault(name if part is None else "routes", len(number))
            return tensor if part is None else (tensor, *part)

        signature = self.plan.signature(entry.name, self.ranks)
        arguments = [place(spec.name) for spec in signature.arguments]
        results = [place(spec.name) for spec in signature.results]
        self._tensors[entry.name] = number
        return PackedEntry(entry, arguments, results)

    def forget(self) -> None:
        """Make operators that name this binding fail."""
        _bindings.pop(self.name, None)

    # Calls

    def call(self, entry: str, *tensors: torch.Tensor) -> None:
        """Call an entry with its arguments and results, the routes in one tensor.

        Raises
        ------
        MoEError
            As entries do, with the names of what was passed in a note.
        ValueError
            A tensor is on another device than the group.
        """
        if self.on_gpu:
            self.streams.follow()
        call = self._calls[entry]
        try:
            if not call(*tensors) and not call(*self._moved(entry, tensors)):
                raise RuntimeError(f"{entry}: expected dense tensors on {self.device}, got others")
        except MoEError as error:
            self._explain(error, entry)
            raise

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
    ) -> None:
        """Dispatch to given tensors."""
        expected = self._fixed + x.shape[0] * self._slots
        if routes.shape[0] != expected:
            raise ValueError(
                f"dispatch: expected routes of {expected} elements for {x.shape[0]} tokens, "
                f"got {routes.shape[0]}"
            )
        if scales is None or recv_scales is None:
            self.call("dispatch", x, topk_idx, topk_weights, recv_x, routes, recv_topk_weights)
        else:
            self.call(
                "dispatch", x, topk_idx, topk_weights, scales, recv_x, recv_scales, routes,
                recv_topk_weights,
            )  # fmt: skip

    def dispatch(
        self,
        x: torch.Tensor,
        topk_idx: torch.Tensor,
        topk_weights: torch.Tensor,
        scales: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Dispatch to new tensors: rows, weights, routes[, scales]."""
        empty = self._empty
        recv_x, weights = empty(*self._received), empty(*self._received_weights)
        routes = empty((self._fixed + x.shape[0] * self._slots,), (1,), torch.int32)
        if scales is None:
            self.call("dispatch", x, topk_idx, topk_weights, recv_x, routes, weights)
            return recv_x, weights, routes
        recv_scales = empty(*self._received_scales)
        self.call(
            "dispatch", x, topk_idx, topk_weights, scales, recv_x, recv_scales, routes, weights
        )
        return recv_x, weights, routes, recv_scales

    def empty_received(
        self,
        x: torch.Tensor,
        topk_idx: torch.Tensor,
        topk_weights: torch.Tensor,
        scales: torch.Tensor | None,
    ) -> tuple[torch.Tensor, ...]:
        """What a dispatch of fake tensors returns."""
        made = (
            x.new_empty(self.rows_shape),
            topk_weights.new_empty(self.per_row_shape),
            x.new_empty((self._fixed + x.shape[0] * self._slots,), dtype=torch.int32),
        )
        return made if scales is None else (*made, scales.new_empty(self.scales_shape))

    def dispatch_again(
        self,
        x: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor,
        scales: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Send rows along known routes: x[, scales]."""
        made = [self._empty(*self._received)]
        if scales is not None:
            made.append(self._empty(*self._received_scales))
        self.dispatch_again_into(x, routes, topk_idx, scales, *made)
        return tuple(made)

    def dispatch_again_into(
        self,
        x: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor | None,
        scales: torch.Tensor | None,
        *made: torch.Tensor,
    ) -> None:
        """Send rows along known routes to given tensors."""
        given = [x] if scales is None else [x, scales]
        given.append(routes)
        if self.is_expert_major and topk_idx is not None:
            given.append(topk_idx)
        self.call("dispatch_again", *given, *made)

    def combine_into(
        self,
        y: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor,
        weights: torch.Tensor | None,
        out: torch.Tensor,
    ) -> None:
        """Combine to a given tensor."""
        if weights is not None:
            self.call("combine", y, routes, topk_idx, weights, out)
        elif self.is_expert_major:
            self.call("combine", y, routes, topk_idx, out)
        else:
            self.call("combine", y, routes, out)

    def combine(
        self,
        y: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor,
        weights: torch.Tensor | None,
    ) -> torch.Tensor:
        """Combine to a new tensor."""
        tokens, hidden, slots = topk_idx.shape[0], self._hidden, self._slots
        if self._adds_up:
            out = self._empty((tokens, hidden), (hidden, 1), self.combine_dtype)
        else:
            strides = (slots * hidden, hidden, 1)
            out = self._empty((tokens, slots, hidden), strides, self.combine_dtype)
        self.combine_into(y, routes, topk_idx, weights, out)
        return out

    def out_shape(self, tokens: Any) -> tuple[Any, ...]:
        """Shape of what a combine returns."""
        if self._adds_up:
            return (tokens, self._hidden)
        return (tokens, self._slots, self._hidden)

    # Gradients

    def dispatch_backward_x(
        self, grad: torch.Tensor, routes: torch.Tensor, topk_idx: torch.Tensor
    ) -> torch.Tensor:
        """The gradient of `x` from that of the received rows."""
        grad_x = self._empty_gradient(topk_idx)
        given = [topk_idx] if self.is_expert_major else []
        self.call("dispatch_backward_x", grad, routes, *given, grad_x)
        return grad_x

    def dispatch_backward(
        self,
        grad: torch.Tensor,
        grad_weights: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradients of `x` and of `topk_weights`."""
        grad_x, grad_topk_weights = self._empty_gradient(topk_idx), self._empty_weights(topk_idx)
        given = self._with_weights(grad_weights, topk_idx)
        self.call("dispatch_backward", grad, routes, *given, grad_x, grad_topk_weights)
        return grad_x, grad_topk_weights

    def dispatch_backward_weights(
        self, grad_weights: torch.Tensor, routes: torch.Tensor, topk_idx: torch.Tensor
    ) -> torch.Tensor:
        """The gradient of `topk_weights` alone: no rows are sent."""
        grad_topk_weights = self._empty_weights(topk_idx)
        given = self._with_weights(grad_weights, topk_idx)
        self.call("dispatch_backward_weights", routes, *given, grad_topk_weights)
        return grad_topk_weights

    def combine_backward(
        self,
        grad_out: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor,
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
        self.call("combine_backward", *given, *outputs)
        return tuple(outputs)

    def _empty_gradient(self, topk_idx: torch.Tensor) -> torch.Tensor:
        shape = (topk_idx.shape[0], self._hidden)
        return self._empty(shape, (self._hidden, 1), self.combine_dtype)

    def _empty_weights(self, topk_idx: torch.Tensor) -> torch.Tensor:
        return self._empty(*Kind.of(tuple(topk_idx.shape), torch.float32))

    def _with_weights(
        self, grad_weights: torch.Tensor, topk_idx: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What follows the routes where weights have gradients."""
        if self.is_expert_major:
            return topk_idx, grad_weights
        return grad_weights, topk_idx

    # Errors

    def _moved(self, entry: str, tensors: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        """Dense copies of what is read, where an entry cannot be called with the tensors.

        Raises
        ------
        ValueError
            The reason is the device of one of them.
        """
        for name, tensor in zip(self._tensors[entry], tensors, strict=True):
            if tensor.device.type != self.device.type:
                raise ValueError(
                    f"{entry}: expected {name} on {self.device}, where the group of this "
                    f"ExpertParallel is, got a tensor on {tensor.device}"
                )
        results = {spec.name for spec in self.plan.signature(entry, self.ranks).results}
        if "send_row" in results:
            results.add("routes")
        return [
            tensor if name in results else tensor.contiguous()
            for name, tensor in zip(self._tensors[entry], tensors, strict=True)
        ]

    def _explain(self, error: MoEError, entry: str) -> None:
        """Say in a note how the arguments of an entry are called, in order."""
        if error.cause != Code.INVALID_ARGUMENT:
            return
        types = [f"{a.name}: {a.type}" for a in self.plan.signature(entry, self.ranks).arguments]
        error.add_note(f"the arguments of {entry} are ({', '.join(types)})")


def forget_with(owner: object, binding: Binding) -> None:
    """Forget a binding when its owner is gone."""
    weakref.finalize(owner, binding.forget)
