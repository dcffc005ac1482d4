# ===- _register.py - what JAX has to know -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Registers the calls with XLA, and handles as pytrees with JAX."""

from __future__ import annotations

import dataclasses
import functools

import jax

from moe_mlir import _runtime
from moe_mlir.exchange import Handle, Received

# Name of the call in programs. Programs that are compiled hold it.
TARGET = "moe_mlir.call"


@functools.cache
def register() -> None:
    """Do it, once per process.

    Raises
    ------
    ImportError
        The version of JAX is too old.
    """
    # XLA's binary interface has had other structs before.
    if jax.__version_info__ < (0, 10):
        raise ImportError(f"moe_mlir.jax: expected jax 0.10 or later, got {jax.__version__}")
    handlers = _runtime.xla_handlers()
    # Handlers on CPU devices have a state, whose type comes first.
    jax.ffi.register_ffi_type("moe_mlir.site", handlers["state"], platform="cpu")
    jax.ffi.register_ffi_target(TARGET, handlers["cpu"], platform="cpu")
    jax.ffi.register_ffi_target(TARGET, handlers["CUDA"], platform="CUDA")
    for kind in (Handle, Received):
        names = [field.name for field in dataclasses.fields(kind)]
        jax.tree_util.register_dataclass(kind, data_fields=names, meta_fields=[])
