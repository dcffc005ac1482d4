#===- blocks.py - where the rows of pairs of ranks lie -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What a dispatch keeps for later ops: the blocks of rows, and their messages."""

from __future__ import annotations

import numpy as np

from .placement import max_local_experts, owned_experts


def find_blocks(attrs, plan, offsets, idx, capacity):
    """First row and number of rows of every block: sender×receiver×part×2."""
    ranks, by_expert = attrs.ranks, attrs.layout == "expert_major"
    parts = 1
    if by_expert:
        parts = max_local_experts(attrs.num_experts, ranks)
    blocks = np.zeros((ranks, ranks, parts, 2), np.int64)
    for dest, rows in enumerate(plan):
        local = owned_experts(attrs.num_experts, ranks, dest)
        for row in rows:
            part = 0
            if by_expert:
                part = int(idx[row.sender][row.token, row.slot]) - local[0]
            blocks[row.sender, dest, part, 1] += 1
        for part in range(len(local) if by_expert else 1):
            first = offsets[dest][part] if by_expert else 0
            for sender in range(ranks):
                if attrs.layout == "slab":
                    first = sender * attrs.t_max
                blocks[sender, dest, part, 0] = first
                first += blocks[sender, dest, part, 1]
    if attrs.overflow == "drop" and attrs.layout != "slab":
        first, count = blocks[..., 0], blocks[..., 1]
        np.minimum(first, capacity, out=first)
        np.minimum(count, capacity - first, out=count)
    return blocks


def peer_blocks(blocks):
    """For each rank, 2×R×P×2: its rows on others, and theirs here."""
    return [
        np.stack([blocks[rank], blocks[:, rank]]).astype(np.int32)
        for rank in range(len(blocks))
    ]


def box(blocks):
    """Of the blocks of a rank with all others: where each rank's rows begin when
    all lie one behind the other, and how many they are."""
    counts = blocks[..., 1].sum(1)
    return np.cumsum(counts) - counts, counts


def peer_rows(attrs, blocks):
    """For each rank, 4×R: first row and number of what goes to each rank, and of
    what comes from it."""
    result = []
    for rank in range(len(blocks)):
        theirs = blocks[:, rank]
        if attrs.layout == "expert_major":
            received = box(theirs)
        else:
            received = theirs[:, 0, 0], theirs[:, 0, 1]
        result.append(np.stack([*box(blocks[rank]), *received]).astype(np.int32))
    return result
