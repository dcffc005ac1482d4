# ===- low_latency.py - the low-latency exchanges of Buffer -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Dispatch and combine of DeepEP V1's low-latency mode: a row per token and expert.

Received rows are packed in a place for each local expert, with room for all tokens of all
ranks. Weights are applied where the tokens are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from moe_mlir.compat import plans
from moe_mlir.compat.deep_ep import checks, fp8
from moe_mlir.compat.deep_ep.engine import Engine, Loaded
from moe_mlir.compat.deep_ep.local import select


class Handle(tuple[Any, ...]):
    """What `low_latency_dispatch` returns for the combine, as DeepEP's tuple.

    It has `src_info`, (EL, R * T_max), int32: numbers of the tokens; `layout_range`, (EL, R),
    int64: first row from each rank, times 2^32, plus number of rows; the most tokens of a
    rank; the row length; and the number of experts.

    Attributes
    ----------
    loaded : Loaded
        The exchange of the dispatch.
    routes, ids : Tensor
        Its routes, and the ids that made them.
    places : Tensor, (C,), int64
        Where each received row is packed.
    """

    loaded: Loaded
    routes: torch.Tensor
    ids: torch.Tensor
    places: torch.Tensor

    def packed_shape(self, ranks: int) -> tuple[int, int, int]:
        """Shape of the packed rows."""
        _, _, max_tokens, hidden, num_experts = self
        return num_experts // ranks, ranks * max_tokens, hidden

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """All tensors, for streams that use them."""
        return self[0], self[1], self.routes, self.ids, self.places


class Packed(NamedTuple):
    """Received rows by expert: rows, scales in column-major order or None, counts, int32."""

    x: torch.Tensor
    scales: torch.Tensor | None
    counts: torch.Tensor


def dispatch(
    engine: Engine,
    x: torch.Tensor,
    topk_idx: torch.Tensor,
    max_tokens: int,
    num_experts: int,
    use_fp8: bool,
    round_scale: bool,
    use_ue8m0: bool,
) -> tuple[Packed, Handle]:
    """Send tokens, cast before they leave, and pack what came."""
    checks.experts("low_latency_dispatch", num_experts, engine.ranks)
    checks.tokens("low_latency_dispatch", x.shape[0], max_tokens)
    ids = checks.topk_idx("low_latency_dispatch", topk_idx).clone()
    hidden, scales = x.shape[1], None
    if x.dtype != torch.bfloat16:
        raise TypeError(f"low_latency_dispatch: expected x of torch.bfloat16, got {x.dtype}")
    if use_fp8:
        if hidden % (4 * fp8.GROUP):
            raise ValueError(
                f"low_latency_dispatch: expected rows of a multiple of {4 * fp8.GROUP} values "
                f"with use_fp8, got {hidden}"
            )
        if use_ue8m0 and not round_scale:
            raise ValueError("low_latency_dispatch: expected round_scale with use_ue8m0")
        x, scales = fp8.cast(x, round_scale)
    loaded = engine.find(
        plans.by_expert(
            num_experts, ids.shape[1], hidden, "f8E4M3FN" if use_fp8 else "bf16", max_tokens,
            0 if scales is None else scales.shape[1],
        )
    )  # fmt: skip
    arrived = loaded.dispatch(x, ids, engine.no_weights(ids), scales)

    ranks, experts = engine.ranks, num_experts // engine.ranks
    room = ranks * max_tokens
    counts = loaded.layout.part(arrived.routes, "expert_counts").clone()
    ends = counts.cumsum(0)
    rows = torch.arange(arrived.x.shape[0], device=engine.device)
    holds = rows < ends[-1]
    expert = torch.searchsorted(ends, rows, right=True).clamp(max=experts - 1)
    first = ends - counts
    # Rows that hold no token go behind the last place.
    places = torch.where(holds, expert * room + rows - first[expert], experts * room)
    sources = loaded.layout.part(arrived.routes, "recv_src_idx")
    sender = torch.where(holds, expert * ranks + sources // max_tokens, experts * ranks)
    from_rank = torch.zeros(experts * ranks + 1, dtype=torch.int64, device=engine.device)
    from_rank.scatter_add_(0, sender, torch.ones_like(sender))
    from_rank = from_rank[:-1].view(experts, ranks)
    begins = from_rank.cumsum(1) - from_rank

    packed_scales = None
    if arrived.scales is not None:
        values = fp8.exponents(arrived.scales) if use_ue8m0 else arrived.scales
        by_column = _pack(values, places, experts, room).transpose(1, 2)
        packed_scales = values.new_empty(by_column.shape).copy_(by_column).transpose(1, 2)
    src_info = _pack((sources % max_tokens).unsqueeze(1), places, experts, room).squeeze(2)
    handle = Handle((src_info, (begins << 32) | from_rank, max_tokens, hidden, num_experts))
    handle.loaded, handle.routes, handle.ids = loaded, arrived.routes, ids
    handle.places = places
    packed = Packed(_pack(arrived.x, places, experts, room), packed_scales, counts)
    return packed, handle


def _pack(rows: torch.Tensor, places: torch.Tensor, experts: int, room: int) -> torch.Tensor:
    """Rows at their places, (EL, R * T_max, row length)."""
    bits = rows if rows.element_size() > 1 else rows.view(torch.uint8)
    made = bits.new_empty((experts * room + 1, rows.shape[1]))
    made.index_copy_(0, places, bits)
    return made[:-1].view(rows.dtype).view(experts, room, rows.shape[1])


def combine(
    engine: Engine,
    x: torch.Tensor,
    topk_idx: torch.Tensor,
    topk_weights: torch.Tensor,
    handle: Handle,
    out: torch.Tensor | None,
) -> torch.Tensor:
    """Bring rows back to their tokens, and add them up with the tokens' weights."""
    expected = handle.packed_shape(engine.ranks)
    if x.shape != expected or x.dtype != torch.bfloat16:
        raise ValueError(
            f"low_latency_combine: expected x of torch.bfloat16 of {expected}, got {x.dtype} of "
            f"{tuple(x.shape)}"
        )
    checks.same_tokens("low_latency_combine", topk_weights, handle.ids)
    rows = x.reshape(-1, x.shape[2])
    loaded = handle.loaded
    loaded.rows.copy_(select(rows, handle.places.clamp(max=rows.shape[0] - 1)))
    apart = loaded.combine(handle.routes, handle.ids)
    weights = torch.where(topk_idx < 0, 0.0, topk_weights).unsqueeze(2)
    total = (apart.float() * weights).sum(1)
    if out is None:
        return total.to(x.dtype)
    return out.copy_(total)
