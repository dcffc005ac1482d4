# ===- normal.py - the normal exchanges of Buffer -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Dispatch and combine of DeepEP V1: the caller says which ranks tokens go to."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from moe_mlir.compat import plans
from moe_mlir.compat.deep_ep import checks
from moe_mlir.compat.deep_ep.engine import Engine, Loaded
from moe_mlir.compat.deep_ep.local import align, local_ids
from moe_mlir.compat.deep_ep.missing import lack
from moe_mlir.compat.deep_ep.tokens import packs, sum_of_ranks
from moe_mlir.exchange.fields import MAX_TOP_K
from moe_mlir.runtime.dtypes import element_type

# Plans are for a power of 2 of tokens, and for no fewer, so that there are few.
_FEWEST_TOKENS = 128


class Layout(NamedTuple):
    """Where tokens go.

    Attributes
    ----------
    num_tokens_per_rank : Tensor, (R,), int32
    num_tokens_per_rdma_rank : None
    num_tokens_per_expert : Tensor, (E,), int32
    is_token_in_rank : Tensor, (T, R), bool
    """

    num_tokens_per_rank: torch.Tensor
    num_tokens_per_rdma_rank: None
    num_tokens_per_expert: torch.Tensor
    is_token_in_rank: torch.Tensor


class Handle(tuple[torch.Tensor, ...]):
    """What `Buffer.dispatch` returns for `combine` and other dispatches, as DeepEP's tuple.

    Its six tensors are `rank_prefix_matrix`, (R, R): rows from each rank and those before it
    to each rank; `channel_prefix_matrix` and `recv_channel_prefix_matrix`, (R, 1), as if there
    were one channel: rows to each rank, and zeros; `recv_src_idx`, (N,): numbers of the
    tokens; `is_token_in_rank`, (T, R); `send_head`, (T, R): the row on each rank, or -1.

    Attributes
    ----------
    loaded : Loaded
        The exchange of the dispatch.
    routes, ids : Tensor
        Its routes, and the ids that made them.
    """

    loaded: Loaded
    routes: torch.Tensor
    ids: torch.Tensor

    @property
    def num_rows(self) -> int:
        """Received rows."""
        return int(self[3].shape[0])


def layout(ids: torch.Tensor, num_experts: int, ranks: int) -> Layout:
    """Count the tokens of each expert, and of each rank."""
    tokens = ids.shape[0]
    keys = torch.where(ids < 0, num_experts, ids)
    per_expert = torch.zeros(num_experts + 1, dtype=torch.int32, device=ids.device)
    per_expert.scatter_add_(
        0, keys.flatten(), torch.ones(keys.numel(), dtype=torch.int32, device=ids.device)
    )
    in_rank = torch.zeros((tokens, ranks + 1), dtype=torch.bool, device=ids.device)
    in_rank.scatter_(1, torch.where(ids < 0, ranks, ids // (num_experts // ranks)), True)
    in_rank = in_rank[:, :ranks].contiguous()
    return Layout(in_rank.sum(0, dtype=torch.int32), None, per_expert[:num_experts], in_rank)


def told(
    num_tokens_per_rank: torch.Tensor | None,
    num_tokens_per_expert: torch.Tensor | None,
    is_token_in_rank: torch.Tensor | None,
    *,
    has_ids: bool,
    num_worst_tokens: int,
) -> Layout:
    """The layout that a caller passes to a dispatch."""
    if num_tokens_per_rank is None or num_tokens_per_expert is None or is_token_in_rank is None:
        raise TypeError(
            "dispatch: expected num_tokens_per_rank, num_tokens_per_expert and is_token_in_rank, "
            "or a handle"
        )
    if num_worst_tokens and not has_ids:
        raise TypeError("dispatch: expected topk_idx and topk_weights with num_worst_tokens")
    return Layout(num_tokens_per_rank, None, num_tokens_per_expert, is_token_in_rank)


class Counts(NamedTuple):
    """What all ranks have told each other before rows move.

    Attributes
    ----------
    rank_prefix_matrix : Tensor, (R, R), int32
    per_expert : list of int
        Rows of each local expert, of all ranks; empty without a CPU sync.
    num_rows : int
        Rows that come to this rank.
    max_tokens : int
        Most tokens of any rank.
    """

    rank_prefix_matrix: torch.Tensor
    per_expert: list[int]
    num_rows: int
    max_tokens: int


def exchange_counts(
    engine: Engine, told: Layout, is_other: torch.Tensor, num_worst_tokens: int
) -> Counts:
    """Tell each rank the numbers of its tokens, and of all ranks.

    Raises
    ------
    NotImplementedError
        The caller of some rank has changed the layout; on all ranks.
    """
    ranks, tokens = engine.ranks, told.is_token_in_rank.shape[0]
    per_expert = told.num_tokens_per_expert.view(ranks, -1)
    each = per_expert.shape[1]
    rows = torch.cat(
        [
            told.num_tokens_per_rank.expand(ranks, ranks),
            per_expert,
            torch.full((ranks, 1), tokens, dtype=torch.int32, device=engine.device),
            is_other.to(torch.int32).expand(ranks, 1),
        ],
        1,
    )
    arrived = engine.all_to_all(rows.contiguous())
    prefix = arrived[:, :ranks].cumsum(0, dtype=torch.int32)
    if num_worst_tokens:
        return Counts(prefix, [], num_worst_tokens, -(-num_worst_tokens // ranks))
    numbers = torch.cat(
        [
            prefix[-1, engine.rank].unsqueeze(0),
            arrived[:, -2:].amax(0),
            arrived[:, ranks : ranks + each].sum(0, dtype=torch.int32),
        ]
    ).tolist()
    engine.check()
    num_rows, max_tokens, is_wrong, *counts = numbers
    if is_wrong:
        raise lack(
            "dispatch",
            "choice of ranks other than that of get_dispatch_layout (num_tokens_per_rank, "
            "is_token_in_rank)",
        )
    return Counts(prefix, counts, num_rows, max_tokens)


def dispatch(
    engine: Engine,
    x: torch.Tensor,
    scales: torch.Tensor | None,
    topk_idx: torch.Tensor | None,
    topk_weights: torch.Tensor | None,
    told: Layout,
    alignment: int,
    num_worst_tokens: int,
    num_sms: int,
) -> tuple[tuple[Any, ...], list[int], Handle]:
    """Send tokens: rows, scales, ids and weights; aligned counts; handle."""
    num_experts = told.num_tokens_per_expert.shape[0]
    checks.experts("dispatch", num_experts, engine.ranks)
    checks.same_tokens("dispatch", x, told.is_token_in_rank)
    in_rank = told.is_token_in_rank
    is_other = (in_rank.sum(0, dtype=torch.int32) != told.num_tokens_per_rank).any()
    if topk_idx is None:
        ids, experts = _ranks_as_experts(in_rank), engine.ranks
    else:
        ids, experts = checks.topk_idx("dispatch", topk_idx), num_experts
        expected = layout(ids, num_experts, engine.ranks).is_token_in_rank
        is_other = is_other | (expected != in_rank).any()
    counts = exchange_counts(engine, told, is_other, num_worst_tokens)
    max_tokens = counts.max_tokens
    if not num_worst_tokens:
        max_tokens = max(_FEWEST_TOKENS, 1 << (max_tokens - 1).bit_length())
    checks.tokens("dispatch", x.shape[0], max_tokens)
    loaded = engine.find(
        plans.by_rank(
            experts, ids.shape[1], x.shape[1], element_type(x.dtype), max_tokens,
            0 if scales is None else scales.shape[1],
        ),
        num_sms,
    )  # fmt: skip
    weights = engine.no_weights(ids) if topk_weights is None else topk_weights
    arrived = loaded.dispatch(x, ids, weights, packs(scales))
    rows = counts.num_rows
    sources = loaded.layout.part(arrived.routes, "recv_src_idx")[:rows] % max_tokens
    to_rank = loaded.layout.part(arrived.routes, "n_tokens_to_rank").unsqueeze(1)
    handle = Handle(
        (
            counts.rank_prefix_matrix, to_rank.clone(), torch.zeros_like(to_rank), sources,
            in_rank, loaded.layout.send_row(arrived.routes).clone(),
        )
    )  # fmt: skip
    handle.loaded, handle.routes, handle.ids = loaded, arrived.routes, ids
    recv_scales = None
    if scales is not None and arrived.scales is not None:
        recv_scales = arrived.scales[:rows].clone().view(scales.dtype)
    recv_ids = None
    if topk_idx is not None:
        from_rank = loaded.layout.part(arrived.routes, "n_tokens_from_rank")
        recv_ids = local_ids(
            loaded.layout.part(arrived.routes, "recv_topk_idx"),
            from_rank.sum(),
            loaded.plan.experts_of(engine.rank, engine.ranks),
        )[:rows]
    recv_weights = None if recv_ids is None else arrived.weights[:rows]
    results = arrived.x[:rows].clone(), recv_scales, recv_ids, recv_weights
    return results, [align(number, alignment) for number in counts.per_expert], handle


def _ranks_as_experts(in_rank: torch.Tensor) -> torch.Tensor:
    """Ids of ranks in the place of expert ids, -1 where a token does not go."""
    ranks = in_rank.shape[1]
    if ranks > MAX_TOP_K:
        raise lack("dispatch", f"dispatch without topk_idx to more than {MAX_TOP_K} ranks")
    numbers = torch.arange(ranks, dtype=torch.int64, device=in_rank.device)
    return torch.where(in_rank, numbers, -1)


def dispatch_again(
    engine: Engine, x: torch.Tensor, scales: torch.Tensor | None, handle: Handle, num_sms: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Send other rows to where those of the handle went."""
    checks.same_tokens("dispatch", x, handle.ids)
    plan = plans.by_rank(
        handle.loaded.plan.num_experts, handle.ids.shape[1], x.shape[1], element_type(x.dtype),
        handle.loaded.plan.token_bound, 0 if scales is None else scales.shape[1],
    )  # fmt: skip
    loaded = engine.find(plans.again(plan), num_sms)
    rows, recv_scales = loaded.dispatch_again(x, handle.routes, packs(scales))
    if recv_scales is not None and scales is not None:
        recv_scales = recv_scales[: handle.num_rows].clone().view(scales.dtype)
    return rows[: handle.num_rows].clone(), recv_scales


def combine(
    engine: Engine,
    x: torch.Tensor,
    handle: Handle,
    biases: tuple[torch.Tensor, ...],
    num_sms: int,
    name: str = "x",
) -> torch.Tensor:
    """Add the rows of each token up, the biases before them."""
    checks.rows("combine", x, handle.num_rows, name)
    dtype, plan = element_type(x.dtype), handle.loaded.plan
    if plan.hidden != x.shape[1]:
        plan = plans.other_rows(plan, x.shape[1], dtype)
    elif plan.combine_dtype != dtype:
        plan = plans.combining(plan, dtype)
    loaded = engine.find(plans.apart(plan) if biases else plan, num_sms)
    loaded.rows[: x.shape[0]].copy_(x)
    out = loaded.combine(handle.routes, handle.ids)
    return sum_of_ranks(out, biases).to(x.dtype) if biases else out
