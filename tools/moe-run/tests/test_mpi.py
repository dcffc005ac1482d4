# ===- test_mpi.py - jobs of mpirun ----------------------------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Jobs that mpirun starts. Faults of their ranks are in test_job_faults.py,
and of their processes in test_job_processes.py."""

import json
import os
import signal
import subprocess
import time

import numpy as np

from support import FAIL, LOOP, MOE_RUN, artifact, errors, mpirun, processes


def test_mpi_job(runner):
    prefix = mpirun(4)
    result = runner.run(*runner.exchange(), "--out", "y{rank}.npy", "--json",
                        prefix=prefix)
    assert len(json.loads(result.stdout)["per_rank"]) == 4
    for rank in range(4):
        np.testing.assert_array_equal(runner.load(f"y{rank}.npy"),
                                      np.concatenate(runner.rows))
    assert len(runner.outputs()) == 4


def test_one_process_starts_all_ranks(runner):
    runner.run("-n", 4, *runner.exchange(), "--out", "y{rank}.npy",
               prefix=mpirun(1))
    assert len(runner.outputs()) == 4


def test_mpi_job_that_fails(runner):
    result = runner.run(*runner.exchange(FAIL, who=2), "--out", "y{rank}.npy",
                        prefix=mpirun(4), code=1)
    assert errors(result.stderr) == [
        "rank 2: test.gather at exchange.c:1:1, phase 'put': "
        "invalid expert: expert id of token 3, slot 1: expected -1 to 7, seen 12"]
    assert runner.outputs() == []


def test_mpi_job_with_bad_input(runner):
    args = runner.exchange()
    (runner.folder / "x3.npy").write_bytes(b"nothing")
    result = runner.run(*args, "--out", "y{rank}.npy", prefix=mpirun(4),
                        code=1)
    assert errors(result.stderr) == [
        "rank 3: argument 2: x3.npy: not a .npy file"]
    assert runner.outputs() == []


def test_mpi_job_of_the_wrong_size(runner):
    args = runner.exchange()
    result = runner.run(*args, prefix=mpirun(3), code=1)
    assert errors(result.stderr) == [
        f"rank 0: {args[0]}: the artifact is for 4 ranks, but the group has 3"]
    result = runner.run("-n", 4, *args, prefix=mpirun(3), code=2)
    assert errors(result.stderr) == [
        "-n 4, but the Open MPI job has 3 processes"]


def test_what_all_processes_find_is_said_once(runner):
    args = runner.exchange()
    args[0] = "missing.so"
    result = runner.run(*args, prefix=mpirun(3), code=2)
    assert errors(result.stderr) == ["missing.so: No such file or directory"]
    result = runner.run("--frobnicate", prefix=mpirun(3), code=2)
    assert errors(result.stderr) == ["unknown option '--frobnicate'"]


def test_one_rank_of_another_program(runner):
    # It never comes, but mpirun waits for it as for the others.
    command = [*mpirun(3), MOE_RUN, "--timeout", "5", *runner.exchange(),
               ":", "-n", "1", "sleep", "100"]
    result = subprocess.run(command, cwd=runner.folder, env=runner.env,
                            text=True, timeout=60, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)
    assert result.returncode == 1
    (error,) = errors(result.stderr)
    assert "rank 3 did not come within 5 s; each of the 4 processes" in error
    assert os.uname().nodename in error


def start_looping(runner):
    """A job that goes on until it is ended."""
    args = runner.exchange(LOOP)
    process = subprocess.Popen(
        [*mpirun(4), MOE_RUN, *args, "--timeout", "1000", "--out",
         "y{rank}.npy"],
        cwd=runner.folder, env=runner.env, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    deadline = time.time() + 30
    # mpirun, and two for each rank.
    while len(processes(runner.marker)) < 9 and time.time() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    return process


def test_mpi_job_that_is_interrupted(runner):
    process = start_looping(runner)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode != 0
    assert len(errors(stderr)) <= 1
    assert runner.outputs() == []


def test_processes_end_with_mpirun(runner):
    process = start_looping(runner)
    process.kill()
    process.communicate(timeout=30)
    # The fixture checks that all are gone. What mpirun kept is its own.
    for path in runner.tmp.rglob("*"):
        assert "moe-run" not in path.name
    subprocess.run(["rm", "-rf", *map(str, runner.tmp.iterdir())], check=True)
    assert runner.outputs() == []


def test_any_number_of_ranks_of_an_artifact_that_takes_them(runner):
    for rank in range(3):
        runner.save(f"x{rank}.npy", np.full((2, 2), rank, np.float32))
    runner.run(artifact("local"), "--entry", "copy_f32", "--in", "x{rank}.npy",
               "--out", "y{rank}.npy", prefix=mpirun(3))
    assert runner.load("y2.npy")[0, 0] == 2
