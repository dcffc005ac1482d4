# ===- received.py - what a dispatch returns -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What a dispatch returns: the received rows, and the routes that bring rows back."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Handle:
    """The routes of a dispatch: what brings rows back.

    Attributes
    ----------
    send_row : array, (T, R) or (T, K), i32
        Where each token went: a row on the destination, or -1.
    recv_src_idx : array, C, i32
        Source of each row: ``sender * T_max + token``.
    n_tokens_from_rank : array, R, i32
        Rows received from each rank.
    topk_idx : array, (T, K)
        The expert ids that were dispatched.
    recv_topk_idx : array, (C, K) or C
        Expert ids of the received rows.
    peer_blocks : array or None, (2, R, P, 2), i32
        First row, and number of rows, of each block: of this rank on the others, and of
        the others here. ``P = EL`` in expert_major, else 1 (`keep_blocks`).
    peer_rows : array or None, (4, R), i32
        Rows that messages carry, in host memory (`keep_blocks`).
    """

    send_row: Any
    recv_src_idx: Any
    n_tokens_from_rank: Any
    topk_idx: Any
    recv_topk_idx: Any
    peer_blocks: Any = None
    peer_rows: Any = None


@dataclasses.dataclass(frozen=True)
class Received:
    """What a dispatch brought to this rank.

    Attributes
    ----------
    x : array, (C, H)
        Received rows.
    scales : array or None, (C, S)
        Their scales.
    topk_idx : array, (C, K), in expert_major C
        Their expert ids, -1 for experts of other ranks.
    topk_weights : array, (C, K), in expert_major C, f32
        Their weights.
    tokens_to_rank, tokens_from_rank : array, R, i32
        Rows sent to, and received from, each rank.
    expert_offsets, expert_counts : array or None, EL, i32
        First row, and number of rows, of each local expert (expert_major). With
        lists, its first place in these.
    handle : Handle
        What :meth:`ExpertParallel.combine` and the gradients need.
    list_rows : array or None, L, i32
        Which received rows each local expert takes, and -1 at all other places.
    list_weights : array or None, L, f32
        Their weights, and 0.
    """

    x: Any
    scales: Any
    topk_idx: Any
    topk_weights: Any
    tokens_to_rank: Any
    tokens_from_rank: Any
    expert_offsets: Any
    expert_counts: Any
    handle: Handle
    list_rows: Any = None
    list_weights: Any = None

    @property
    def by_name(self) -> dict[str, Any]:
        """The arrays under the names they have in the module."""
        named = {
            "recv_x": self.x,
            "recv_scales": self.scales,
            "recv_topk_idx": self.topk_idx,
            "recv_topk_weights": self.topk_weights,
            "recv_src_idx": self.handle.recv_src_idx,
            "n_tokens_to_rank": self.tokens_to_rank,
            "n_tokens_from_rank": self.tokens_from_rank,
            "send_row": self.handle.send_row,
            "expert_offsets": self.expert_offsets,
            "expert_counts": self.expert_counts,
            "list_rows": self.list_rows,
            "list_weights": self.list_weights,
            "peer_blocks": self.handle.peer_blocks,
            "peer_rows": self.handle.peer_rows,
        }
        return {name: array for name, array in named.items() if array is not None}
