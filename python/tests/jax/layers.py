# ===- layers.py - a layer by exchanges, and a dense one -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""A layer whose expert `e` multiplies by `factor[e]`.

Values are whole numbers small enough that every product and sum is exact in every
type, so results are compared bit by bit: the tolerance is 0. Sums of 16-bit and 8-bit
types differ by their order alone, so any tolerance would only hide a row too many.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax.sharding import Mesh, PartitionSpec

TOKENS, EXPERTS, TOP_K, HIDDEN = 6, 7, 3, 8  # neither 2 nor 4 divides 7
USUAL = {"num_experts": EXPERTS, "top_k": TOP_K, "hidden": HIDDEN, "max_tokens": TOKENS}
USUAL |= {"padding": "zero", "gradients": True}


def mesh_of(ranks: int, axis: str = "ep") -> Mesh:
    return Mesh(np.array(jax.devices()[:ranks]), (axis,))


def numpy_type(name: str) -> np.dtype:
    names = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}
    names |= {"f8E4M3FN": ml_dtypes.float8_e4m3fn, "f8E5M2": ml_dtypes.float8_e5m2}
    names |= {"i8": np.int8, "i32": np.int32, "i64": np.int64}
    return np.dtype(names[name])


def inputs(generator, plan, ranks, tokens=TOKENS):
    """x, ids, weights, and the experts' factors, of all ranks below each other."""
    count = ranks * tokens
    x = generator.integers(-1, 2, (count, plan.hidden)).astype(numpy_type(plan.dtype))
    idx = np.argsort(generator.random((count, plan.num_experts)))[:, : plan.top_k]
    idx = idx.astype(numpy_type(plan.index_dtype))
    idx[generator.random(idx.shape) < 0.15] = -1
    weights = generator.integers(-1, 3, (count, plan.top_k)).astype(np.float32)
    factor = generator.integers(-1, 2, plan.num_experts).astype(np.float32)
    return x, idx, weights, factor


def factors_of(idx, factor):
    return jnp.where(idx >= 0, factor[jnp.maximum(idx, 0)], 0)


def layer(ep, x, idx, weights, factor):
    """The layer on one rank."""
    plan = ep.plan
    recv = ep.dispatch(x, idx, weights)
    scale = factors_of(recv.topk_idx, factor)
    rows = recv.x.astype(jnp.float32)
    if plan.is_expert_major and plan.combine_weights:
        y = scale[:, None] * rows
        return ep.combine(y.astype(numpy_type(plan.combine_dtype)), recv.handle, recv.topk_weights)
    scale = scale * recv.topk_weights
    scale = scale if plan.is_expert_major else scale.sum(1)
    y = scale[:, None] * rows
    return ep.combine(y.astype(numpy_type(plan.combine_dtype)), recv.handle)


def dense(x, idx, weights, factor):
    scale = (factors_of(idx, factor) * weights).sum(1, keepdims=True)
    return scale * x.astype(jnp.float32)


def spread(ep, function, *, factor_last=True):
    """The function of one rank, on all of them."""
    along = PartitionSpec(ep.axis)
    specs = (along, along, along) + (PartitionSpec(),) * factor_last
    return jax.shard_map(function, mesh=ep.mesh, in_specs=specs, out_specs=along)


def same(found, expected) -> bool:
    return np.array_equal(
        np.asarray(found).astype(np.float64), np.asarray(expected).astype(np.float64)
    )
