# ===- received.py - what a dispatch returns -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What a dispatch returns, as tuples of plain tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch

from moe_mlir.torch.routes import Layout


class Handle(NamedTuple):
    """The routes of a dispatch: plain tensors, which bring rows back.

    Attributes
    ----------
    routes : Tensor, int32
        Where tokens went and rows came from, of all kinds in one tensor.
    topk_idx : Tensor, (T, K)
        The expert ids that were dispatched.
    recv_topk_weights : Tensor, float32
        The received weights. They tie the combine to the dispatch in the graph of
        autograd, so that the backward passes of all ranks do the same, also on ranks
        whose experts got no row.
    peer_rows : Tensor or None, (4, R), int32
        Rows that messages carry, in memory of the host (`keep_blocks` of the plan).
    """

    routes: torch.Tensor
    topk_idx: torch.Tensor
    recv_topk_weights: torch.Tensor
    peer_rows: torch.Tensor | None = None


class Received(NamedTuple):
    """What a dispatch brought to this rank.

    Attributes
    ----------
    x : Tensor, (C, H)
        Received rows.
    topk_weights : Tensor, (C, K), in expert_major C, float32
        Their weights.
    scales : Tensor or None, (C, S)
        Their scales.
    handle : Handle
        What :meth:`ExpertParallel.combine` needs.
    layout : Layout
        Where the routes are in the handle's tensor.
    owns_ids : bool
        Whether the handle's `topk_idx` is memory to write to
        (:meth:`ExpertParallel.empty_received`), and not what a caller passed.
    """

    x: torch.Tensor
    topk_weights: torch.Tensor
    scales: torch.Tensor | None
    handle: Handle
    layout: Layout
    owns_ids: bool = False

    @property
    def topk_idx(self) -> torch.Tensor:
        """Expert ids of the rows, (C, K), -1 for those of other ranks; in expert_major C."""
        return self.layout.part(self.handle.routes, "recv_topk_idx")

    @property
    def expert_counts(self) -> torch.Tensor:
        """Rows of each local expert, EL, int32 (expert_major, or with lists)."""
        return self.layout.part(self.handle.routes, "expert_counts")

    @property
    def expert_offsets(self) -> torch.Tensor:
        """First row, with lists first place, of each local expert, EL, int32."""
        return self.layout.part(self.handle.routes, "expert_offsets")

    @property
    def list_rows(self) -> torch.Tensor:
        """Rows that each local expert takes, L, int32, -1 elsewhere (list_alignment)."""
        return self.layout.part(self.handle.routes, "list_rows")

    @property
    def list_weights(self) -> torch.Tensor:
        """Their weights, L, float32, 0 elsewhere. No gradients: `topk_weights` has them."""
        return self.layout.part(self.handle.routes, "list_weights")

    @property
    def tokens_to_rank(self) -> torch.Tensor:
        """Rows sent to each rank, R, int32."""
        return self.layout.part(self.handle.routes, "n_tokens_to_rank")

    @property
    def tokens_from_rank(self) -> torch.Tensor:
        """Rows received from each rank, R, int32."""
        return self.layout.part(self.handle.routes, "n_tokens_from_rank")
