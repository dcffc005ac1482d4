# ===- _axes.py - how arrays vary in a shard_map -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The axes of a mesh along which an array may differ, as JAX's types have them.

Releases of JAX name them differently. With ``check_vma=False`` types have none.
"""

from __future__ import annotations

from typing import Any

import jax


def varying_axes(*arrays: Any) -> frozenset[str]:
    """The axes along which any of the arrays may differ."""
    found: frozenset[str] = frozenset()
    for array in arrays:
        kind = jax.typeof(array)
        manual = getattr(kind, "manual_axis_type", None)
        found |= getattr(kind, "vma", frozenset()) if manual is None else manual.varying
    return found


def vary(array: jax.Array, axes: frozenset[str]) -> jax.Array:
    """The array as one that may differ along more axes."""
    missing = tuple(sorted(axes - varying_axes(array)))
    if not missing:
        return array
    result: jax.Array = jax.lax.pcast(array, missing, to="varying")
    return result


def result_type(shape: tuple[int, ...], dtype: Any, like: jax.Array) -> Any:
    """The type of a result that may differ along the axes that `like` does."""
    axes = varying_axes(like)
    manual = getattr(jax.sharding, "ManualAxisType", None)
    if manual is None:
        return jax.ShapeDtypeStruct(shape, dtype, vma=axes)
    mesh = jax.typeof(like).sharding.mesh
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return jax.ShapeDtypeStruct(
        shape, dtype, sharding=sharding, manual_axis_type=manual(varying=axes)
    )
