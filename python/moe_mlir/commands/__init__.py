# ===- __init__.py - commands of python -m moe_mlir -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Commands of ``python -m moe_mlir``; each module has ``add_parser`` and ``run``."""
