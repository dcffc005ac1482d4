# ===- low_latency_calls.py - DeepEP V1's low-latency calls -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The part of :class:`Buffer` that is for few tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from moe_mlir.compat.deep_ep import checks, low_latency
from moe_mlir.compat.deep_ep.base import BaseBuffer
from moe_mlir.compat.deep_ep.engine import Engine
from moe_mlir.compat.deep_ep.event import EventOverlap
from moe_mlir.compat.deep_ep.missing import lack, missing

MASKS = "rank masks (enable_shrink)"
_WAITS = "statistics of waits (dispatch_wait_recv_cost_stats, combine_wait_recv_cost_stats)"


class LowLatencyCalls(BaseBuffer):
    """Low-latency calls of a buffer; see `BaseBuffer`."""

    def __init__(self, engine: Engine, explicitly_destroy: bool) -> None:
        super().__init__(engine, explicitly_destroy)
        self._combine_buffers: dict[tuple[int, ...], torch.Tensor] = {}

    def clean_low_latency_buffer(
        self, num_max_dispatch_tokens_per_rank: int, hidden: int, num_experts: int
    ) -> None:
        """Do nothing: normal and low-latency calls leave nothing behind for each other."""

    def low_latency_dispatch(
        self,
        x: torch.Tensor,
        topk_idx: torch.Tensor,
        num_max_dispatch_tokens_per_rank: int,
        num_experts: int,
        cumulative_local_expert_recv_stats: torch.Tensor | None = None,
        dispatch_wait_recv_cost_stats: torch.Tensor | None = None,
        use_fp8: bool = True,
        round_scale: bool = False,
        use_ue8m0: bool = False,
        async_finish: bool = False,
        return_recv_hook: bool = False,
    ) -> tuple[Any, torch.Tensor, Any, EventOverlap, Callable[[], None] | None]:
        """Send tokens to experts. Collective; nothing waits for the GPU.

        Parameters
        ----------
        x : Tensor, (T, H), bfloat16
        topk_idx : Tensor, (T, K), int64
            Expert ids, -1 for none.
        num_max_dispatch_tokens_per_rank, num_experts : int
            The same on all ranks.
        cumulative_local_expert_recv_stats : Tensor, (EL,), int32, optional
            The rows of each local expert are added to it.
        use_fp8 : bool, default True
            Whether rows are cast to float8_e4m3fn, with a scale for 128 values.
        round_scale, use_ue8m0 : bool
            Whether scales are powers of 2, and whether they come as four exponents an int32.
        return_recv_hook : bool
            Whether there is a hook. The rows are there already when the call returns, so it does
            nothing.

        Returns
        -------
        recv_x : Tensor, (EL, R * T_max, H), or tuple of rows and scales
            Scales are (EL, R * T_max, H / 128), float32, with UE8M0 (EL, R * T_max, H / 512),
            int32, in column-major order.
        recv_count : Tensor, (EL,), int32
        handle : tuple
        event : EventOverlap
        hook : callable or None
        """
        if dispatch_wait_recv_cost_stats is not None:
            raise lack("low_latency_dispatch", _WAITS)
        _check_end("low_latency_dispatch", async_finish, return_recv_hook)
        with self._streams.call((), async_finish) as call:
            packed, handle = low_latency.dispatch(
                self._engine, x, topk_idx, num_max_dispatch_tokens_per_rank, num_experts,
                use_fp8, round_scale, use_ue8m0,
            )  # fmt: skip
            if cumulative_local_expert_recv_stats is not None:
                cumulative_local_expert_recv_stats.add_(packed.counts)
            call.share(
                x, topk_idx, cumulative_local_expert_recv_stats, *packed, *handle.tensors
            )
        hook = _nothing if return_recv_hook else None
        received = checks.received(packed.x, packed.scales)
        return received, packed.counts, handle, EventOverlap(call.event), hook

    def low_latency_combine(
        self,
        x: torch.Tensor,
        topk_idx: torch.Tensor,
        topk_weights: torch.Tensor,
        handle: Any,
        use_logfmt: bool = False,
        zero_copy: bool = False,
        async_finish: bool = False,
        return_recv_hook: bool = False,
        out: torch.Tensor | None = None,
        combine_wait_recv_cost_stats: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, EventOverlap, Callable[[], None] | None]:
        """Bring rows back to their tokens and add them up, with weights. Collective.

        Parameters
        ----------
        x : Tensor, (EL, R * T_max, H), bfloat16
        topk_idx, topk_weights : Tensor, (T, K), int64 and float32
            Those of the dispatch, and the weights of the rows.
        handle : tuple
            That of the dispatch.
        zero_copy : bool
            Whether the rows are in `get_next_low_latency_combine_buffer`. They are copied all
            the same.
        out : Tensor, (T, H), bfloat16, optional
            What to write to.
        return_recv_hook : bool
            As for `low_latency_dispatch`.

        Returns
        -------
        combined_x : Tensor, (T, H), bfloat16
        event : EventOverlap
        hook : callable or None
        """
        if use_logfmt:
            raise lack("low_latency_combine", "LogFMT rows (use_logfmt)")
        if combine_wait_recv_cost_stats is not None:
            raise lack("low_latency_combine", _WAITS)
        _check_end("low_latency_combine", async_finish, return_recv_hook)
        checks.handle("low_latency_combine", handle, low_latency.Handle)
        if zero_copy:
            x = self.get_next_low_latency_combine_buffer(handle)
        with self._streams.call((), async_finish) as call:
            combined = low_latency.combine(self._engine, x, topk_idx, topk_weights, handle, out)
            call.share(x, topk_idx, topk_weights, combined, *handle.tensors)
        hook = _nothing if return_recv_hook else None
        return combined, EventOverlap(call.event), hook

    def get_next_low_latency_combine_buffer(self, handle: Any) -> torch.Tensor:
        """Get a tensor for the rows of a combine with `zero_copy`.

        Returns
        -------
        Tensor, (EL, R * T_max, H), bfloat16
            The same one for all handles of these shapes.
        """
        checks.handle("get_next_low_latency_combine_buffer", handle, low_latency.Handle)
        shape = handle.packed_shape(self._engine.ranks)
        if shape not in self._combine_buffers:
            made = torch.empty(shape, dtype=torch.bfloat16, device=self._engine.device)
            self._combine_buffers[shape] = made
        return self._combine_buffers[shape]

    low_latency_update_mask_buffer = missing("low_latency_update_mask_buffer", MASKS)
    low_latency_query_mask_buffer = missing("low_latency_query_mask_buffer", MASKS)
    low_latency_clean_mask_buffer = missing("low_latency_clean_mask_buffer", MASKS)


def _nothing() -> None:
    """The hook of a call whose rows have come."""


def _check_end(call: str, async_finish: bool, return_recv_hook: bool) -> None:
    if async_finish and return_recv_hook:
        raise ValueError(f"{call}: expected async_finish or return_recv_hook, got both")
