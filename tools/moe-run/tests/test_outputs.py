# ===- test_outputs.py - outputs appear together, or not at all -------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Outputs of all ranks get their names together, on file systems with and
without unnamed files, and whatever was under these names before.
"""

import os
import re
import resource
import signal
import stat
import subprocess

import numpy as np
import pytest

from support import MOE_RUN, SANITIZE, artifact, errors, mpirun

RANKS = 3
# The errno of a file system that has no unnamed files.
UNSUPPORTED = 95


@pytest.fixture(params=["moe-run", "mpirun"])
def job(runner, request):
    """Starts a run whose results are known, and returns it with its errors."""
    for rank in range(RANKS):
        runner.save(f"x{rank}.npy", np.full((2, 4), rank, np.float32))

    def start(faults=None, output="y{rank}.npy", **kwargs):
        env = dict(runner.env)
        if faults:
            if SANITIZE:
                pytest.skip("faults are preloaded, which sanitizers refuse")
            env.update(MOE_FAULT=faults, LD_PRELOAD=artifact("fault"))
        if request.param == "mpirun":
            if SANITIZE:
                pytest.skip("Open MPI is not sanitized")
            command = [*mpirun(RANKS), MOE_RUN]
        else:
            command = [MOE_RUN, "-n", str(RANKS)]
        command += [artifact("local"), "--entry", "copy_f32", "--in",
                    "x{rank}.npy", "--out", output]
        result = subprocess.run(command, cwd=runner.folder, env=env, text=True,
                                timeout=60, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **kwargs)
        return result.returncode, errors(result.stderr)

    return start


def leave_older(runner):
    for rank in range(RANKS):
        (runner.folder / f"y{rank}.npy").write_text(f"older {rank}")


def contents(runner):
    """What is under the names of the outputs: "new", "older", or nothing."""
    found = []
    for rank in range(RANKS):
        path = runner.folder / f"y{rank}.npy"
        if path.exists() and path.read_bytes() == f"older {rank}".encode():
            found.append("older")
        elif path.exists():
            assert (np.load(path) == rank).all()
            found.append("new")
    return found


def temporaries(runner):
    return [name for name in os.listdir(runner.folder)
            if name.startswith(".moe-run")]


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("fault", [
    None,
    f"moe-run tmpfile 0 {UNSUPPORTED}",
    "moe-run renameat2 0 22"],
    ids=["all", "no unnamed files", "no exchange of names"])
def test_all_appear(runner, job, fault, older):
    if older:
        leave_older(runner)
    assert job(fault) == (0, [])
    assert contents(runner) == ["new"] * RANKS
    assert temporaries(runner) == []
    mask = os.umask(0)
    os.umask(mask)
    for rank in range(RANKS):
        mode = stat.S_IMODE(os.stat(runner.folder / f"y{rank}.npy").st_mode)
        assert mode == 0o666 & ~mask


# The last of three names to be given fails, and each before it.
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("function, older", [
    ("linkat", False), ("linkat", True), ("renameat2", True)])
def test_a_name_that_cannot_be_given(runner, job, function, older, nth):
    if older:
        leave_older(runner)
    code, found = job(f"moe-run {function} {nth} 28")
    assert code == 1
    assert len(found) == 1 and re.fullmatch(
        r"cannot write y\d.npy: No space left on device", found[0])
    assert contents(runner) == (["older"] * RANKS if older else [])
    assert temporaries(runner) == []


def test_links_are_replaced_and_not_followed(runner, job):
    (runner.folder / "target").write_text("untouched")
    os.symlink("target", runner.folder / "y1.npy")
    assert job() == (0, [])
    assert (runner.folder / "target").read_text() == "untouched"
    assert not (runner.folder / "y1.npy").is_symlink()
    assert contents(runner) == ["new"] * RANKS


def test_one_file_under_two_paths(runner, job):
    for rank in range(RANKS):
        (runner.folder / f"d{rank}").symlink_to(".")
    code, found = job(output="d{rank}/y.npy")
    assert code == 1
    assert len(found) == 1 and re.fullmatch(
        r"--out d\d/y.npy and d\d/y.npy are the same file", found[0])
    assert runner.outputs() == []


def test_folder_that_cannot_be_written(runner, job):
    (runner.folder / "closed").mkdir(mode=0o555)
    if os.access(runner.folder / "closed", os.W_OK):
        # As root: a file system that is mounted read-only.
        output, reason = "/proc/y{rank}.npy", "No such file or directory"
    else:
        output, reason = "closed/y{rank}.npy", "Permission denied"
    code, found = job(output=output)
    assert code in (1, 2)
    assert len(found) == 1 and found[0].endswith(reason)


def test_limit_of_file_sizes(runner, job):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))

    code, found = job(preexec_fn=limit)
    # Shared memory files, or the outputs: but no rank dies of the signal.
    assert code == 1
    assert len(found) == 1 and "raise that limit (ulimit -f)" in found[0]
    assert runner.outputs() == []


@pytest.mark.parametrize("function, nth", [
    ("linkat", 2), ("renameat2", 2)])
def test_each_file_is_whole_when_moe_run_is_killed(runner, job, function, nth):
    """Then some outputs may have their names; none is a part of one."""
    leave_older(runner)
    code, _ = job(f"moe-run {function} {nth} kill")
    assert code in (-signal.SIGKILL, 1, 128 + signal.SIGKILL)
    assert len(contents(runner)) == RANKS
    for name in temporaries(runner):
        os.unlink(runner.folder / name)
