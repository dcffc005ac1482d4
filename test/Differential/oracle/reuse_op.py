#===- reuse_op.py - what moe.dispatch with reuse means -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What `moe.dispatch` along the routes of an earlier one means."""

import numpy as np

from .errors import check_rows, check_tokens
from .padding import pad
from .placement import row_places
from .values import poison


def dispatch_reuse(attrs, x, send_row, topk_idx=None, scales=None):
    """dispatch_s10. Returns (recv_x, recv_scales or None, valid)."""
    k = 1 if topk_idx is None else topk_idx[0].shape[1]
    capacity = attrs.rows(k)
    check_tokens(attrs, [a.shape[0] for a in x])
    check_rows(send_row, capacity)
    recv_x = [poison((capacity, a.shape[1]), a.dtype) for a in x]
    recv_scales = None
    if scales is not None:
        recv_scales = [poison((capacity, a.shape[1]), a.dtype) for a in scales]
    valid = [np.zeros(capacity, bool) for _ in x]
    for rank in range(attrs.ranks):
        for t in range(x[rank].shape[0]):
            for dest, _, row in row_places(
                attrs.layout, attrs.num_experts, attrs.ranks, send_row,
                topk_idx, rank, t,
            ):
                assert not valid[dest][row]
                valid[dest][row] = True
                recv_x[dest][row] = x[rank][t]
                if scales is not None:
                    recv_scales[dest][row] = scales[rank][t]
    for rank, rows in enumerate(valid):
        pad(attrs, rows, recv_x=recv_x[rank])
        if scales is not None:
            pad(attrs, rows, recv_scales=recv_scales[rank])
    return recv_x, recv_scales, valid
