#===- lists.py - the lists of a dispatch -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""The lists of a dispatch: which received rows each expert takes."""

import numpy as np

from .placement import align_up, max_local_experts, owned_experts


def expert_lists(attrs, idx, weights, valid, dest):
    """dispatch_s14, dispatch_s15: the received rows that each expert takes."""
    places = attrs.list_places(idx.shape[1])
    rows = np.full(places, -1, np.int32)
    row_weights = np.zeros(places, np.float32)
    local = owned_experts(attrs.num_experts, attrs.ranks, dest)
    offsets, counts = [], []
    end = 0
    for j in range(max_local_experts(attrs.num_experts, attrs.ranks)):
        offsets.append(align_up(end, attrs.list_alignment))
        end = offsets[j]
        for row in np.nonzero(valid)[0] if j < len(local) else ():
            for k in np.nonzero(idx[row] == local[j])[0]:
                rows[end], row_weights[end] = row, weights[row, k]
                end += 1
        counts.append(end - offsets[j])
    return np.array(offsets, np.int32), np.array(counts, np.int32), rows, row_weights
