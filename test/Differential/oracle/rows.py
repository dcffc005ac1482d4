#===- rows.py - which rows a dispatch makes -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Which rows a dispatch makes, and where it puts them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .placement import align_up, max_local_experts, merge_repeated, owned_experts


@dataclass
class Row:
    """A row of a receive buffer: where it is, where it came from, its slot."""

    row: int
    sender: int
    token: int
    slot: int | None = None  # expert_major: the k of its expert


def rank_rows(attrs, idx, dest):
    """rank_major and slab: one row per token with an expert on `dest`."""
    local = owned_experts(attrs.num_experts, attrs.ranks, dest)
    rows = []
    for sender in range(attrs.ranks):
        tokens = [
            t
            for t in range(idx[sender].shape[0])
            if any(int(e) in local for e in idx[sender][t])
        ]
        if attrs.order == "expert":
            tokens.sort(key=lambda t: (int(idx[sender][t, 0]), t))
        for i, token in enumerate(tokens):
            if attrs.layout == "slab":
                rows.append(Row(sender * attrs.t_max + i, sender, token))
            else:
                rows.append(Row(len(rows), sender, token))
    return rows


def expert_rows(attrs, idx, dest):
    """expert_major: one row per (token, local expert), in aligned groups."""
    local = owned_experts(attrs.num_experts, attrs.ranks, dest)
    rows, offsets, counts = [], [], []
    end = 0
    for j in range(max_local_experts(attrs.num_experts, attrs.ranks)):
        start = align_up(end, attrs.alignment)
        end = start
        if j < len(local):
            for sender in range(attrs.ranks):
                for token, slot in zip(*np.nonzero(idx[sender] == local[j])):
                    rows.append(Row(end, sender, int(token), int(slot)))
                    end += 1
        offsets.append(start)
        counts.append(end - start)
    return rows, offsets, counts


def rows_needed(attrs, topk_idx):
    """Rows that each rank would receive if capacity were unlimited."""
    idx = [merge_repeated(i, np.zeros(i.shape, np.float32))[0] for i in topk_idx]
    plan = []
    for dest in range(attrs.ranks):
        if attrs.layout == "expert_major":
            plan.append(expert_rows(attrs, idx, dest)[0])
        else:
            plan.append(rank_rows(attrs, idx, dest))
    return [max([r.row + 1 for r in rows], default=0) for rows in plan]
