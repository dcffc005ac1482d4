#===- alltoallv_op.py - what moe.alltoallv means -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What `moe.alltoallv` means, for all ranks at once."""

import numpy as np

from .errors import CAPACITY_EXCEEDED, INVALID_COUNT, SpecifiedError
from .values import poison


def alltoallv(send, counts, capacity, overflow="error"):
    """Returns (recv, recv_counts, valid)."""
    ranks = len(send)
    bad = []
    for rank in range(ranks):
        limit = send[rank].shape[0]
        total = 0
        for count in counts[rank]:
            total += int(count)
            if count < 0 or total > limit:
                bad += [(rank, int(count)), (rank, total)]
    if bad:
        raise SpecifiedError(
            INVALID_COUNT, [v for _, v in bad], None, [r for r, _ in bad]
        )
    needed = [sum(int(c[dest]) for c in counts) for dest in range(ranks)]
    over = [d for d in range(ranks) if needed[d] > capacity]
    if over and overflow == "error":
        seen = [needed[d] for d in over]
        raise SpecifiedError(CAPACITY_EXCEEDED, seen, capacity, over)
    recv, recv_counts, valid = [], [], []
    for dest in range(ranks):
        rows = []
        for sender in range(ranks):
            start = int(counts[sender][:dest].sum())
            rows += list(send[sender][start : start + int(counts[sender][dest])])
        buffer = poison((capacity, *send[0].shape[1:]), send[0].dtype)
        for i, row in enumerate(rows[:capacity]):
            buffer[i] = row
        recv.append(buffer)
        recv_counts.append(np.array([c[dest] for c in counts], np.int32))
        valid.append(np.arange(capacity) < len(rows))
    return recv, recv_counts, valid
