# ===- elastic.py - DeepEP V2's buffer -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
""":class:`ElasticBuffer`, the interface of DeepEP V2."""

from __future__ import annotations

from typing import Any

import torch

from moe_mlir.compat.deep_ep import checks, tokens
from moe_mlir.compat.deep_ep.base import BaseBuffer
from moe_mlir.compat.deep_ep.engine import Engine
from moe_mlir.compat.deep_ep.event import EventHandle, EventOverlap
from moe_mlir.compat.deep_ep.handle import EPHandle
from moe_mlir.compat.deep_ep.local import align
from moe_mlir.compat.deep_ep.missing import lack, missing

_Rows = Any  # a tensor, or a tuple of rows and scales

_ENGRAM = "Engram storage"
_PIPELINE = "sends and receives between stages of a pipeline"
_GATHER = "all-gather and reduce-scatter of tensors"
_ALIGNMENT = 2 << 20  # of sizes of buffers
_SMS = 16  # that come near the bandwidth of the links of an H200
_SMS_ALONE = 64  # where nothing else is to run beside them


class ElasticBuffer(BaseBuffer):
    """DeepEP V2's buffer, for code that was written for it.

    There is one row per token and rank on the way, in both directions. Rows of `do_expand` are
    made of them, and added up to them, on the rank of the experts.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup or Group
        The ranks. With the backend `nccl` tensors are on GPUs, with `gloo` on CPUs.
    num_max_tokens_per_rank : int
        Most tokens of a rank, for calls that do not say it.
    allow_multiple_reduction : bool, default True
        Whether `combine` rounds the sum of a token's expanded rows on the rank of its experts.
        Otherwise it sends it in f32, and rounds once.
    prefer_overlap_with_compute : bool, default True
        Whether `get_theoretical_num_sms` leaves SMs to others.
    num_gpu_timeout_secs, num_cpu_timeout_secs : int
        Seconds that a rank waits for others: the smaller of the two.
    explicitly_destroy : bool, default False
        Whether `destroy` ends the buffer.
    num_bytes, hidden, num_topk, use_fp8_dispatch, deterministic, allow_hybrid_mode, sl_idx, \
num_allocated_qps : optional
        Accepted. Memory is what the calls need, results are always deterministic, and there
        is no second kind of link.

    Raises
    ------
    NotImplementedError
        `num_cpu_bytes` is not 0.
    """

    def __init__(
        self,
        group: Any,
        num_bytes: int | None = None,
        num_cpu_bytes: int = 0,
        num_max_tokens_per_rank: int = 0,
        hidden: int = 0,
        num_topk: int = 0,
        use_fp8_dispatch: bool = False,
        deterministic: bool = False,
        allow_hybrid_mode: bool = True,
        allow_multiple_reduction: bool = True,
        prefer_overlap_with_compute: bool = True,
        sl_idx: int = 3,
        num_allocated_qps: int = 0,
        num_cpu_timeout_secs: int = 300,
        num_gpu_timeout_secs: int = 100,
        explicitly_destroy: bool = False,
    ) -> None:
        if num_cpu_bytes:
            raise lack("ElasticBuffer", "buffers in the memory of CPUs (num_cpu_bytes)")
        timeout = float(min(num_cpu_timeout_secs, num_gpu_timeout_secs))
        super().__init__(Engine(group, timeout=timeout), explicitly_destroy)
        self.group = group
        self.rank_idx, self.num_ranks = self._engine.rank, self._engine.ranks
        self.allow_hybrid_mode = allow_hybrid_mode
        self.allow_multiple_reduction = allow_multiple_reduction
        self.prefer_overlap_with_compute = prefer_overlap_with_compute
        self.deterministic = deterministic
        self.num_max_tokens_per_rank = num_max_tokens_per_rank
        if num_bytes is None:
            num_bytes = _size_hint(
                self.num_ranks, num_max_tokens_per_rank, hidden, use_fp8_dispatch
            )
        self.num_bytes = num_bytes
        self.num_allocated_qps = max(num_allocated_qps, 1)
        self.num_scaleout_ranks, self.num_scaleup_ranks = self.get_logical_domain_size()
        self.scaleout_rank_idx, self.scaleup_rank_idx = 0, self.rank_idx
        self.num_rdma_ranks, self.num_nvlink_ranks = self.get_physical_domain_size()

    # What it is

    @staticmethod
    def get_buffer_size_hint(
        group: Any,
        num_max_tokens_per_rank: int,
        hidden: int,
        num_topk: int = 0,
        use_fp8_dispatch: bool = False,
        allow_hybrid_mode: bool = True,
        allow_multiple_reduction: bool = True,
    ) -> int:
        """Bytes of the rows of a dispatch and a combine, rounded up to 2 MiB."""
        ranks = group.size() if callable(group.size) else group.size
        return _size_hint(ranks, num_max_tokens_per_rank, hidden, use_fp8_dispatch)

    def get_physical_domain_size(self) -> tuple[int, int]:
        """1 and the number of ranks."""
        return 1, self.num_ranks

    def get_logical_domain_size(self) -> tuple[int, int]:
        """1 and the number of ranks: rows go from rank to rank."""
        return 1, self.num_ranks

    def get_theoretical_num_sms(
        self,
        num_experts: int,
        num_topk: int,
        num_scaleout_topk: int = 0,
        rdma_gbs: float = 0,
        nvlink_gbs: float = 0,
        sm_read_gbs: float = 200,
        sm_write_gbs: float = 50,
    ) -> int:
        """A number of SMs that suffices: 16, or 64 where nothing else runs beside them."""
        sms = _SMS if self.prefer_overlap_with_compute else _SMS_ALONE
        if self._engine.device.type != "cuda":
            return sms
        properties = torch.cuda.get_device_properties(self._engine.device)
        return min(sms, int(properties.multi_processor_count))

    def get_theoretical_num_qps(self, num_sms: int) -> int:
        """1: there are no queue pairs."""
        return 1

    @staticmethod
    def capture() -> EventHandle:
        """Mark a point on the current stream."""
        return EventHandle()

    def barrier(
        self,
        use_comm_stream: bool = True,
        with_cpu_sync: bool = False,
        sequential: bool = True,
    ) -> None:
        """Let no later work of the stream begin before all ranks have come here."""
        if with_cpu_sync:
            self._streams.synchronize()
        with self._streams.call((), use_comm_stream):
            self._engine.barrier()
        if with_cpu_sync:
            self._streams.synchronize()
            self._engine.check()

    # Exchanges

    def dispatch(
        self,
        x: _Rows,
        topk_idx: torch.Tensor | None = None,
        topk_weights: torch.Tensor | None = None,
        cumulative_local_expert_recv_stats: torch.Tensor | None = None,
        num_experts: int | None = None,
        num_max_tokens_per_rank: int | None = None,
        expert_alignment: int | None = None,
        num_sms: int = 0,
        num_qps: int = 0,
        previous_event: Any = None,
        previous_event_before_epilogue: Any = None,
        async_with_compute_stream: bool = False,
        allocate_on_comm_stream: bool = False,
        handle: EPHandle | None = None,
        do_handle_copy: bool = True,
        do_cpu_sync: bool | None = None,
        do_expand: bool = False,
        do_zero_padding: bool = False,
        use_tma_aligned_col_major_sf: bool = False,
    ) -> tuple[_Rows, torch.Tensor | None, torch.Tensor | None, EPHandle, EventOverlap]:
        """Send tokens to the ranks of their experts. Collective.

        Parameters
        ----------
        x : Tensor, (T, H), or tuple of rows and scales
            Scales are (T, S), float32 or int32.
        topk_idx : Tensor, (T, K), int64
            Expert ids, -1 for none; None with a handle.
        topk_weights : Tensor, (T, K), float32, optional
        cumulative_local_expert_recv_stats : Tensor, (EL,), int32, optional
            The rows of each local expert are added to it; not with a handle.
        num_experts, num_max_tokens_per_rank, expert_alignment : int, optional
            The same on all ranks, and those of the handle where there is one.
        num_sms : int
            Blocks of the kernel on GPUs; the planner chooses where it is 0.
        handle : EPHandle, optional
            An earlier dispatch: rows go the same way, and nothing is counted.
        do_cpu_sync : bool, optional
            Whether results have as many rows as came. Otherwise they have as many as there is
            room for, and nothing waits for the GPU. By default True without a handle.
        do_expand : bool
            Whether there is a row per token and expert, grouped by expert.
        do_zero_padding : bool
            Whether rows between groups are zero.
        use_tma_aligned_col_major_sf : bool
            Whether columns of scales are contiguous.
        previous_event, previous_event_before_epilogue, async_with_compute_stream, \
allocate_on_comm_stream, do_handle_copy, num_qps
            As in DeepEP; both events are waited for at the beginning.

        Returns
        -------
        recv_x : Tensor, or tuple of rows and scales
        recv_topk_idx : Tensor or None, (N, K), int64
            Numbers among the local experts, -1 for others; None with `do_expand`.
        recv_topk_weights : Tensor or None, (N, K), expanded (M,)
        handle : EPHandle
        event : EventOverlap
        """
        checks.padding(do_expand, do_zero_padding)
        rows, scales = checks.rows_and_scales(x)
        events = previous_event, previous_event_before_epilogue
        with self._streams.call(events, async_with_compute_stream) as call:
            if handle is None:
                if num_max_tokens_per_rank is None:
                    num_max_tokens_per_rank = self.num_max_tokens_per_rank
                handle, arrived = tokens.dispatch(
                    self._engine, rows, scales, topk_idx, topk_weights,
                    num_experts=num_experts, max_tokens=num_max_tokens_per_rank,
                    alignment=expert_alignment or 1, num_sms=num_sms, copies=do_handle_copy,
                    syncs=do_cpu_sync is None or bool(do_cpu_sync), expands=bool(do_expand),
                )  # fmt: skip
                if cumulative_local_expert_recv_stats is not None:
                    counts = handle.num_unaligned_recv_tokens_per_expert
                    cumulative_local_expert_recv_stats.add_(counts)
            else:
                checks.same_as_handle(
                    handle, topk_idx, do_cpu_sync, do_expand, num_experts=num_experts,
                    num_max_tokens_per_rank=num_max_tokens_per_rank,
                    expert_alignment=expert_alignment,
                )  # fmt: skip
                arrived = tokens.dispatch_again(
                    self._engine, rows, scales, topk_weights, handle, num_sms
                )
            result = tokens.results(handle, arrived, do_zero_padding, use_tma_aligned_col_major_sf)
            call.share(
                rows, scales, topk_idx, topk_weights, cumulative_local_expert_recv_stats, *result,
                *handle.tensors,
            )  # fmt: skip
        recv_x, recv_scales, recv_topk_idx, recv_topk_weights = result
        received = checks.received(recv_x, recv_scales)
        return received, recv_topk_idx, recv_topk_weights, handle, EventOverlap(call.event)

    def combine(
        self,
        x: torch.Tensor,
        handle: EPHandle,
        topk_weights: torch.Tensor | None = None,
        bias: Any = None,
        num_sms: int = 0,
        num_qps: int = 0,
        previous_event: Any = None,
        previous_event_before_epilogue: Any = None,
        async_with_compute_stream: bool = False,
        allocate_on_comm_stream: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None, EventOverlap]:
        """Bring rows back to their tokens and add them up, without weights. Collective.

        Parameters
        ----------
        x : Tensor, (N, H), expanded (M, H), bfloat16, float16 or float32
            A row for each received row.
        handle : EPHandle
            That of their dispatch.
        topk_weights : Tensor, (N, K), expanded (M,), float32, optional
            What comes back to the slots of the tokens.
        bias : Tensor, (T, H), or tuple of two, optional
            The sum of each token begins with it.
        num_sms : int
            Blocks of the kernel on GPUs; by default those of the dispatch.
        previous_event, previous_event_before_epilogue, async_with_compute_stream, \
allocate_on_comm_stream, num_qps
            As in DeepEP; both events are waited for at the beginning.

        Returns
        -------
        combined_x : Tensor, (T, H), type of `x`
        combined_topk_weights : Tensor or None, (T, K), float32
        event : EventOverlap
        """
        checks.handle("combine", handle, EPHandle)
        biases = checks.biases(bias, handle.topk_idx.shape[0], x)
        events = previous_event, previous_event_before_epilogue
        with self._streams.call(events, async_with_compute_stream) as call:
            blocks = num_sms or handle.num_sms
            combined_x = tokens.combine(
                self._engine, x, handle, biases, blocks, not self.allow_multiple_reduction
            )
            weights = None
            if topk_weights is not None:
                weights = tokens.combine_weights(self._engine, topk_weights, handle, blocks)
            call.share(x, topk_weights, *biases, combined_x, weights, *handle.tensors)
        return combined_x, weights, EventOverlap(call.event)

    # What there is none of

    get_engram_storage_size_hint = missing("get_engram_storage_size_hint", _ENGRAM)
    engram_write = missing("engram_write", _ENGRAM)
    engram_fetch = missing("engram_fetch", _ENGRAM)
    get_pp_buffer_size_hint = missing("get_pp_buffer_size_hint", _PIPELINE)
    pp_set_config = missing("pp_set_config", _PIPELINE)
    pp_send = missing("pp_send", _PIPELINE)
    pp_recv = missing("pp_recv", _PIPELINE)
    get_agrs_num_max_session_bytes = missing("get_agrs_num_max_session_bytes", _GATHER)
    get_agrs_buffer_size_hint = missing("get_agrs_buffer_size_hint", _GATHER)
    create_agrs_session = missing("create_agrs_session", _GATHER)
    destroy_agrs_session = missing("destroy_agrs_session", _GATHER)
    agrs_new_session = missing("agrs_new_session", _GATHER)
    agrs_set_config = missing("agrs_set_config", _GATHER)
    agrs_get_inplace_tensor = missing("agrs_get_inplace_tensor", _GATHER)
    all_gather = missing("all_gather", _GATHER)


def _size_hint(ranks: int, max_tokens: int, hidden: int, use_fp8_dispatch: bool) -> int:
    """Bytes of the symmetric rows of a dispatch and a combine."""
    received = hidden + -(-hidden // 128) * 4 if use_fp8_dispatch else hidden * 2
    return align(ranks * max_tokens * (received + hidden * 2), _ALIGNMENT)
