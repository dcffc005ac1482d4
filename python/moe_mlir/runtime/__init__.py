#===- moe_mlir/runtime/__init__.py - run artifacts ------------*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Run artifacts: join a group of ranks, load an artifact, call its entries.

Needs `libmoe_runtime.so` alone: neither LLVM nor the compiler is loaded, and no
framework before an array of it is passed in.

    import numpy as np
    from moe_mlir.runtime import run_local

    def main(group):
        layer = group.load("layer.so")["layer"]
        return layer(x[group.rank], idx[group.rank], w[group.rank])

    results = run_local(4, main)
"""

from moe_mlir._runtime import Entry, Tensor, version
from moe_mlir.runtime.artifact import LoadedArtifact, TensorType
from moe_mlir.runtime.errors import Code, MoEError
from moe_mlir.runtime.group import Group, Timing
from moe_mlir.runtime.local import run_local

__all__ = [
    "Code",
    "Entry",
    "Group",
    "LoadedArtifact",
    "MoEError",
    "Tensor",
    "TensorType",
    "Timing",
    "run_local",
    "version",
]
