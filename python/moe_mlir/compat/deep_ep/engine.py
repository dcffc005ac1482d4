# ===- engine.py - exchanges that are loaded when they are first needed -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Loaded exchanges of a group, and the memory that their rows go through."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from moe_mlir.compat import plans
from moe_mlir.exchange import Exchange
from moe_mlir.runtime import Group, LoadedArtifact, gather
from moe_mlir.torch.binding import Binding, forget_with


class Arrived(NamedTuple):
    """What a dispatch brought, in memory that the next one writes to.

    Attributes
    ----------
    x : Tensor, (C, H)
    scales : Tensor or None, (C, S)
    weights : Tensor, (C, K) or C
        Not in that memory.
    routes : Tensor
        All routes in one; not in that memory.
    """

    x: torch.Tensor
    scales: torch.Tensor | None
    weights: torch.Tensor
    routes: torch.Tensor


class Loaded:
    """An exchange that is loaded, with its symmetric memory.

    Parameters
    ----------
    plan : Exchange
    group : Group
    artifact : LoadedArtifact
        The compiled plan.
    """

    def __init__(self, plan: Exchange, group: Group, artifact: LoadedArtifact) -> None:
        self.plan, self.group = plan, group
        self.binding = Binding(plan, group, artifact)
        self.layout = self.binding.layout
        self._memory: dict[str, torch.Tensor] = {}
        forget_with(self, self.binding)

    def _symmetric(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Memory that is made when a call first needs it, as all ranks do."""
        if name not in self._memory:
            self._memory[name] = self.group.empty(shape, dtype, like="torch")
        return self._memory[name]

    def _received(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        b = self.binding
        rows = self._symmetric("x", b.rows_shape, b.dtype)
        if not self.plan.scales:
            return rows, None
        return rows, self._symmetric("scales", b.scales_shape, b.scales_dtype)

    def dispatch(
        self,
        x: torch.Tensor,
        topk_idx: torch.Tensor,
        topk_weights: torch.Tensor,
        scales: torch.Tensor | None = None,
    ) -> Arrived:
        """Send tokens to the ranks of their experts."""
        b = self.binding
        rows, recv_scales = self._received()
        weights = torch.empty(b.per_row_shape, dtype=torch.float32, device=b.device)
        size = self.layout.fixed + x.shape[0] * self.layout.slots
        routes = torch.empty(size, dtype=torch.int32, device=b.device)
        b.dispatch_into(x, topk_idx, topk_weights, scales, rows, weights, routes, recv_scales)
        return Arrived(rows, recv_scales, weights, routes)

    def dispatch_again(
        self, x: torch.Tensor, routes: torch.Tensor, scales: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Send other rows along the routes of a dispatch, of the layout by rank."""
        rows, recv_scales = self._received()
        made = [rows] if recv_scales is None else [rows, recv_scales]
        self.binding.dispatch_again_into(x, routes, None, scales, *made)
        return rows, recv_scales

    @property
    def rows(self) -> torch.Tensor:
        """Where the rows of the next combine go, (C, H). Collective when first asked for."""
        b = self.binding
        return self._symmetric("y", b.rows_shape, b.combine_dtype)

    def combine(
        self, routes: torch.Tensor, topk_idx: torch.Tensor, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Bring the rows back to their tokens."""
        b = self.binding
        if out is None:
            shape = b.out_shape(topk_idx.shape[0])
            out = torch.empty(shape, dtype=b.combine_dtype, device=b.device)
        b.combine_into(self.rows, routes, topk_idx, None, out)
        return out


class Engine:
    """The exchanges of a buffer: each is compiled and loaded when a call first needs it.

    All ranks make the same calls with the same shapes, types and numbers of SMs, so they load
    the same exchanges in the same order.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup, Group or None
        The ranks.
    comm : mpi4py communicator, optional
        The ranks, where there is no `group`.
    timeout : float
        Seconds that a rank waits for others.
    """

    def __init__(self, group: Any, comm: Any = None, timeout: float = 100.0) -> None:
        self._owns_group = not isinstance(group, Group)
        self._from_rank_0: Callable[[bytes], bytes] | None = None
        if isinstance(group, Group):
            self.group = group
        elif group is not None:
            self.group = Group.from_torch(group, timeout=timeout)
            self._from_rank_0 = functools.partial(gather.from_rank_0, group, timeout=timeout)
        elif comm is not None:
            backend = "cuda" if torch.cuda.is_available() else "host"
            self.group = Group.from_mpi(comm, timeout=timeout, backend=backend)
        else:
            raise ValueError("Buffer: expected a group or comm, got neither")
        self.rank, self.ranks = self.group.rank, self.group.size
        self.device = torch.device(self.group.device)
        self.artifacts: dict[Exchange, Any] = {}
        self._loaded: dict[tuple[Exchange, int], Loaded] = {}

    def use(self, artifacts: Mapping[Exchange, Any]) -> None:
        """Load these artifacts for their plans, where there is no compiler."""
        self.artifacts.update(artifacts)

    def find(self, plan: Exchange, blocks: int = 0) -> Loaded:
        """The loaded exchange of a plan. Collective when it is new.

        Parameters
        ----------
        plan : Exchange
        blocks : int, default 0
            Blocks of its kernels; the planner chooses where it is 0.
        """
        artifact = self.artifacts.get(plan)
        if self.device.type != "cuda" or artifact is not None:
            blocks = 0
        elif blocks:
            properties = torch.cuda.get_device_properties(self.device)
            blocks = min(blocks, properties.multi_processor_count)
        key = plan, blocks
        if key not in self._loaded:
            options: dict[str, Any] = {"blocks": blocks} if blocks else {}
            self._loaded[key] = Loaded(plan, self.group, self._load(plan, artifact, options))
        return self._loaded[key]

    def _load(self, plan: Exchange, artifact: Any, options: dict[str, Any]) -> LoadedArtifact:
        """Load a plan. Of processes that can tell each other, one compiles it."""
        if artifact is None and self._from_rank_0 is None:
            loaded: LoadedArtifact = self.group.load(plan, **options).loaded
            return loaded
        if artifact is None and self._from_rank_0 is not None:
            # The first byte says which it is, the artifact or an error.
            made = b""
            if self.rank == 0:
                try:
                    made = b"\1" + plan.build(self.ranks, self.group.target, **options).data
                except Exception as raised:
                    made = b"\0" + f"{type(raised).__name__}: {raised}".encode()
            made = self._from_rank_0(made)
            if made[0] == 0:
                raise RuntimeError(f"rank 0 could not compile {plan!r}: {made[1:].decode()}")
            artifact = made[1:]
        loaded = self.group.load(artifact)
        return loaded

    def no_weights(self, topk_idx: torch.Tensor) -> torch.Tensor:
        """Weights for dispatches that have none."""
        return torch.zeros(topk_idx.shape, dtype=torch.float32, device=self.device)

    def all_to_all(self, rows: torch.Tensor) -> torch.Tensor:
        """Send row `r` of int32 to rank `r`; the rows that came, in rank order."""
        loaded = self.find(plans.of_counts(self.ranks, rows.shape[1]))
        to = torch.arange(self.ranks, dtype=torch.int64, device=self.device).unsqueeze(1)
        arrived = loaded.dispatch(rows, to, self.no_weights(to))
        return arrived.x[: self.ranks].clone()

    def barrier(self) -> None:
        """Let no later work of the stream begin before all ranks have come here."""
        self.all_to_all(torch.zeros((self.ranks, 1), dtype=torch.int32, device=self.device))

    def check(self) -> None:
        """Raise the error that a call has met. What was read of its results is void then."""
        self.group.check()

    def close(self) -> None:
        """Leave the group, if it was made here."""
        self._loaded.clear()
        if self._owns_group:
            self.group.close()
