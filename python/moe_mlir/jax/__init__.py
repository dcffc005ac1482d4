# ===- __init__.py - exchanges in JAX programs -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Exchanges inside `jax.jit` and `jax.shard_map`, forward and backward.

:class:`ExpertParallel` loads a plan on the devices along an axis of a mesh. Its
`dispatch` and `combine` are calls of XLA's foreign function interface: artifacts
run on XLA's stream, in XLA's buffers. `Received` and `Handle` are pytrees.

Importing this imports JAX. It registers the calls with XLA.
"""

from __future__ import annotations

from moe_mlir.exchange import Handle, Received

from ._register import register
from .parallel import ExpertParallel

register()

__all__ = ["ExpertParallel", "Handle", "Received"]
