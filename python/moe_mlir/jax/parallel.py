# ===- parallel.py - ExpertParallel for JAX -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
""":class:`ExpertParallel`: a plan on the devices along an axis of a mesh."""

from __future__ import annotations

import contextlib
import hashlib
import time
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import jax
import numpy as np
from jax.sharding import PartitionSpec

from moe_mlir import _runtime
from moe_mlir.exchange import Exchange, Handle, Received
from moe_mlir.exchange import ExpertParallel as Plain
from moe_mlir.runtime import Code, Group, MoEError

from . import _axes, _calls, _gradients, _groups


class ExpertParallel:
    """The entries of an exchange, as functions inside `jit` and `shard_map`.

    Rank `r` is the device at position `r` of `axis`; other axes of the mesh make
    groups of their own. In a `jax.shard_map` over the mesh, `dispatch` and `combine`
    take and return arrays of one device. Elsewhere they take and return arrays of all
    of them, one device's below the other's, and make the shard_map themselves.

    All processes of the mesh make it, at the same time. It is a context manager that
    closes itself; an exception fails the groups that were made for it, so that other
    ranks hear of it. A group that was given is its owner's to fail.

    Parameters
    ----------
    plan : Exchange
        With ``gradients=True`` for the backward pass. Rows that no token was sent to
        are unspecified, and so are their gradients, unless ``padding="zero"``.
    mesh : jax.sharding.Mesh
        Of CPU devices, or of GPUs.
    axis : str
        The axis with the ranks.
    group : Group or sequence of Group, optional
        The ranks of this process in an existing group, in rank order; it stays open.
        By default a group is made: by threads where all devices of the axis are of
        this process, else over ``jax.distributed``.
    timeout : float, optional
        Seconds that a rank waits for others; 20 by default.
    reserve : int, optional
        See `moe_mlir.Group`.
    stream : str, optional
        On GPUs, the name of XLA's stream to run on. By default XLA's main stream;
        ``"collective"`` keeps exchanges in order with XLA's own collectives, where
        both together would not fit on the GPUs and wait for each other.
    artifact : str, os.PathLike, bytes or object, optional
        The compiled plan, where there is no compiler; see `Group.load`.
    **options
        Options of the compiler, such as ``blocks=16``.

    Attributes
    ----------
    plan : Exchange
    mesh : jax.sharding.Mesh
    axis : str
    ranks : int
        Devices along the axis.

    Raises
    ------
    ValueError
        The mesh has no such axis, its devices are of another kind, the group does not
        fit, or the plan asks for symmetric memory, which XLA does not have.
    TypeError
        `plan` is no Exchange, or `mesh` is no mesh of devices.
    MoEError
        Ranks that do not come, too little memory, and the like.
    """

    def __init__(
        self,
        plan: Exchange,
        mesh: jax.sharding.Mesh,
        axis: str,
        *,
        group: Group | Sequence[Group] | None = None,
        timeout: float | None = None,
        reserve: int | None = None,
        stream: str | None = None,
        artifact: Any = None,
        **options: Any,
    ) -> None:
        _check(plan, mesh, axis)
        number = _groups.next_exchange(mesh, axis)
        self.plan = plan
        self.mesh = mesh
        self.axis = axis
        self.ranks = int(mesh.shape[axis])
        text = f"{plan.mlir(self.ranks)}{sorted(options.items())}"
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._seconds = _groups.DEFAULT_TIMEOUT if timeout is None else timeout
        self._exchange = _runtime.XlaExchange(fingerprint, self._seconds)
        self._groups: list[Group] = []
        self._is_closed = False
        self._owns_groups = group is None
        try:
            self._join(group, {"timeout": timeout, "reserve": reserve}, artifact, options)
            self._exchange.publish(number)
        except BaseException:
            with contextlib.suppress(MoEError):
                self._close_groups()
            raise
        # Programs outlive this object; their calls find that it is gone.
        self._retract = weakref.finalize(self, self._exchange.retract)
        attributes = {"exchange": np.int64(number), "fingerprint": fingerprint}
        is_host = _groups.backend_of(mesh) == "host"
        how = (axis, attributes, is_host, None if is_host else stream)
        entries = {
            name: _calls.Entry(plan, plan.signature(name, self.ranks), *how)
            for name in plan.entries
        }
        plain = Plain(plan, entries)
        # By jit, since a shard_map that is not traced has no rule for them.
        self._dispatch = jax.jit(_gradients.dispatch(plain), inline=True)
        self._combine = jax.jit(_gradients.combine(plain), inline=True)

    def _join(
        self,
        given: Group | Sequence[Group] | None,
        how: dict[str, Any],
        artifact: Any,
        options: dict[str, Any],
    ) -> None:
        """Makes the groups of this process, or takes those given, and loads the plan."""
        backend = _groups.backend_of(self.mesh)
        lines = _groups.lines(self.mesh, self.axis)
        members = [given] if isinstance(given, Group) else list(given or ())
        if given is not None and len(lines) != 1:
            raise ValueError(
                "ExpertParallel: expected no group with a mesh that has several groups in this "
                f"process ({len(lines)} along {self.axis!r})"
            )
        for line in lines:
            _groups.check_order(line, backend)
            if given is None:
                members = _groups.make(line, backend, how)
                self._groups += members
            else:
                _groups.check_given(members, line, backend)
                self._groups = members

            def load(i: int, members: list[Group] = members) -> dict[str, Any]:
                if artifact is not None:
                    loaded = members[i].load(artifact, **options)
                else:
                    loaded = members[i].load(self.plan, **options).loaded
                return {name: loaded[name] for name in self.plan.entries}

            loaded = _groups.together(load, len(members))
            ordinals = [_groups.ordinal_of(line.devices[rank]) for rank in line.local]
            self._exchange.add_group(list(zip(ordinals, loaded, strict=True)), line.is_all_here)

    def __repr__(self) -> str:
        state = ", closed" if self.is_closed else ""
        return f"<ExpertParallel of {self.ranks} devices along {self.axis!r}{state}>"

    # Calls in a program

    def dispatch(self, x: Any, topk_idx: Any, topk_weights: Any, scales: Any = None) -> Received:
        """Send each token to the ranks that own its experts.

        Gradients are those of `x` and `topk_weights`.

        Parameters
        ----------
        x : array, (T, H)
            Tokens of this rank. All ranks have equally many; an id of -1 leaves a
            token out.
        topk_idx : array, (T, K), `index_dtype`
            Global expert ids, -1 for none.
        topk_weights : array, (T, K), f32
            Their weights.
        scales : array, (T, S), optional
            Scales of the tokens, when the plan has them.

        Returns
        -------
        Received

        Raises
        ------
        TypeError, ValueError
            When the program is traced: types, shapes or numbers of tokens that are
            not the plan's; scales that are missing; a derivative where none is.
        MoEError
            When the program is traced: this or its group is closed.

        Notes
        -----
        Errors of ranks are raised when the program runs, as
        ``jax.errors.JaxRuntimeError`` with the runtime's message; `check` then raises
        them as `MoEError`.
        """
        arguments = (x, topk_idx, topk_weights, scales)
        received: Received = self._inside("dispatch", self._dispatch, arguments)
        return received

    def combine(self, y: Any, handle: Handle, weights: Any = None) -> jax.Array:
        """Bring rows back to their tokens and add them up.

        Gradients are those of `y` and `weights`.

        Parameters
        ----------
        y : array, (C, H), `combine_dtype`
            One row per received row.
        handle : Handle
            That of the dispatch the rows belong to.
        weights : array, C, f32, optional
            Factor of each row, when the plan has `combine_weights`.

        Returns
        -------
        array, (T, H) ((T, K, H) or (T, R, H) with ``reduce = "none"``)

        Raises
        ------
        TypeError, ValueError, MoEError
            As for `dispatch`.
        """
        out: jax.Array = self._inside("combine", self._combine, (y, handle, weights))
        return out

    def _inside(self, name: str, function: Callable[..., Any], arguments: Any) -> Any:
        """Calls a function of one device's arrays, in a shard_map where there is none."""
        if self.is_closed:
            raise MoEError(
                Code.INVALID_ARGUMENT, f"{name}: expected an open ExpertParallel, got {self!r}"
            )
        try:
            size = jax.lax.axis_size(self.axis)
        except NameError:
            along = PartitionSpec(self.axis)
            return jax.shard_map(function, mesh=self.mesh, in_specs=along, out_specs=along)(
                *arguments
            )
        if size != self.ranks:
            raise ValueError(
                f"{name}: expected the axis {self.axis!r} to have the {self.ranks} devices of "
                f"the ExpertParallel's mesh, got {size}"
            )
        # Outside of the functions with gradients, so that the gradient of an argument
        # that is the same on several devices is their sum.
        axes = _axes.varying_axes(*jax.tree.leaves(arguments)) | {self.axis}
        if not axes <= set(self.mesh.axis_names):
            raise ValueError(
                f"{name}: expected arrays that vary along axes of the ExpertParallel's mesh "
                f"({', '.join(self.mesh.axis_names)}), got {', '.join(sorted(axes))}"
            )
        return function(*jax.tree.map(lambda a: _axes.vary(a, axes), arguments))

    # Errors

    def check(self) -> None:
        """Raise the error that a rank of this process or its group has met by now.

        Raises
        ------
        MoEError
        """
        for group in self._groups:
            group.check()

    def reset(self) -> None:
        """Make the groups usable after an error. Collective.

        One of those that share given groups does so for all of them.

        Raises
        ------
        MoEError
            A call did not end by its time-out, or a rank is gone.
        """
        self._wait_until_idle("reset")
        _groups.together(lambda i: self._groups[i].reset(), len(self._groups))
        self._exchange.reset_turns()

    # Its end

    @property
    def is_closed(self) -> bool:
        """Whether it, or a group that was given, is closed."""
        return self._is_closed or any(group.is_closed for group in self._groups)

    def close(self) -> None:
        """Leave the groups that were made. Programs that call it end with an error.

        Waits for calls under way, but not for those that XLA has not begun: wait for
        results first (``jax.block_until_ready``).

        Raises
        ------
        MoEError
            A call did not end by its time-out. It can be called again.
        """
        if self._is_closed:
            return
        self._wait_until_idle("close")
        self._retract()
        # Calls that have begun before that.
        self._wait_until_idle("close")
        self._close_groups()
        self._is_closed = True

    def _close_groups(self) -> None:
        """Closes those that were made, all of them even where one cannot be closed."""
        errors = []
        for group in self._groups if self._owns_groups else ():
            try:
                group.close()
            except MoEError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _wait_until_idle(self, name: str) -> None:
        """Waits for calls under way, each of which ends by the time-out."""
        patience = 2 * self._seconds + 1
        end, ended = time.monotonic() + patience, self._exchange.num_ended()
        while not self._exchange.is_idle():
            if self._exchange.num_ended() != ended:
                end, ended = time.monotonic() + patience, self._exchange.num_ended()
            if time.monotonic() > end:
                raise MoEError(
                    Code.INVALID_ARGUMENT,
                    f"{name}: expected no call under way; wait for its results "
                    "(jax.block_until_ready)",
                )
            time.sleep(0.001)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self._owns_groups:
            # Other ranks hear of it, and calls under way end.
            for group in self._groups:
                if not group.is_closed:
                    group.fail(f"{type(error).__name__}: {error}")
        self.close()


def _check(plan: Any, mesh: Any, axis: Any) -> None:
    if not isinstance(plan, Exchange):
        raise TypeError(f"ExpertParallel: expected plan to be an Exchange, got {plan!r}")
    if not isinstance(mesh, jax.sharding.Mesh):
        raise TypeError(f"ExpertParallel: expected mesh to be a jax.sharding.Mesh, got {mesh!r}")
    if axis not in mesh.axis_names:
        raise ValueError(
            f"ExpertParallel: expected axis to be one of {', '.join(mesh.axis_names)}, got {axis!r}"
        )
    for field in ("symmetric_recv", "symmetric_y"):
        if getattr(plan, field):
            raise ValueError(
                f"ExpertParallel: expected a plan without {field}, since XLA allocates the "
                f"arrays, got {plan!r}"
            )
    if plan.keep_blocks:
        raise ValueError(
            "ExpertParallel: expected a plan without keep_blocks, a part of which lies in memory "
            f"of the host, where arrays of XLA on GPUs are not, got {plan!r}"
        )
