# ===- buffer.py - DeepEP V1's buffer -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
""":class:`Buffer`, the interface of DeepEP V1: normal and low-latency calls."""

from __future__ import annotations

from typing import Any

import torch

from moe_mlir.compat.deep_ep import checks, normal
from moe_mlir.compat.deep_ep.config import Config
from moe_mlir.compat.deep_ep.engine import Engine
from moe_mlir.compat.deep_ep.event import EventHandle, EventOverlap
from moe_mlir.compat.deep_ep.local import align
from moe_mlir.compat.deep_ep.low_latency_calls import MASKS, LowLatencyCalls
from moe_mlir.compat.deep_ep.missing import lack, missing

_Rows = Any  # a tensor, or a tuple of rows and scales

_INTERNODE = "exchanges in two steps; dispatch and combine reach all ranks"


class Buffer(LowLatencyCalls):
    """DeepEP V1's buffer, for code that was written for it.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup, Group or None
        The ranks. With the backend `nccl` tensors are on GPUs, with `gloo` on CPUs.
    comm : mpi4py communicator, optional
        The ranks, where `group` is None.
    explicitly_destroy : bool, default False
        Whether `destroy` ends the buffer.
    num_nvl_bytes, num_rdma_bytes, low_latency_mode, num_qps_per_rank, \
allow_nvlink_for_low_latency_mode, allow_mnnvl : optional
        Accepted. Memory is what the calls need, and all calls work in both modes.

    Raises
    ------
    NotImplementedError
        `enable_shrink` is set.
    ValueError
        There is neither a group nor a communicator.
    """

    num_sms: int = 20

    def __init__(
        self,
        group: Any,
        num_nvl_bytes: int = 0,
        num_rdma_bytes: int = 0,
        low_latency_mode: bool = False,
        num_qps_per_rank: int = 24,
        allow_nvlink_for_low_latency_mode: bool = True,
        allow_mnnvl: bool = False,
        explicitly_destroy: bool = False,
        enable_shrink: bool = False,
        comm: Any = None,
    ) -> None:
        if enable_shrink:
            raise lack("Buffer", MASKS)
        super().__init__(Engine(group, comm), explicitly_destroy)
        self.group = comm if group is None else group
        self.rank, self.group_size = self._engine.rank, self._engine.ranks
        self.num_nvl_bytes, self.num_rdma_bytes = num_nvl_bytes, num_rdma_bytes
        self.low_latency_mode = low_latency_mode
        self.enable_shrink = enable_shrink

    # What it is

    @staticmethod
    def is_sm90_compiled() -> bool:
        """Whether rows may be 8-bit floats: they may."""
        return True

    @staticmethod
    def set_num_sms(new_num_sms: int) -> None:
        """Choose the blocks of kernels where calls have no config.

        Raises
        ------
        ValueError
            The number is odd.
        """
        if new_num_sms % 2:
            raise ValueError(f"set_num_sms: expected an even number, got {new_num_sms}")
        Buffer.num_sms = new_num_sms

    @staticmethod
    def capture() -> EventOverlap:
        """Mark a point on the current stream."""
        return EventOverlap(EventHandle())

    @staticmethod
    def get_low_latency_rdma_size_hint(
        num_max_dispatch_tokens_per_rank: int, hidden: int, num_ranks: int, num_experts: int
    ) -> int:
        """Bytes of the symmetric rows of a dispatch and a combine, at most."""
        rows = num_max_dispatch_tokens_per_rank * num_experts
        return align(rows * hidden * 2 * 2, 128)

    @staticmethod
    def get_dispatch_config(num_ranks: int) -> Config:
        """A config with the number of SMs of `set_num_sms`."""
        return Config(Buffer.num_sms)

    @staticmethod
    def get_combine_config(num_ranks: int) -> Config:
        """A config with the number of SMs of `set_num_sms`."""
        return Config(Buffer.num_sms)

    # Normal exchanges

    def get_dispatch_layout(
        self,
        topk_idx: torch.Tensor,
        num_experts: int,
        previous_event: Any = None,
        async_finish: bool = False,
        allocate_on_comm_stream: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor, EventOverlap]:
        """Count the tokens of each rank and expert; not collective.

        Returns
        -------
        num_tokens_per_rank : Tensor, (R,), int32
        num_tokens_per_rdma_rank : None
        num_tokens_per_expert : Tensor, (E,), int32
        is_token_in_rank : Tensor, (T, R), bool
        event : EventOverlap
        """
        checks.experts("get_dispatch_layout", num_experts, self.group_size)
        ids = checks.topk_idx("get_dispatch_layout", topk_idx)
        with self._streams.call((previous_event,), async_finish) as call:
            found = normal.layout(ids, num_experts, self.group_size)
            call.share(ids, *found)
        return (*found, EventOverlap(call.event))

    def dispatch(
        self,
        x: _Rows,
        handle: Any = None,
        num_tokens_per_rank: torch.Tensor | None = None,
        num_tokens_per_rdma_rank: torch.Tensor | None = None,
        is_token_in_rank: torch.Tensor | None = None,
        num_tokens_per_expert: torch.Tensor | None = None,
        topk_idx: torch.Tensor | None = None,
        topk_weights: torch.Tensor | None = None,
        expert_alignment: int = 1,
        num_worst_tokens: int = 0,
        config: Config | None = None,
        previous_event: Any = None,
        async_finish: bool = False,
        allocate_on_comm_stream: bool = False,
    ) -> tuple[_Rows, torch.Tensor | None, torch.Tensor | None, Any, Any, EventOverlap]:
        """Send tokens to ranks. Collective.

        Parameters
        ----------
        x : Tensor, (T, H), or tuple of rows and scales
        handle : tuple, optional
            That of an earlier dispatch: rows go the same way.
        num_tokens_per_rank, is_token_in_rank, num_tokens_per_expert : Tensor
            What `get_dispatch_layout` returned, without a handle.
        topk_idx, topk_weights : Tensor, (T, K), int64 and float32, optional
            Both or none.
        expert_alignment : int
            Counts are rounded up to multiples of it.
        num_worst_tokens : int
            Rows of the results, at least as many as can come. Nothing waits for the GPU then.
        config : Config, optional
            Its number of SMs is that of the blocks of the kernel on GPUs.

        Returns
        -------
        recv_x : Tensor, (N, H), or tuple of rows and scales
        recv_topk_idx : Tensor or None, (N, K), int64
            Numbers among the local experts, -1 for others.
        recv_topk_weights : Tensor or None, (N, K), float32
        num_recv_tokens_per_expert_list : list of int, or None with a handle
        handle : tuple, or None with a handle
        event : EventOverlap
        """
        config = self.get_dispatch_config(self.group_size) if config is None else config
        if (topk_idx is None) is not (topk_weights is None):
            raise TypeError("dispatch: expected topk_idx and topk_weights, or neither, got one")
        rows, scales = checks.rows_and_scales(x)
        if handle is not None:
            checks.handle("dispatch", handle, normal.Handle)
            if topk_idx is not None:
                raise ValueError("dispatch: expected no topk_idx with a handle")
            with self._streams.call((previous_event,), async_finish) as call:
                again = normal.dispatch_again(self._engine, rows, scales, handle, config.num_sms)
                call.share(rows, scales, *again, handle.routes)
            return checks.received(*again), None, None, None, None, EventOverlap(call.event)
        given = num_tokens_per_rank, num_tokens_per_expert, is_token_in_rank
        told = normal.told(*given, has_ids=topk_idx is not None, num_worst_tokens=num_worst_tokens)
        with self._streams.call((previous_event,), async_finish) as call:
            found, counts, made = normal.dispatch(
                self._engine, rows, scales, topk_idx, topk_weights, told, expert_alignment,
                num_worst_tokens, config.num_sms,
            )  # fmt: skip
            call.share(rows, scales, topk_idx, topk_weights, *found, *made, made.routes)
        recv_x, recv_scales, recv_topk_idx, recv_topk_weights = found
        received = checks.received(recv_x, recv_scales)
        event = EventOverlap(call.event)
        return received, recv_topk_idx, recv_topk_weights, counts, made, event

    def combine(
        self,
        x: torch.Tensor,
        handle: Any,
        topk_weights: torch.Tensor | None = None,
        bias: Any = None,
        config: Config | None = None,
        previous_event: Any = None,
        async_finish: bool = False,
        allocate_on_comm_stream: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None, EventOverlap]:
        """Bring rows back to their tokens and add them up, without weights. Collective.

        Parameters
        ----------
        x : Tensor, (N, H), bfloat16, float16 or float32
            A row for each received row.
        handle : tuple
            That of their dispatch.
        topk_weights : Tensor, (N, K), float32, optional
            They are added up as well.
        bias : Tensor, (T, H), or tuple of two, optional
            The sum of each token begins with it.
        config : Config, optional
            As for `dispatch`.

        Returns
        -------
        recv_x : Tensor, (T, H), type of `x`
        recv_topk_weights : Tensor or None, (T, K), float32
        event : EventOverlap
        """
        config = self.get_combine_config(self.group_size) if config is None else config
        checks.handle("combine", handle, normal.Handle)
        biases = checks.biases(bias, handle.ids.shape[0], x)
        with self._streams.call((previous_event,), async_finish) as call:
            out = normal.combine(self._engine, x, handle, biases, config.num_sms)
            weights = None
            if topk_weights is not None:
                weights = normal.combine(
                    self._engine, topk_weights, handle, (), config.num_sms, "topk_weights"
                )
            call.share(x, topk_weights, *biases, out, weights, handle.routes)
        return out, weights, EventOverlap(call.event)

    internode_dispatch = missing("internode_dispatch", _INTERNODE)
    internode_combine = missing("internode_combine", _INTERNODE)
    get_local_buffer_tensor = missing("get_local_buffer_tensor", "buffer that tensors are views of")
