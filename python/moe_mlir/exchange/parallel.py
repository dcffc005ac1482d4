# ===- parallel.py - calls of a loaded exchange -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Calls of the entries of a loaded exchange, by what they mean.

This knows nothing of arrays: they go to the runtime as they are, which checks
them, and results are what the runtime returns.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from . import signature
from .received import Handle, Received

if TYPE_CHECKING:
    from .description import Exchange


class ExpertParallel:
    """The entries of an exchange that is loaded on a group of ranks.

    ``group.load(plan)`` makes one. All methods are collective: all ranks call
    them in the same order. Errors are those of the runtime, ``MoEError``.

    Parameters
    ----------
    plan : Exchange
        The description.
    loaded
        The loaded artifact: ``loaded[name]`` is an entry, a callable with a
        method ``into(outs, *arguments)``.

    Attributes
    ----------
    plan : Exchange
    loaded
    """

    def __init__(self, plan: Exchange, loaded: Any) -> None:
        self.plan = plan
        self.loaded = loaded
        self._entries = {name: loaded[name] for name in plan.entries}
        # Names of the results of a dispatch, whatever the number of ranks.
        signed = plan.signature("dispatch", 1)
        self._received = tuple(spec.name for spec in signed.results)

    def __repr__(self) -> str:
        return f"ExpertParallel({self.plan!r})"

    def dispatch(
        self,
        x: Any,
        topk_idx: Any,
        topk_weights: Any,
        scales: Any = None,
        *,
        out: Received | None = None,
        **launch: Any,
    ) -> Received:
        """Sends each token to the ranks that own its experts.

        Parameters
        ----------
        x : array, (T, H)
            Tokens of this rank; T may differ from rank to rank, and be 0.
        topk_idx : array, (T, K), `index_dtype`
            Global expert ids, -1 for none.
        topk_weights : array, (T, K), f32
            Their weights.
        scales : array, (T, S), optional
            Scales of the tokens, when the plan has them.
        out : Received, optional
            Arrays to write to, those of an earlier dispatch; nothing is
            allocated then.
        **launch
            Passed to the entry, such as ``stream=``.

        Returns
        -------
        Received
            `out`, or new arrays, with the handle of this dispatch. That of `out` has
            the ids of an earlier one.

        Raises
        ------
        TypeError
            `scales` are missing, or the plan has none; `out` is no `Received`.
        ValueError
            `out` is what a dispatch of a plan with other results has returned.
        """
        self._check_scales("dispatch", scales)
        arguments = [x, topk_idx, topk_weights]
        if scales is not None:
            arguments.append(scales)
        entry = self._entries["dispatch"]
        if out is not None:
            named = self._named(out)
            entry.into([named[name] for name in self._received], *arguments, **launch)
            if out.handle.topk_idx is topk_idx:
                return out
            handle = dataclasses.replace(out.handle, topk_idx=topk_idx)
            return dataclasses.replace(out, handle=handle)
        named = dict(zip(self._received, entry(*arguments, **launch), strict=True))
        return Received(
            x=named["recv_x"],
            scales=named.get("recv_scales"),
            topk_idx=named["recv_topk_idx"],
            topk_weights=named["recv_topk_weights"],
            tokens_to_rank=named["n_tokens_to_rank"],
            tokens_from_rank=named["n_tokens_from_rank"],
            expert_offsets=named.get("expert_offsets"),
            expert_counts=named.get("expert_counts"),
            list_rows=named.get("list_rows"),
            list_weights=named.get("list_weights"),
            handle=Handle(
                send_row=named["send_row"],
                recv_src_idx=named["recv_src_idx"],
                n_tokens_from_rank=named["n_tokens_from_rank"],
                topk_idx=topk_idx,
                recv_topk_idx=named["recv_topk_idx"],
                peer_blocks=named.get("peer_blocks"),
                peer_rows=named.get("peer_rows"),
            ),
        )

    def dispatch_again(
        self, x: Any, handle: Handle, scales: Any = None, **launch: Any
    ) -> tuple[Any, Any]:
        """Sends rows along the routes of a dispatch; the plan needs `gradients`.

        Parameters
        ----------
        x : array, (T, H)
            As many tokens as that dispatch sent.
        handle : Handle
            That of the dispatch.
        scales : array, (T, S), optional
            Scales of the tokens, when the plan has them.
        **launch
            Passed to the entry, such as ``stream=``.

        Returns
        -------
        recv_x : array, (C, H)
        recv_scales : array or None, (C, S)
        """
        self._check_scales("dispatch_again", scales)
        arguments = [x] if scales is None else [x, scales]
        arguments.append(self._routes(handle)[0])
        arguments += [handle.topk_idx] * self.plan.is_expert_major + self._blocks(handle)
        if scales is None:
            return self._one("dispatch_again", arguments, None, launch), None
        recv_x, recv_scales = self._entry("dispatch_again")(*arguments, **launch)
        return recv_x, recv_scales

    def combine(
        self,
        y: Any,
        handle: Handle,
        weights: Any = None,
        *,
        out: Any = None,
        **launch: Any,
    ) -> Any:
        """Brings rows back to their tokens and adds them up.

        Parameters
        ----------
        y : array, (C, H), `combine_dtype`
            One row per received row.
        handle : Handle
            That of the dispatch the rows belong to.
        weights : array, C, f32, optional
            Factor of each row, when the plan has `combine_weights`.
        out : array, (T, H), optional
            Where to write to; nothing is allocated then.
        **launch
            Passed to the entry, such as ``stream=``.

        Returns
        -------
        array, (T, H) ((T, K, H) or (T, R, H) with ``reduce = "none"``)

        Raises
        ------
        TypeError
            `weights` are missing, or the plan has none.
        """
        self._check_weights("combine", weights)
        arguments = [y, *self._routes(handle)]
        if weights is not None:
            arguments.append(weights)
        return self._one("combine", arguments + self._blocks(handle), out, launch)

    def dispatch_backward(
        self,
        grad_recv_x: Any,
        handle: Handle,
        grad_recv_topk_weights: Any = None,
        **launch: Any,
    ) -> tuple[Any, Any]:
        """Gradients of what was dispatched; the plan needs `gradients`.

        Parameters
        ----------
        grad_recv_x : array, (C, H), `combine_dtype`, or None
            Gradient of the received rows; None when nothing depends on them.
        handle : Handle
            That of the dispatch.
        grad_recv_topk_weights : array, (C, K) or C, f32, optional
            Gradient of the received weights; None when nothing depends on them. On all
            ranks the same one may be None.
        **launch
            Passed to the entry, such as ``stream=``.

        Returns
        -------
        grad_x : array or None, (T, H), `combine_dtype`
        grad_topk_weights : array or None, (T, K), f32

        Raises
        ------
        TypeError
            Both gradients are None, or the plan has none.
        """
        arguments = self._routes(handle)
        if grad_recv_topk_weights is not None:
            arguments.append(grad_recv_topk_weights)
            if not self.plan.is_expert_major:
                arguments += [handle.topk_idx, handle.recv_topk_idx]
        arguments += self._blocks(handle)
        if grad_recv_x is None:
            if grad_recv_topk_weights is None:
                raise TypeError("dispatch_backward: expected a gradient, got None for both")
            return None, self._one("dispatch_backward_weights", arguments, None, launch)
        arguments.insert(0, grad_recv_x)
        if grad_recv_topk_weights is None:
            return self._one("dispatch_backward_x", arguments, None, launch), None
        grad_x, grad_weights = self._entry("dispatch_backward")(*arguments, **launch)
        return grad_x, grad_weights

    def combine_backward(
        self,
        grad_out: Any,
        handle: Handle,
        y: Any = None,
        weights: Any = None,
        **launch: Any,
    ) -> tuple[Any, Any]:
        """Gradients of what was combined; the plan needs `gradients`.

        Parameters
        ----------
        grad_out : array, (T, H), `combine_dtype`
            Gradient of the result.
        handle : Handle
            That of the combine.
        y, weights : array, (C, H) and C, optional
            What was combined, when the plan has `combine_weights`.
        **launch
            Passed to the entry, such as ``stream=``.

        Returns
        -------
        grad_y : array, (C, H), `combine_dtype`
        grad_weights : array or None, C, f32
        """
        self._check_weights("combine_backward", weights)
        arguments = [grad_out, handle.send_row]
        if self.plan.is_expert_major:
            arguments.append(handle.topk_idx)
        blocks = self._blocks(handle) if signature.sends_along_blocks(self.plan) else []
        if weights is None:
            return self._one("combine_backward", arguments + blocks, None, launch), None
        if y is None:
            raise TypeError("combine_backward: expected y with weights, got none")
        arguments += [y, weights, *blocks]
        grad_y, grad_weights = self._entry("combine_backward")(*arguments, **launch)
        return grad_y, grad_weights

    def _named(self, out: Received) -> dict[str, Any]:
        """The arrays of `out` by the names of the results that they are for."""
        if not isinstance(out, Received):
            raise TypeError(
                "dispatch: expected out to be what an earlier dispatch has returned (Received), "
                f"got {type(out).__name__}"
            )
        named = out.by_name
        if set(named) != set(self._received):
            missing = [name for name in self._received if name not in named]
            others = [name for name in named if name not in self._received]
            raise ValueError(
                "dispatch: expected out of a dispatch of this plan, got one "
                + " and ".join(
                    f"{what} {', '.join(names)}"
                    for what, names in (("without", missing), ("with", others))
                    if names
                )
            )
        return named

    def _entry(self, name: str) -> Any:
        if name not in self._entries:
            raise TypeError(f"{name}: expected a plan with gradients = True, got {self.plan!r}")
        return self._entries[name]

    def _routes(self, handle: Handle) -> list[Any]:
        if not isinstance(handle, Handle):
            raise TypeError(f"expected the handle of a dispatch (recv.handle), got {handle!r}")
        routes = [handle.send_row, handle.recv_src_idx, handle.n_tokens_from_rank]
        return routes + [handle.topk_idx] * self.plan.is_expert_major

    def _blocks(self, handle: Handle) -> list[Any]:
        """Where the rows of a dispatch lie, when the plan keeps that."""
        if not self.plan.keep_blocks:
            return []
        if handle.peer_blocks is None:
            raise TypeError(
                "expected the handle of a dispatch whose plan has keep_blocks = True, got one "
                f"without peer_blocks: {handle!r}"
            )
        return [handle.peer_blocks, handle.peer_rows]

    def _check_scales(self, method: str, scales: Any) -> None:
        if (scales is None) == bool(self.plan.scales):
            expected = "scales" if self.plan.scales else "no scales"
            raise TypeError(
                f"{method}: expected {expected}, as the plan says, got "
                f"{'none' if scales is None else 'some'}"
            )

    def _check_weights(self, method: str, weights: Any) -> None:
        if (weights is None) == self.plan.combine_weights:
            expected = "weights" if self.plan.combine_weights else "no weights"
            raise TypeError(
                f"{method}: expected {expected}, as the plan says, got "
                f"{'none' if weights is None else 'some'}"
            )

    def _one(self, name: str, arguments: list[Any], out: Any, launch: dict[str, Any]) -> Any:
        """Calls an entry with one result, which may come as a sequence of one."""
        entry = self._entry(name)
        if out is not None:
            entry.into([out], *arguments, **launch)
            return out
        result = entry(*arguments, **launch)
        return result[0] if isinstance(result, (list, tuple)) else result
