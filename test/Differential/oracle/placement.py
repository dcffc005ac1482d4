#===- placement.py - which rank owns an expert, and a row -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Which experts a rank owns, and where the rows of a token are."""

import numpy as np


def owned_experts(num_experts: int, ranks: int, rank: int) -> range:
    """placement_s1: blocks in rank order, the first E mod R own one more."""
    q, m = divmod(num_experts, ranks)
    first = rank * q + min(rank, m)
    return range(first, first + q + (1 if rank < m else 0))


def owner(expert: int, num_experts: int, ranks: int) -> int:
    for rank in range(ranks):
        if expert in owned_experts(num_experts, ranks, rank):
            return rank
    raise AssertionError(f"expert {expert} has no owner")


def max_local_experts(num_experts: int, ranks: int) -> int:
    return -(-num_experts // ranks)


def align_up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


def merge_repeated(idx: np.ndarray, weights: np.ndarray):
    """placement_s3: the first occurrence stands for all, with the f32 sum."""
    idx = idx.copy()
    weights = weights.copy()
    for t in range(idx.shape[0]):
        first = {}
        for k in range(idx.shape[1]):
            expert = int(idx[t, k])
            if expert != -1 and expert not in first:
                first[expert] = k
                continue
            if expert != -1:
                at = first[expert]
                with np.errstate(all="ignore"):
                    weights[t, at] = np.float32(weights[t, at] + weights[t, k])
                idx[t, k] = -1
            weights[t, k] = 0.0
    return idx, weights


def row_places(attrs_layout, num_experts, ranks, send_row, topk_idx, rank, t):
    """The (rank, expert, row) places of token `t`, ascending."""
    places = []
    for column, row in enumerate(send_row[rank][t]):
        if row == -1:
            continue
        if attrs_layout == "expert_major":
            expert = int(topk_idx[rank][t, column])
            places.append((owner(expert, num_experts, ranks), expert, int(row)))
        else:
            places.append((column, 0, int(row)))
    return sorted(places)
