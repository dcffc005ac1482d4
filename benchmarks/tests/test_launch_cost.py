# ===- test_launch_cost.py - moe-launch-cost on the stand-in driver -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""That the program measures; not what. Its figures are for docs/Benchmarks.md."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from gpu import modules, shapes

BIN = Path(os.environ["MOE_BIN_DIR"]).absolute()
RANKS = 2


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """Dispatch and combine of a model, for CUDA."""
    folder = tmp_path_factory.mktemp("artifact")
    model = next(m for m in shapes.models() if m.name == "olmoe")
    (folder / "module.mlir").write_text(modules.exchange_module(model, RANKS, 16, "slab"))
    subprocess.run([BIN / "moe-compile", "module.mlir", "--target=cuda", "-o", "module.so"],
                   cwd=folder, check=True, timeout=120)
    return folder / "module.so"


def run(*args, **env):
    command = [BIN / "moe-launch-cost", *map(str, args)]
    env = {**os.environ, "LD_LIBRARY_PATH": os.environ["MOE_STANDIN_DRIVER_DIR"],
           "MOE_STANDIN_IDLE": "1", **env}
    return subprocess.run(command, env=env, text=True, capture_output=True, timeout=120, check=False)


def test_each_entry_has_a_time(artifact):
    result = run(RANKS, 20, 3, artifact, "dispatch", "combine")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    for line, name in zip(lines, ("dispatch", "combine")):
        match = re.fullmatch(rf"{name} +\d+ arguments, \d+ results: (\d+) ns", line)
        assert match and 0 < int(match[1]) < 1e9, line


def test_errors_are_those_of_the_runtime(artifact):
    result = run(RANKS, 20, 0, artifact, "no_such_entry")
    assert result.returncode == 1
    assert "no_such_entry" in result.stderr
    assert run(RANKS, 0, 0, artifact, "dispatch").returncode == 2


def test_kernels_that_work_are_refused(artifact):
    result = run(RANKS, 20, 0, artifact, "dispatch", MOE_STANDIN_IDLE="0")
    assert result.returncode == 2
    assert "MOE_STANDIN_IDLE=1" in result.stderr
