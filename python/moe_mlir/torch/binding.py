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

from moe_mlir.exchange import Exchange
from moe_mlir.runtime import Code, Group, LoadedArtifact, MoEError
from moe_mlir.runtime.dtypes import torch_dtype
from moe_mlir.torch.routes import Layout, Pieces
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
        results = [spec.name for spec in plan.signature("dispatch", self.ranks).results]
        # The received weights are the only small result that is no route; they have a
        # gradient. They come after the expert ids.
        routes = [name for name in results if name in (*self.layout.parts, "send_row")]
        self._written = Pieces(self.layout, routes)
        self._read = Pieces(self.layout, ["send_row", "recv_src_idx", "n_tokens_from_rank"])
        # What does not have to be looked at again in each call.
        self.is_differentiable = (
            plan.gradients and self.dtype.itemsize > 1 and self.combine_dtype.itemsize > 1
        )
        self._into = {name: loaded[name].into for name in plan.entries}
        _bindings[self.name] = self

    def forget(self) -> None:
        """Make operators that name this binding fail."""
        _bindings.pop(self.name, None)

    # Calls

    def call(self, entry: str, outputs: list[torch.Tensor], given: list[torch.Tensor]) -> None:
        """Call an entry.

        Raises
        ------
        MoEError
            As entries do, with the names of what was passed in a note.
        ValueError
            A tensor is on another device than the group.
        """
        if self.on_gpu:
            given = [x if x.is_contiguous() else x.contiguous() for x in given]
        for tensor in given:
            if tensor.is_cuda is not self.on_gpu:
                self._refuse_device(entry, given)
        if self.on_gpu:
            self.streams.follow()
        try:
            self._into[entry](outputs, *given)
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
        expected = self.layout.fixed + x.shape[0] * self.layout.slots
        if routes.shape[0] != expected:
            raise ValueError(
                f"dispatch: expected routes of {expected} elements for {x.shape[0]} tokens, "
                f"got {routes.shape[0]}"
            )
        recv_topk_idx, *parts = self._written.of(routes)
        if scales is None or recv_scales is None:
            outputs = [recv_x, recv_topk_idx, recv_topk_weights, *parts]
            self.call("dispatch", outputs, [x, topk_idx, topk_weights])
        else:
            outputs = [recv_x, recv_scales, recv_topk_idx, recv_topk_weights, *parts]
            self.call("dispatch", outputs, [x, topk_idx, topk_weights, scales])

    def dispatch(
        self,
        x: torch.Tensor,
        topk_idx: torch.Tensor,
        topk_weights: torch.Tensor,
        scales: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Dispatch to new tensors: rows, weights, routes[, scales]."""
        made = self.empty_received(x, topk_idx, topk_weights, scales)
        recv_x, recv_topk_weights, routes = made[:3]
        recv_scales = made[3] if scales is not None else None
        self.dispatch_into(
            x, topk_idx, topk_weights, scales, recv_x, recv_topk_weights, routes, recv_scales
        )
        return made

    def empty_received(
        self,
        x: torch.Tensor,
        topk_idx: torch.Tensor,
        topk_weights: torch.Tensor,
        scales: torch.Tensor | None,
    ) -> tuple[torch.Tensor, ...]:
        """What a dispatch of these returns, not filled; fake tensors of fake ones."""
        num_routes = self.layout.fixed + x.shape[0] * self.layout.slots
        made = (
            x.new_empty(self.rows_shape),
            topk_weights.new_empty(self.per_row_shape),
            x.new_empty((num_routes,), dtype=torch.int32),
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
        outputs, given = [x.new_empty(self.rows_shape)], [x]
        if scales is not None:
            outputs.append(scales.new_empty(self.scales_shape))
            given.append(scales)
        given.append(self.layout.send_row(routes))
        if self.is_expert_major:
            given.append(topk_idx)
        self.call("dispatch_again", outputs, given)
        return tuple(outputs)

    def combine_into(
        self,
        y: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor,
        weights: torch.Tensor | None,
        out: torch.Tensor,
    ) -> None:
        """Combine to a given tensor."""
        given = [y, *self._read.of(routes)]
        if self.is_expert_major:
            given.append(topk_idx)
        if weights is not None:
            given.append(weights)
        self.call("combine", [out], given)

    def combine(
        self,
        y: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor,
        weights: torch.Tensor | None,
    ) -> torch.Tensor:
        """Combine to a new tensor."""
        out = y.new_empty(self.out_shape(topk_idx.shape[0]))
        self.combine_into(y, routes, topk_idx, weights, out)
        return out

    def out_shape(self, tokens: Any) -> tuple[Any, ...]:
        """Shape of what a combine returns."""
        if self.plan.reduce == "none":
            return (tokens, self.layout.slots, self.plan.hidden)
        return (tokens, self.plan.hidden)

    def dispatch_backward_x(
        self, grad: torch.Tensor, routes: torch.Tensor, topk_idx: torch.Tensor
    ) -> torch.Tensor:
        """The gradient of `x` from that of the received rows."""
        grad_x = grad.new_empty((topk_idx.shape[0], self.plan.hidden))
        given = [grad, *self._read.of(routes)]
        if self.is_expert_major:
            given.append(topk_idx)
        self.call("dispatch_backward_x", [grad_x], given)
        return grad_x

    def dispatch_backward(
        self,
        grad: torch.Tensor,
        grad_weights: torch.Tensor,
        routes: torch.Tensor,
        topk_idx: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradients of `x` and of `topk_weights`."""
        grad_x = grad.new_empty((topk_idx.shape[0], self.plan.hidden))
        grad_topk_weights = grad_weights.new_empty(topk_idx.shape)
        given = [grad, *self._read.of(routes)]
        if self.is_expert_major:
            given += [topk_idx, grad_weights]
        else:
            given += [grad_weights, topk_idx, self.layout.part(routes, "recv_topk_idx")]
        self.call("dispatch_backward", [grad_x, grad_topk_weights], given)
        return grad_x, grad_topk_weights

    def dispatch_backward_weights(
        self, grad_weights: torch.Tensor, routes: torch.Tensor, topk_idx: torch.Tensor
    ) -> torch.Tensor:
        """The gradient of `topk_weights` alone: no rows are sent."""
        grad_topk_weights = grad_weights.new_empty(topk_idx.shape)
        given = self._read.of(routes)
        if self.is_expert_major:
            given += [topk_idx, grad_weights]
        else:
            given += [grad_weights, topk_idx, self.layout.part(routes, "recv_topk_idx")]
        self.call("dispatch_backward_weights", [grad_topk_weights], given)
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
        outputs = [grad_out.new_empty(self.rows_shape)]
        given = [grad_out, self.layout.send_row(routes)]
        if self.is_expert_major:
            given.append(topk_idx)
        if y is not None and weights is not None:
            outputs.append(weights.new_empty(self.weights_shape))
            given += [y, weights]
        self.call("combine_backward", outputs, given)
        return tuple(outputs)

    # Errors

    def _refuse_device(self, entry: str, given: list[torch.Tensor]) -> None:
        for i, tensor in enumerate(given):
            if tensor.is_cuda is not self.on_gpu:
                raise ValueError(
                    f"{entry}: expected {self._argument(entry, i)} on {self.device}, where the "
                    f"group of this ExpertParallel is, got a tensor on {tensor.device}"
                )

    def _argument(self, entry: str, number: int) -> str:
        return self.plan.signature(entry, self.ranks).arguments[number].name

    def _explain(self, error: MoEError, entry: str) -> None:
        """Say in a note how the arguments of an entry are called, in order."""
        if error.cause != Code.INVALID_ARGUMENT:
            return
        types = [f"{a.name}: {a.type}" for a in self.plan.signature(entry, self.ranks).arguments]
        error.add_note(f"the arguments of {entry} are ({', '.join(types)})")


def forget_with(owner: object, binding: Binding) -> None:
    """Forget a binding when its owner is gone."""
    weakref.finalize(owner, binding.forget)
