#===- moe_mlir/runtime/__init__.py - run artifacts ----------*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Run artifacts: join a group of ranks, load an artifact, call its entries.

Needs `libmoe_runtime.so` alone: neither LLVM nor the compiler is loaded.
"""

from moe_mlir._runtime import version

__all__ = ["version"]
