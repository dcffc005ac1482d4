# ===- test_example.py - the example trains -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""examples/jax_moe trains as a dense model does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

SCRIPT = Path(__file__).resolve().parents[3] / "examples" / "jax_moe" / "train.py"
SECONDS = 400


def test_losses_follow_the_dense_model(tmp_path):
    """Step by step; the example compares 200 of them, and fails itself when they part."""
    steps, written = 12, tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--steps", str(steps), "--json", written], capture_output=True,
        text=True, timeout=SECONDS, check=False, env={**os.environ, "XLA_FLAGS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 ranks on cpu: losses differ by at most" in done.stdout
    found = json.loads(written.read_text())
    parallel, dense, load = (np.array(found[name]) for name in ("parallel", "dense", "load"))
    assert len(parallel) == steps
    np.testing.assert_allclose(parallel, dense, rtol=0, atol=1e-5)
    assert found["doubt"] < 1e-5
    assert dense[-3:].mean() < dense[:3].mean() - 1
    # Each of 256 tokens has two of eight experts, in both blocks.
    assert load.shape == (steps, 2, 8)
    assert (load.sum(-1) == 512).all()
