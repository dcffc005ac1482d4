#===- dispatch_op.py - what moe.dispatch means -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What `moe.dispatch` means, for all ranks at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .blocks import find_blocks, peer_blocks, peer_rows
from .errors import CAPACITY_EXCEEDED, INVALID_EXPERT, SpecifiedError, check_tokens
from .lists import expert_lists
from .padding import pad
from .placement import merge_repeated, owned_experts
from .rows import expert_rows, rank_rows
from .values import poison


@dataclass
class DispatchResult:
    recv_x: list = field(default_factory=list)
    recv_scales: list | None = None
    recv_topk_idx: list = field(default_factory=list)
    recv_topk_weights: list = field(default_factory=list)
    recv_src_idx: list = field(default_factory=list)
    n_tokens_to_rank: list = field(default_factory=list)
    n_tokens_from_rank: list = field(default_factory=list)
    send_row: list = field(default_factory=list)
    expert_offsets: list | None = None
    expert_counts: list | None = None
    list_rows: list | None = None
    list_weights: list | None = None
    peer_blocks: list | None = None
    peer_rows: list | None = None
    valid: list = field(default_factory=list)  # rows of the receive buffers
    needed: list = field(default_factory=list)  # rows, had C been unlimited


def check_experts(attrs, topk_idx):
    bad = [
        (rank, int(expert))
        for rank, idx in enumerate(topk_idx)
        for expert in idx.reshape(-1)
        if not -1 <= int(expert) < attrs.num_experts
    ]
    if bad:
        raise SpecifiedError(
            INVALID_EXPERT, [e for _, e in bad], None, [r for r, _ in bad]
        )


def dispatch(attrs, x, topk_idx, topk_weights, scales=None) -> DispatchResult:
    ranks = attrs.ranks
    k = topk_idx[0].shape[1]
    capacity = attrs.rows(k)
    check_tokens(attrs, [a.shape[0] for a in x])
    check_experts(attrs, topk_idx)
    merged = [merge_repeated(i, w) for i, w in zip(topk_idx, topk_weights)]
    idx = [i for i, _ in merged]
    weights = [w for _, w in merged]

    expert_major = attrs.layout == "expert_major"
    plan, offsets, counts = [], [], []
    for dest in range(ranks):
        if expert_major:
            rows, dest_offsets, dest_counts = expert_rows(attrs, idx, dest)
            offsets.append(np.array(dest_offsets, np.int32))
            counts.append(np.array(dest_counts, np.int32))
        else:
            rows = rank_rows(attrs, idx, dest)
        plan.append(rows)

    out = DispatchResult()
    out.needed = [max([r.row + 1 for r in rows], default=0) for rows in plan]
    over = [d for d in range(ranks) if out.needed[d] > capacity]
    if over and attrs.overflow == "error":
        seen = [out.needed[d] for d in over]
        if expert_major:
            # An empty last group may be counted with its alignment.
            seen += [int(offsets[d][-1] + counts[d][-1]) for d in over]
        raise SpecifiedError(CAPACITY_EXCEEDED, seen, capacity, over)

    true_counts = np.zeros((ranks, ranks), np.int32)  # [sender, dest]
    for dest in range(ranks):
        for row in plan[dest]:
            true_counts[row.sender, dest] += 1
    out.n_tokens_to_rank = [true_counts[r].copy() for r in range(ranks)]
    out.n_tokens_from_rank = [true_counts[:, r].copy() for r in range(ranks)]
    if expert_major:
        out.expert_offsets, out.expert_counts = offsets, counts
    if attrs.keep_blocks:
        blocks = find_blocks(attrs, plan, offsets, idx, capacity)
        out.peer_blocks = peer_blocks(blocks)
        out.peer_rows = peer_rows(attrs, blocks)
    columns = k if expert_major else ranks
    out.send_row = [
        np.full((x[r].shape[0], columns), -1, np.int32) for r in range(ranks)
    ]
    if scales is not None:
        out.recv_scales = []

    for dest in range(ranks):
        local = owned_experts(attrs.num_experts, ranks, dest)
        recv_x = poison((capacity, x[0].shape[1]), x[0].dtype)
        per_row = () if expert_major else (k,)
        recv_idx = poison((capacity, *per_row), idx[0].dtype)
        recv_weights = poison((capacity, *per_row), np.dtype(np.float32))
        recv_src = poison((capacity,), np.dtype(np.int32))
        valid = np.zeros(capacity, bool)
        if scales is not None:
            recv_scales = poison((capacity, scales[0].shape[1]), scales[0].dtype)
        for row in plan[dest]:
            if row.row >= capacity:
                continue
            assert not valid[row.row]
            valid[row.row] = True
            s, t = row.sender, row.token
            recv_x[row.row] = x[s][t]
            if scales is not None:
                recv_scales[row.row] = scales[s][t]
            recv_src[row.row] = s * attrs.t_max + t
            if expert_major:
                recv_idx[row.row] = idx[s][t, row.slot]
                recv_weights[row.row] = weights[s][t, row.slot]
                out.send_row[s][t, row.slot] = row.row
            else:
                here = np.array([int(e) in local for e in idx[s][t]])
                recv_idx[row.row] = np.where(here, idx[s][t], -1)
                recv_weights[row.row] = np.where(here, weights[s][t], 0)
                out.send_row[s][t, dest] = row.row
        pad(
            attrs, valid, recv_x=recv_x, recv_topk_idx=recv_idx,
            recv_topk_weights=recv_weights, recv_src_idx=recv_src,
        )
        out.recv_x.append(recv_x)
        out.recv_topk_idx.append(recv_idx)
        out.recv_topk_weights.append(recv_weights)
        out.recv_src_idx.append(recv_src)
        out.valid.append(valid)
        if scales is not None:
            pad(attrs, valid, recv_scales=recv_scales)
            out.recv_scales.append(recv_scales)
    if attrs.list_alignment is not None:
        lists = [
            expert_lists(attrs, *received, dest) for dest, received in enumerate(
                zip(out.recv_topk_idx, out.recv_topk_weights, out.valid)
            )
        ]
        out.expert_offsets, out.expert_counts, out.list_rows, out.list_weights = (
            list(field) for field in zip(*lists)
        )
    return out
