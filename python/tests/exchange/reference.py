# ===- reference.py - a dense layer and its gradients in numpy -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""A layer whose expert `e` multiplies by `factor[e]`, on one process.

All values are small whole numbers, so that every sum is exact in every type and
order, and results can be compared bit by bit.
"""

from __future__ import annotations

import job
import numpy as np


class Layer:
    """Inputs of all ranks, and what comes out of the layer and its gradients."""

    def __init__(self, plan, ranks, generator, *, repeat=True):
        self.plan, self.ranks = plan, ranks
        bound, top_k = plan.token_bound, plan.top_k
        tokens = [bound] * ranks
        if plan.max_tokens is not None:
            tokens = [int(generator.integers(0, bound + 1)) for _ in range(ranks)]
            tokens[int(generator.integers(ranks))] = 0
        back = job.DTYPES[plan.combine_dtype]
        index = job.DTYPES[plan.index_dtype]

        def whole(shape, low, high, dtype):
            return generator.integers(low, high, shape).astype(dtype)

        self.factor = whole(plan.num_experts, -2, 3, np.float64)
        self.x = [whole((t, plan.hidden), -2, 3, job.DTYPES[plan.dtype]) for t in tokens]
        self.weights = [whole((t, top_k), -1, 3, np.float32) for t in tokens]
        self.grad_out = [whole((t, plan.hidden), -2, 3, back) for t in tokens]
        self.idx = []
        for count in tokens:
            idx = np.empty((count, top_k), index)
            for t in range(count):
                idx[t] = generator.permutation(plan.num_experts)[:top_k]
            idx[generator.random(idx.shape) < 0.15] = -1
            if repeat and count:
                idx[0, -1] = idx[0, 0]
            self.idx.append(idx)

    def slot_factors(self, rank):
        """Factor of the expert of each slot; 0 where there is none."""
        idx = self.idx[rank]
        return np.where(idx >= 0, self.factor[np.maximum(idx, 0)], 0.0)

    def out(self, rank):
        scale = (self.weights[rank] * self.slot_factors(rank)).sum(1, keepdims=True)
        return scale * self.x[rank].astype(np.float64)

    def grad_x(self, rank):
        scale = (self.weights[rank] * self.slot_factors(rank)).sum(1, keepdims=True)
        return scale * self.grad_out[rank].astype(np.float64)

    def grad_weights(self, rank):
        products = self.x[rank].astype(np.float64) * self.grad_out[rank]
        return self.slot_factors(rank) * products.sum(1, keepdims=True)


def same(found, expected):
    """Whether arrays are equal, and the expected values exact in their type."""
    rounded = expected.astype(found.dtype)
    assert np.array_equal(rounded.astype(np.float64), expected), "inexact reference"
    return np.array_equal(found, rounded)
