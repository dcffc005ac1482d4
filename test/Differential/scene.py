#===- scene.py - a small case worked out by hand -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Arrays, and the case that tests of the oracle work out by hand."""

import numpy as np

import oracle
from oracle import DispatchAttrs

F32 = np.float32


def i32(*rows):
    return np.array(rows, np.int32)


def f32(*rows):
    return np.array(rows, np.float32)


def scene(layout="rank_major", **attrs):
    """Two ranks, five experts (0 1 2 | 3 4), T 3 and 2, K 2, T_max 4."""
    attrs = DispatchAttrs(2, 5, layout, max_tokens=4, **attrs)
    x = [f32([10], [11], [12]), f32([20], [21])]
    idx = [i32([0, 3], [2, 1], [-1, -1]), i32([4, 2], [1, 1])]
    weights = [
        f32([0.5, 0.25], [1, 2], [7, 7]), f32([3, 4], [0.75, 0.125])
    ]
    return attrs, x, idx, weights


def poisoned(dtype, count):
    return oracle.poison((count,), np.dtype(dtype)).tolist()
