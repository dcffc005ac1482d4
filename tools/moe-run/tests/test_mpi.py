# ===- test_mpi.py - jobs of mpirun ----------------------------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Jobs that mpirun starts."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from support import MOE_RUN, SANITIZE, FAIL, KILL


def mpirun(runner, ranks):
    program = shutil.which("mpirun")
    if not program:
        pytest.skip("mpirun is not installed")
    plugin = os.path.join(os.path.dirname(MOE_RUN), "../lib",
                          "libmoe_bootstrap_mpi.so")
    if not os.path.exists(plugin):
        pytest.skip("the MPI plug-in was not built")
    if SANITIZE:
        pytest.skip("Open MPI is not sanitized")
    # Open MPI keeps its session folder in TMPDIR, and removes it at the end.
    return [program, "--allow-run-as-root", "--oversubscribe", "-n",
            str(ranks), "--mca", "btl", "self,vader", "--mca",
            "btl_vader_single_copy_mechanism", "none"]


def mpi_errors(result):
    return [line for line in result.stderr.splitlines()
            if line.startswith("moe-run: error: ")]


def test_mpi_job(runner):
    prefix = mpirun(runner, 4)
    result = runner.run(*runner.exchange(), "--out", "y{rank}.npy", "--json",
                        prefix=prefix)
    assert len(json.loads(result.stdout)["per_rank"]) == 4
    for rank in range(4):
        np.testing.assert_array_equal(runner.load(f"y{rank}.npy"),
                                      np.concatenate(runner.rows))
    assert len(runner.outputs()) == 4


def test_mpi_job_that_fails(runner):
    prefix = mpirun(runner, 4)
    result = runner.run(*runner.exchange(FAIL, who=2), "--out", "y{rank}.npy",
                        prefix=prefix, code=1)
    assert mpi_errors(result) == [
        "moe-run: error: rank 2: test.gather at exchange.c:1:1, phase 'put': "
        "invalid expert: expert id: expected at most 7, seen 12"]
    assert runner.outputs() == []


def test_mpi_job_with_bad_input(runner):
    prefix = mpirun(runner, 4)
    args = runner.exchange()
    (runner.folder / "x3.npy").write_bytes(b"nothing")
    result = runner.run(*args, "--out", "y{rank}.npy", prefix=prefix, code=1)
    assert mpi_errors(result) == [
        "moe-run: error: rank 3: argument 2: x3.npy: not a .npy file"]
    assert runner.outputs() == []


def test_mpi_job_whose_rank_dies(runner):
    prefix = mpirun(runner, 4)
    command = [*prefix, MOE_RUN,
               *runner.exchange(KILL, who=1), "--out", "y{rank}.npy"]
    result = subprocess.run(command, cwd=runner.folder, env=runner.env,
                            text=True, timeout=60, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)
    assert result.returncode != 0
    assert runner.outputs() == []


def test_mpi_job_of_the_wrong_size(runner):
    prefix = mpirun(runner, 3)
    args = runner.exchange()
    result = runner.run(*args, prefix=prefix, code=1)
    assert len(mpi_errors(result)) == 1
    assert "the artifact is for 4 ranks, but the group has 3" in result.stderr
    result = runner.run("-n", 4, *args, prefix=prefix, code=2)
    assert "-n 4, but the MPI job has 3 processes" in result.stderr
