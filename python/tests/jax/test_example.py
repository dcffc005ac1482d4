# ===- test_example.py - the example trains -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""examples/jax_moe, on four devices."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[3] / "examples" / "jax_moe" / "main.py"


def test_example():
    done = subprocess.run(
        [sys.executable, SCRIPT], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    first, last = (float(line.split()[3].rstrip(",")) for line in (lines[0], lines[-2]))
    assert last < first
    assert lines[-1].startswith("4 devices: gradients differ by at most ")
