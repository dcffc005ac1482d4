# ===- tokens.py - the exchanges of ElasticBuffer -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Dispatch and combine with a row per token and rank, and rows per expert made of them."""

from __future__ import annotations

from typing import NamedTuple

import torch

from moe_mlir.compat import plans
from moe_mlir.compat.deep_ep import checks
from moe_mlir.compat.deep_ep.engine import Engine
from moe_mlir.compat.deep_ep.handle import EPHandle
from moe_mlir.compat.deep_ep.local import (
    Expansion,
    align,
    column_major,
    count,
    local_ids,
)
from moe_mlir.exchange import Exchange
from moe_mlir.runtime.dtypes import element_type


class Rows(NamedTuple):
    """Received rows, some of them in memory that the next dispatch writes to.

    Attributes
    ----------
    x : Tensor, (C, H)
    scales : Tensor or None, (C, S)
    weights : Tensor or None, (N, K)
        0 for experts of other ranks.
    """

    x: torch.Tensor
    scales: torch.Tensor | None
    weights: torch.Tensor | None


def packs(scales: torch.Tensor | None) -> torch.Tensor | None:
    """Scales as the float32 that travels bit for bit, whatever is packed in them."""
    return None if scales is None else scales.contiguous().view(torch.float32)


def dispatch(
    engine: Engine,
    x: torch.Tensor,
    scales: torch.Tensor | None,
    topk_idx: torch.Tensor | None,
    topk_weights: torch.Tensor | None,
    *,
    num_experts: int | None,
    max_tokens: int,
    alignment: int,
    num_sms: int,
    copies: bool,
    syncs: bool,
    expands: bool,
) -> tuple[EPHandle, Rows]:
    """Send tokens, and count what came."""
    checks.experts("dispatch", num_experts, engine.ranks)
    checks.tokens("dispatch", x.shape[0], max_tokens)
    ids = checks.topk_idx("dispatch", topk_idx)
    num_topk = ids.shape[1]
    loaded = engine.find(
        plans.by_rank(
            num_experts or 0, num_topk, x.shape[1], element_type(x.dtype), max_tokens,
            0 if scales is None else scales.shape[1],
        ),
        num_sms,
    )  # fmt: skip
    kept = ids.clone() if copies else ids
    weights = engine.no_weights(ids) if topk_weights is None else topk_weights
    arrived = loaded.dispatch(x, kept, weights, packs(scales))
    experts = loaded.plan.experts_of(engine.rank, engine.ranks)
    from_rank = loaded.layout.part(arrived.routes, "n_tokens_from_rank")
    global_ids = loaded.layout.part(arrived.routes, "recv_topk_idx")
    local = local_ids(global_ids, from_rank.sum(), experts)
    counts = count(local, len(experts))
    if syncs:
        numbers = torch.cat([from_rank, counts]).tolist()
        engine.check()
        num_rows = sum(numbers[: engine.ranks])
        per_expert = [align(number, alignment) for number in numbers[engine.ranks :]]
        num_expanded = sum(per_expert)
    else:
        num_rows, per_expert = local.shape[0], []
        num_expanded = local.shape[0] * min(num_topk, len(experts))
        num_expanded = align(num_expanded + (alignment - 1) * len(experts), alignment)
    local = local[:num_rows]
    expansion = Expansion.of(local, counts, alignment, num_expanded) if expands else None
    handle = EPHandle(
        loaded, kept, arrived.routes, ids=local, expansion=expansion, counts=counts,
        do_expand=expands, expert_alignment=alignment, num_sms=num_sms,
        num_recv_tokens=num_rows, num_expanded_tokens=num_expanded, per_expert=per_expert,
    )  # fmt: skip
    found = None if topk_weights is None else arrived.weights[:num_rows]
    return handle, Rows(arrived.x, _unpacked(arrived.scales, scales), found)


def dispatch_again(
    engine: Engine,
    x: torch.Tensor,
    scales: torch.Tensor | None,
    topk_weights: torch.Tensor | None,
    handle: EPHandle,
    num_sms: int,
) -> Rows:
    """Send other rows, and weights, to where those of the handle went."""
    blocks = num_sms or handle.num_sms
    checks.same_tokens("dispatch", x, handle.topk_idx)
    plan = plans.by_rank(
        handle.num_experts, handle.topk_idx.shape[1], x.shape[1], element_type(x.dtype),
        handle.num_max_tokens_per_rank, 0 if scales is None else scales.shape[1],
    )  # fmt: skip
    found, recv_scales = engine.find(plans.again(plan), blocks).dispatch_again(
        x, handle.routes, packs(scales)
    )
    weights = None
    if topk_weights is not None:
        of_weights = plans.again(plans.other_rows(plan, topk_weights.shape[1], "f32"))
        rows, _ = engine.find(of_weights, blocks).dispatch_again(topk_weights, handle.routes)
        weights = torch.where(handle.ids < 0, 0.0, rows[: handle.num_recv_tokens])
    return Rows(found, _unpacked(recv_scales, scales), weights)


def _unpacked(received: torch.Tensor | None, sent: torch.Tensor | None) -> torch.Tensor | None:
    if received is None or sent is None:
        return None
    return received.view(sent.dtype)


def results(
    handle: EPHandle, arrived: Rows, clears_gaps: bool, is_column_major: bool
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    """Tensors of the caller: rows, scales, ids and weights."""
    ids = None
    if handle.expansion is None:
        ids = handle.ids.clone()
        rows = arrived.x[: handle.num_recv_tokens].clone()
        scales, weights = arrived.scales, arrived.weights
        if scales is not None:
            scales = scales[: handle.num_recv_tokens]
            scales = column_major(scales) if is_column_major else scales.clone()
    else:
        rows = handle.expansion.rows(arrived.x, clears_gaps)
        scales, weights = arrived.scales, arrived.weights
        if scales is not None:
            scales = handle.expansion.rows(scales, clears_gaps)
            scales = column_major(scales) if is_column_major else scales
        if weights is not None:
            weights = handle.expansion.weights(weights)
    return rows, scales, ids, weights


def combine(
    engine: Engine,
    x: torch.Tensor,
    handle: EPHandle,
    biases: tuple[torch.Tensor, ...],
    num_sms: int,
    rounds_once: bool,
) -> torch.Tensor:
    """Add rows up, first those of a rank, then those of all, the biases before them."""
    expansion = handle.expansion
    num_rows = handle.num_recv_tokens if expansion is None else handle.num_expanded_tokens
    checks.rows("combine", x, num_rows)
    dtype = "f32" if rounds_once and expansion is not None else element_type(x.dtype)
    plan = _returning(handle.loaded.plan, x.shape[1], dtype)
    loaded = engine.find(plans.apart(plan) if biases else plan, num_sms)
    rows = x if expansion is None else expansion.sum(x)
    loaded.rows[: rows.shape[0]].copy_(rows)
    out = loaded.combine(handle.routes, handle.topk_idx)
    if biases:
        out = sum_of_ranks(out, biases)
    return out.to(x.dtype)


def sum_of_ranks(out: torch.Tensor, biases: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The sum of biases and of the row from each rank, in f32."""
    total = biases[0].float()
    if len(biases) > 1:
        total = total + biases[1].float()
    elif total is biases[0]:
        total = total.clone()
    for row in out.unbind(1):
        total += row.float()
    return total


def combine_weights(
    engine: Engine, topk_weights: torch.Tensor, handle: EPHandle, num_sms: int
) -> torch.Tensor:
    """Bring the weight of each slot back from the rank of its expert."""
    if handle.expansion is None:
        checks.rows("combine", topk_weights, handle.num_recv_tokens, "topk_weights")
        weights = torch.where(handle.ids < 0, 0.0, topk_weights)
    else:
        checks.rows("combine", topk_weights, handle.num_expanded_tokens, "topk_weights")
        weights = handle.expansion.weights_back(topk_weights)
    num_topk = weights.shape[1]
    loaded = engine.find(plans.other_rows(handle.loaded.plan, num_topk, "f32"), num_sms)
    loaded.rows[: weights.shape[0]].copy_(weights)
    return loaded.combine(handle.routes, handle.topk_idx)


def _returning(plan: Exchange, hidden: int, dtype: str) -> Exchange:
    """The plan itself where rows come back as it says, else one for them."""
    if plan.hidden != hidden:
        return plans.other_rows(plan, hidden, dtype)
    return plan if plan.combine_dtype == dtype else plans.combining(plan, dtype)
