# ===- routing.py - bytes of an exchange -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What a routing costs: rows and bytes that leave a rank."""

import numpy as np


def rows_to_ranks(idx, ranks, experts, layout):
    """Rows this rank sends to each rank. `idx` is tokens x top-k expert ids,
    -1 for none; experts lie in blocks in rank order, the first ranks own one
    more when they do not divide evenly."""
    idx = np.sort(np.asarray(idx), axis=1)
    quotient, more = divmod(experts, ranks)
    starts = np.array([r * quotient + min(r, more) for r in range(1, ranks)])
    owner = np.where(idx >= 0, np.searchsorted(starts, idx, side="right"), -1)
    # A repeated expert counts once.
    again = np.zeros(idx.shape, dtype=bool)
    again[:, 1:] = idx[:, 1:] == idx[:, :-1]
    rows = np.zeros(ranks, dtype=np.int64)
    for rank in range(ranks):
        there = (owner == rank) & ~again
        rows[rank] = np.count_nonzero(there if layout == "expert_major" else there.any(axis=1))
    return rows


def bytes_out(rows, rank, row_bytes):
    """Of rows alone, those that stay on the rank left out."""
    return int((rows.sum() - rows[rank]) * row_bytes)


def combine_bytes_out(all_rows, rank, row_bytes):
    """all_rows[s][r]: rows that rank s dispatched to r. A combine takes them
    back, so rows of other senders leave this rank."""
    received = np.asarray(all_rows)[:, rank]
    return int((received.sum() - received[rank]) * row_bytes)
