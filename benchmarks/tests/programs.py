# ===- programs.py - runs what needs the built package -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Runs programs that import the benchmarks, the tests of GPUs and the built package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("MOE_BIN_DIR", ROOT / "build" / "bin")).absolute()
PACKAGE = BIN.parent / "python"


def run(program, *arguments, **environment):
    """What the program prints; skips the test where there is no package."""
    if not (PACKAGE / "moe_mlir").exists():
        pytest.skip("the Python package is not built")
    folders = [PACKAGE, ROOT / "benchmarks", ROOT / "test" / "GPU"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))} | environment
    done = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], env=environment, text=True,
                          capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
