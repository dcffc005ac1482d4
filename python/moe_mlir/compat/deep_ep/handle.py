# ===- handle.py - the handle of ElasticBuffer -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
""":class:`EPHandle`: where the tokens of a dispatch went, and came from."""

from __future__ import annotations

import functools
from typing import Any

import torch

from moe_mlir.compat.deep_ep.engine import Loaded
from moe_mlir.compat.deep_ep.local import Expansion, round_up


class EPHandle:
    """What `ElasticBuffer.dispatch` returns, for `combine` and other dispatches.

    Attributes
    ----------
    do_expand : bool
        Whether there is a row per token and expert.
    num_experts, expert_alignment, num_max_tokens_per_rank, num_sms : int
        As in the call; 0 SMs stand for the planner's choice.
    topk_idx : Tensor, (T, K), int64
        The expert ids.
    num_recv_tokens, num_expanded_tokens : int
        Rows, and expanded rows; without a CPU sync those that there is room for.
    num_recv_tokens_per_expert_list : list of int
        Rows of each local expert, aligned; empty without a CPU sync.
    psum_num_recv_tokens_per_scaleup_rank : Tensor, (R,), int32
        Rows from each rank and those before it.
    psum_num_recv_tokens_per_expert : Tensor, (EL,), int32
        Aligned rows of each local expert and those before it; expanded, the end of its rows.
    num_unaligned_recv_tokens_per_expert : Tensor, (EL,), int32
        Rows of each local expert.
    recv_src_metadata : Tensor, (N, K + 2), int32
        Of each row: rank of the sender times `num_max_tokens_per_rank` plus number of the
        token; rank of the sender times K plus first slot that has a local expert; the expanded
        row of each slot, or -1.
    dst_buffer_slot_idx : Tensor, (T, K), int32
        Row of each slot on the rank of its expert, or -1.
    token_metadata_at_forward, channel_linked_list : None
        There is nothing to forward.
    """

    token_metadata_at_forward: torch.Tensor | None = None
    channel_linked_list: torch.Tensor | None = None

    def __init__(
        self, loaded: Loaded, topk_idx: torch.Tensor, routes: torch.Tensor, **numbers: Any
    ) -> None:
        self.loaded, self.topk_idx, self.routes = loaded, topk_idx, routes
        self.ids: torch.Tensor = numbers["ids"]
        self.expansion: Expansion | None = numbers["expansion"]
        self.num_experts = loaded.plan.num_experts
        self.num_max_tokens_per_rank = loaded.plan.token_bound
        self.do_expand: bool = numbers["do_expand"]
        self.expert_alignment: int = numbers["expert_alignment"]
        self.num_sms: int = numbers["num_sms"]
        self.num_recv_tokens: int = numbers["num_recv_tokens"]
        self.num_expanded_tokens: int = numbers["num_expanded_tokens"]
        self.num_recv_tokens_per_expert_list: list[int] = numbers["per_expert"]
        counts: torch.Tensor = numbers["counts"]
        self.num_unaligned_recv_tokens_per_expert = counts
        ends = round_up(counts, self.expert_alignment).cumsum(0, dtype=torch.int32)
        if self.do_expand:
            ends = ends - round_up(counts, self.expert_alignment) + counts
        self.psum_num_recv_tokens_per_expert = ends
        from_rank = loaded.layout.part(routes, "n_tokens_from_rank")
        self.psum_num_recv_tokens_per_scaleup_rank = from_rank.cumsum(0, dtype=torch.int32)

    @functools.cached_property
    def recv_src_metadata(self) -> torch.Tensor:
        """Sources of the rows."""
        sources = self.loaded.layout.part(self.routes, "recv_src_idx")[: self.num_recv_tokens]
        slots = self.ids.shape[1]
        first = (self.ids >= 0).to(torch.int32).argmax(1).to(torch.int32)
        senders = sources // self.num_max_tokens_per_rank
        if self.expansion is None:
            rows = torch.full_like(self.ids, -1, dtype=torch.int32)
        else:
            rows = self.expansion.row_of_slot.to(torch.int32)
        return torch.cat([torch.stack([sources, senders * slots + first], 1), rows], 1)

    @functools.cached_property
    def dst_buffer_slot_idx(self) -> torch.Tensor:
        """Rows that the tokens went to."""
        rows = self.loaded.layout.send_row(self.routes)
        each = self.num_experts // rows.shape[1]
        owners = torch.div(self.topk_idx, each, rounding_mode="floor").clamp(min=0)
        return torch.where(self.topk_idx < 0, -1, rows.gather(1, owners))

    @property
    def tensors(self) -> tuple[torch.Tensor | None, ...]:
        """All tensors, for streams that use them."""
        return (
            self.topk_idx, self.routes, self.ids, *(self.expansion or ()),
            self.num_unaligned_recv_tokens_per_expert, self.psum_num_recv_tokens_per_expert,
            self.psum_num_recv_tokens_per_scaleup_rank,
        )  # fmt: skip
