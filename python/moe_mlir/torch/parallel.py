# ===- parallel.py - the operators by what they mean -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
""":class:`ExpertParallel`: dispatch and combine of a group, for layers of torch."""

from __future__ import annotations

from types import TracebackType
from typing import Any, NoReturn, Self

import torch
from torch.autograd import forward_ad

from moe_mlir.exchange import Exchange
from moe_mlir.runtime import Group
from moe_mlir.torch import operators
from moe_mlir.torch.binding import Binding, forget_with
from moe_mlir.torch.calls import check_no_tangent, is_transformed
from moe_mlir.torch.received import Handle, Received


def _needs_gradient(a: torch.Tensor, b: torch.Tensor | None, c: torch.Tensor | None) -> bool:
    """Whether a call is to be part of the graph.

    Raises
    ------
    RuntimeError
        The gradient is one of torch.func, which has no rule for the operators.
    """
    needed = torch.is_grad_enabled() and (
        a.requires_grad
        or (b is not None and b.requires_grad)
        or (c is not None and c.requires_grad)
    )
    if needed and not torch.compiler.is_compiling() and is_transformed():
        raise RuntimeError(
            "dispatch and combine: expected gradients to be taken by backward() or "
            "torch.autograd.grad(), got functorch transforms (torch.func.grad and the like), "
            "which are not defined for them"
        )
    return needed


def _join(process_group: Any, timeout: float | None) -> Group:
    """The group of the ranks of a process group, by default of all ranks."""
    import torch.distributed as dist

    if process_group is not None and not isinstance(process_group, dist.ProcessGroup):
        raise TypeError(
            "ExpertParallel: expected a Group or a process group of torch.distributed as group, "
            f"got {process_group!r}"
        )
    return Group.from_torch(process_group, timeout=timeout)


class ExpertParallel:
    """Dispatch and combine of a group of ranks, as operators of torch.

    Its methods are collective, and so are the backward passes of what they return: all
    ranks of the group call them in the same order. Layers of the same plan may share
    one. Keep it as long as graphs with its operators.

    Parameters
    ----------
    plan : Exchange
        What is sent. Gradients need ``gradients=True``.
    group : Group or torch.distributed.ProcessGroup, optional
        The ranks. Of a process group, by default that of all ranks, a `Group` is made,
        which :meth:`close` closes.
    artifact : str, os.PathLike, bytes or object, optional
        The compiled plan, where there is no compiler; see `Group.load`.
    timeout : float, optional
        Seconds that ranks of a process group wait for each other. A `Group` has its own.
    **options
        Options of the compiler, such as ``blocks=16``.

    Raises
    ------
    MoEError
        The artifact is for another number of ranks, or ranks load different ones.
    TypeError
        `plan` or `group` is something else, or there is a `timeout` with a `Group`.

    Examples
    --------
    >>> ep = ExpertParallel(plan, group)
    >>> recv = ep.dispatch(x, topk_idx, topk_weights)
    >>> out = ep.combine(experts(recv.x, recv.expert_counts), recv.handle)
    """

    def __init__(
        self, plan: Exchange, group: Any = None, *, artifact: Any = None,
        timeout: float | None = None, **options: Any,
    ) -> None:  # fmt: skip
        if not isinstance(plan, Exchange):
            raise TypeError(f"ExpertParallel: expected an Exchange as plan, got {plan!r}")
        self._owns_group = not isinstance(group, Group)
        if timeout is not None and not self._owns_group:
            raise TypeError("ExpertParallel: expected no timeout with a Group, which has its own")
        self.plan = plan
        self.group = _join(group, timeout) if self._owns_group else group
        if artifact is None:
            loaded = self.group.load(plan, **options).loaded
        else:
            loaded = self.group.load(artifact, **options)
        self._binding = Binding(plan, self.group, loaded)
        self._name = self._binding.name
        self._layout = self._binding.layout
        # Not from the plan's numbers, which torch.compile may take for variables.
        self._has_scales, self._has_weights = plan.scales > 0, plan.combine_weights
        self._keeps_rows, self._keeps_blocks = plan.symmetric_recv, plan.keep_blocks
        forget_with(self, self._binding)

    @property
    def rows(self) -> int:
        """C: rows that this rank has room for."""
        return self._binding.rows_shape[0]

    @property
    def combine_dtype(self) -> torch.dtype:
        """Type of the rows that combine takes."""
        return self._binding.combine_dtype

    @property
    def experts(self) -> range:
        """The experts that this rank owns."""
        return self.plan.experts_of(self.group.rank, self.group.size)

    def dispatch(
        self,
        x: torch.Tensor,
        topk_idx: torch.Tensor,
        topk_weights: torch.Tensor,
        scales: torch.Tensor | None = None,
        *,
        out: Received | None = None,
    ) -> Received:
        """Send each token to the ranks that own its experts.

        Gradients flow from the received rows and weights to `x` and `topk_weights`.

        Parameters
        ----------
        x : Tensor, (T, H)
            Tokens of this rank; T may differ between ranks and calls, and be 0.
        topk_idx : Tensor, (T, K), `index_dtype` of the plan
            Global expert ids, -1 for none.
        topk_weights : Tensor, (T, K), float32
            Their weights.
        scales : Tensor, (T, S), optional
            Scales of rows of 8-bit floats, when the plan has them.
        out : Received, optional
            What to write to, all of it (:meth:`empty_received`); nothing is allocated,
            and there are no gradients. `topk_idx` is copied to ``out.handle.topk_idx``,
            unless it is that tensor.

        Returns
        -------
        Received
            `out` where it is given.

        Raises
        ------
        MoEError
            A tensor of another type or shape, more tokens than `max_tokens`, an id out
            of range; on all ranks.
        RuntimeError
            A tensor requires a gradient that there is none of, or has a tangent.
        TypeError
            `scales` are missing, or the plan has none; `out` is what another dispatch
            has returned.
        ValueError
            A tensor is on another device than the group.
        """
        if (scales is None) is self._has_scales:
            self._refuse("dispatch", "scales", self._has_scales)
        if out is not None:
            return self._dispatch_out(x, topk_idx, topk_weights, scales, out)
        if self._keeps_rows:
            raise TypeError(
                "dispatch: expected out= (empty_received()), since the plan has symmetric_recv: "
                "rows stay where they arrived, and a later call writes over them"
            )
        if scales is None:
            dispatch = operators.dispatch_kept if self._keeps_blocks else operators.dispatch
            made = dispatch(
                _needs_gradient(x, topk_weights, None), x, topk_idx, topk_weights, self._name
            )
        else:
            dispatch = (
                operators.dispatch_kept_scaled
                if self._keeps_blocks
                else operators.dispatch_scaled
            )
            made = dispatch(
                _needs_gradient(x, topk_weights, scales),
                x, topk_idx, topk_weights, scales, self._name,
            )  # fmt: skip
        recv_x, recv_weights, routes = made[:3]
        recv_scales = None if scales is None else made[3]
        peer_rows = made[-1] if self._keeps_blocks else None
        handle = Handle(routes, topk_idx, recv_weights, peer_rows)
        return Received(recv_x, recv_weights, recv_scales, handle, self._layout)

    def _dispatch_out(
        self,
        x: torch.Tensor,
        topk_idx: torch.Tensor,
        topk_weights: torch.Tensor,
        scales: torch.Tensor | None,
        out: Received,
    ) -> Received:
        if not out.owns_ids:
            # They are the caller's of that dispatch: to be neither written to nor kept.
            raise TypeError(
                "dispatch: expected out to be what empty_received() has made, got what another "
                "dispatch has returned"
            )
        self._check_no_gradient("dispatch", x, topk_weights, scales)
        self._check_given("dispatch", out.x, out.topk_weights, out.scales)
        operators.dispatch_out(
            x, topk_idx, topk_weights, scales,
            out.x, out.topk_weights, out.handle.routes, out.scales, out.handle.peer_rows,
            self._name,
        )  # fmt: skip
        if out.handle.topk_idx is not topk_idx:
            out.handle.topk_idx.copy_(topk_idx)
        return out

    def combine(
        self,
        y: torch.Tensor,
        handle: Handle,
        weights: torch.Tensor | None = None,
        *,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Bring rows back to their tokens and add them up.

        Gradients flow from the result to `y` and `weights`.

        Parameters
        ----------
        y : Tensor, (C, H), `combine_dtype` of the plan
            One row per received row.
        handle : Handle
            That of the dispatch the rows belong to.
        weights : Tensor, C, float32, optional
            Factor of each row, when the plan has `combine_weights`.
        out : Tensor, (T, H), optional
            What to write to; nothing is allocated, and there are no gradients.

        Returns
        -------
        Tensor, (T, H) ((T, K, H) or (T, R, H) with ``reduce = "none"``)

        Raises
        ------
        MoEError, RuntimeError, ValueError
            As :meth:`dispatch`.
        TypeError
            `weights` are missing, or the plan has none; `handle` is something else.
        """
        if not isinstance(handle, Handle):
            raise TypeError(
                f"combine: expected the handle of a dispatch (recv.handle), got {type(handle)}"
            )
        if (weights is None) is self._has_weights:
            self._refuse("combine", "weights", self._has_weights)
        routes, topk_idx, recv_topk_weights, peer_rows = handle
        if (peer_rows is None) is self._keeps_blocks:
            self._refuse("combine", "peer_rows in the handle", self._keeps_blocks)
        if out is None:
            result: torch.Tensor = operators.combine(
                _needs_gradient(y, weights, recv_topk_weights),
                y, routes, topk_idx, peer_rows, weights, recv_topk_weights, self._name,
            )  # fmt: skip
            return result
        self._check_no_gradient("combine", y, weights)
        self._check_given("combine", out)
        operators.combine_out(y, routes, topk_idx, peer_rows, weights, out, self._name)
        return out

    # Memory for calls that allocate nothing

    def empty_received(self, tokens: int | None = None) -> Received:
        """Make what a dispatch of so many tokens can write to. Collective.

        Parameters
        ----------
        tokens : int, optional
            T of the calls; the most that the plan allows by default.

        Returns
        -------
        Received
            Its rows are symmetric memory where the plan says so: `Group.free` frees it,
            or the end of the group does.
        """
        b, plan = self._binding, self.plan
        tokens = plan.token_bound if tokens is None else tokens
        made = {"device": b.device}

        def rows(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
            if not plan.symmetric_recv:
                return torch.empty(shape, dtype=dtype, **made)
            symmetric: torch.Tensor = self.group.empty(shape, dtype, like="torch")
            return symmetric

        weights = torch.empty(b.per_row_shape, dtype=torch.float32, **made)
        num_routes = b.layout.fixed + tokens * b.layout.slots
        handle = Handle(
            torch.empty(num_routes, dtype=torch.int32, **made),
            torch.full((tokens, plan.top_k), -1, dtype=b.index_dtype, **made),
            weights,
            *b.empty_kept(weights),
        )
        recv_scales = rows(b.scales_shape, b.scales_dtype) if plan.scales else None
        return Received(
            rows(b.rows_shape, b.dtype), weights, recv_scales, handle, self._layout, owns_ids=True
        )

    def empty_rows(self) -> torch.Tensor:
        """Make `y` for a combine: symmetric memory where the plan says so. Collective.

        With `symmetric_y` combine reads it where it is, without a copy.
        """
        b = self._binding
        if not self.plan.symmetric_y:
            return torch.empty(b.rows_shape, dtype=b.combine_dtype, device=b.device)
        rows: torch.Tensor = self.group.empty(b.rows_shape, b.combine_dtype, like="torch")
        return rows

    # Errors

    def _refuse(self, op: str, what: str, is_expected: bool) -> NoReturn:
        expected, got = (what, "none") if is_expected else (f"no {what}", "some")
        raise TypeError(f"{op}: expected {expected}, as the plan says, got {got}")

    def _check_no_gradient(self, op: str, *inputs: torch.Tensor | None) -> None:
        if forward_ad._current_level >= 0:
            check_no_tangent(op, inputs)
        if torch.is_grad_enabled() and any(
            tensor is not None and tensor.requires_grad for tensor in inputs
        ):
            raise RuntimeError(
                f"{op}: expected no input that requires a gradient with out=, which has none, got "
                "one; leave out= away, or call it under torch.no_grad()"
            )

    def _check_given(self, op: str, *tensors: torch.Tensor | None) -> None:
        if torch.is_grad_enabled() and any(
            tensor is not None and tensor.requires_grad for tensor in tensors
        ):
            raise RuntimeError(
                f"{op}: expected out= to require no gradient, since what is written there has "
                "none, got a tensor that requires one; detach() it"
            )

    # Its end

    def close(self) -> None:
        """Let go of the group, and close it if it was made here. Not collective."""
        self._binding.forget()
        if self._owns_group:
            self.group.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._owns_group and error is not None and not self.group.is_closed:
            self.group.fail(f"{type(error).__name__}: {error}")
        self.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Copies of a model, as averages of weights are, exchange in the same group.
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "expected to pickle no ExpertParallel, which belongs to this process; save the "
            "state_dict() of the model, and make one anew"
        )

    def __repr__(self) -> str:
        return f"ExpertParallel({self.plan!r}, {self.group!r})"
