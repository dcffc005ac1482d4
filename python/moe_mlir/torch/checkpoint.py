# ===- checkpoint.py - activation checkpointing that keeps the routes -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What ``torch.utils.checkpoint`` is told, so that it keeps routes."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

from moe_mlir.torch import operators

_OPS = operators.OPS
_DISPATCH = _OPS.dispatch.default
_DISPATCH_SCALED = _OPS.dispatch_scaled.default
_DISPATCH_KEPT = _OPS.dispatch_kept.default
_DISPATCH_KEPT_SCALED = _OPS.dispatch_kept_scaled.default
_KEPT = (_DISPATCH_KEPT, _DISPATCH_KEPT_SCALED)
_COMBINE = _OPS.combine.default
_EXCHANGES = (_DISPATCH, _DISPATCH_SCALED, *_KEPT, _COMBINE)


def reuse_routes() -> tuple[
    contextlib.AbstractContextManager[Any], contextlib.AbstractContextManager[Any]
]:
    """Checkpoint layers without computing their routes again.

    Pass it as `context_fn`::

        checkpoint(layer, x, use_reentrant=False, context_fn=moe_mlir.torch.reuse_routes)

    Of a dispatch the routes and the received weights are kept, which are small;
    its rows are sent again along them. Of a combine the result is kept, which is as
    large as the input of the layer, so it is not run again. Under `torch.compile` the
    received rows are kept as well.

    Returns
    -------
    tuple of context managers
        For the forward pass, and for computing it again.
    """
    if torch.compiler.is_compiling():
        # What is traced is tagged, not run.
        contexts: Any = create_selective_checkpoint_contexts(_policy)
    else:
        kept: list[_Kept] = []
        contexts = _Recording(kept), _Replaying(kept)
    forward, recomputation = contexts
    return forward, recomputation


def _policy(context: Any, op: Any, *arguments: Any, **options: Any) -> CheckpointPolicy:
    if op in _EXCHANGES:
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE


def _alias(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor without its graph, which would keep the activations.

    Writing to one of them is seen in the version of the other, as torch's selective
    checkpointing has it.
    """
    with torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.ADInplaceOrView, False):
        return tensor.detach()


class _Kept:
    """Tensors of one call, and what tells whether they were written to since."""

    def __init__(self, op: Any, tensors: tuple[torch.Tensor, ...]) -> None:
        self.op = op
        self.tensors = tuple(map(_alias, tensors))
        self.versions = tuple(tensor._version for tensor in self.tensors)

    def take(self, op: Any) -> list[torch.Tensor]:
        """The tensors, for a call of the same operator."""
        if op is not self.op:
            raise RuntimeError(
                f"reuse_routes: expected {self.op} as in the forward pass, got {op}: the layer "
                "has to do the same when it is computed again"
            )
        if self.versions != tuple(tensor._version for tensor in self.tensors):
            raise RuntimeError(
                f"reuse_routes: expected the results of {op} unchanged, got some that were "
                "written to in place in the forward pass"
            )
        return [_alias(tensor) for tensor in self.tensors]


class _Recording(TorchDispatchMode):  # type: ignore[misc] # without torch it is Any
    """The forward pass: keeps what will be used again."""

    def __init__(self, kept: list[_Kept]) -> None:
        super().__init__()
        self.kept = kept

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is _COMBINE:
            self.kept.append(_Kept(func, (result,)))
        elif func in _EXCHANGES:
            # The weights, the routes, and of plans that keep blocks the rows of messages.
            peer_rows = result[-1:] if func in _KEPT else ()
            self.kept.append(_Kept(func, (*result[1:3], *peer_rows)))
        return result


class _Replaying(TorchDispatchMode):  # type: ignore[misc]
    """The second pass: sends rows along the routes of the first one."""

    def __init__(self, kept: list[_Kept]) -> None:
        super().__init__()
        self.kept = kept
        self.next = 0

    def __enter__(self) -> Any:
        # A graph that is retained is computed again for each backward pass.
        self.next = 0
        return super().__enter__()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func not in _EXCHANGES:
            return func(*args, **(kwargs or {}))
        if self.next >= len(self.kept):
            raise RuntimeError(
                f"reuse_routes: expected {len(self.kept)} exchanges as in the forward pass, got "
                "more: the layer has to do the same when it is computed again"
            )
        known = self.kept[self.next].take(func)
        self.next += 1
        if func is _COMBINE:
            return known[0]
        x, topk_idx, _, *scales, name = args
        weights, routes, *kept = known
        peer_rows = kept[0] if kept else None
        if not scales:
            rows = _OPS.dispatch_again.default(x, routes, topk_idx, peer_rows, name)
            return rows, weights, routes, *kept
        rows, row_scales = _OPS.dispatch_again_scaled.default(
            x, routes, topk_idx, peer_rows, *scales, name
        )
        return rows, weights, routes, row_scales, *kept
