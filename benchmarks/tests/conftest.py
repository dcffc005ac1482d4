# ===- conftest.py - where the tests find the benchmark -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
