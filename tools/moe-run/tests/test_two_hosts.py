# ===- test_two_hosts.py - jobs of mpirun on two hosts -----------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Jobs of mpirun whose ranks are on two hosts, which are network namespaces of
this machine (two_hosts.py): what works, and what cannot be.
"""

import json
import os
import re
import subprocess

import numpy as np
import pytest

from hosts_job import check_fails, gather, open_hosts, run
from support import MOE_RUN, SANITIZE, artifact, errors

pytestmark = pytest.mark.skipif(
    bool(SANITIZE), reason="sanitizers do not know MPI's memory")

MPI_TESTS = os.environ.get("MOE_MPI_TESTS", "")

# ===----------------------------------------------------------------------===#
# What works
# ===----------------------------------------------------------------------===#


@pytest.mark.parametrize("as_user", [False, True], ids=["root", "user"])
def test_ranks_of_two_hosts_are_one_group(runner, as_user):
    with open_hosts(runner, as_user) as hosts:
        code, found, stdout, stderr = run(
            hosts, runner, [*gather(runner), "--json"])
        assert (code, found) == (0, []), stderr
        assert len(json.loads(stdout)["per_rank"]) == 4
    for rank in range(4):
        np.testing.assert_array_equal(
            runner.load(f"y{rank}.npy"),
            np.repeat(np.arange(1, 5, dtype=np.int8), 1000))
    assert len(runner.outputs()) == 4


def test_hosts_with_different_numbers_of_ranks(hosts, runner):
    code, _, _, stderr = run(hosts, runner, gather(runner), ranks=(1, 3))
    assert code == 0, stderr
    assert len(runner.outputs()) == 4


def test_more_than_a_message_holds(hosts, runner):
    code, _, _, stderr = run(hosts, runner, gather(runner, size=3000000))
    assert code == 0, stderr
    np.testing.assert_array_equal(
        runner.load("y3.npy"),
        np.repeat(np.arange(1, 5, dtype=np.int8), 3000000))


@pytest.mark.skipif(not MPI_TESTS, reason="MOE_MPI_TESTS is not set")
def test_the_suite_of_the_transport(hosts, runner):
    result = subprocess.run(
        [*hosts.mpirun(2, 2), MPI_TESTS], env=runner.env, text=True,
        timeout=300, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, result.stdout


def test_artifacts_that_do_not_communicate(hosts, runner):
    for rank in range(4):
        runner.save(f"x{rank}.npy", np.full((2, 2), rank, np.float32))
    code, _, _, stderr = run(hosts, runner, [
        artifact("local"), "--entry", "copy_f32", "--in", "x{rank}.npy",
        "--out", "y{rank}.npy"])
    assert code == 0, stderr
    assert runner.load("y3.npy")[0, 0] == 3


# ===----------------------------------------------------------------------===#
# What cannot be
# ===----------------------------------------------------------------------===#


@pytest.mark.parametrize("target, remedy", [
    ("host", "--transport=messages"), ("cuda", "--target nccl")])
def test_artifacts_that_share_memory(hosts, runner, target, remedy):
    args = runner.exchange()
    env = {}
    if target == "cuda":
        args[0] = artifact("cuda/exchange4")
        env["LD_LIBRARY_PATH"] = os.path.abspath(
            os.environ["MOE_STANDIN_DRIVER_DIR"])
    check_fails(
        hosts, runner, [*args, "--out", "y{rank}.npy"],
        r"^rank 0: .*: in the artifact ranks reach each other's memory, but the "
        r"group has 2 hosts, moe-a \(ranks 0 and 1\) and moe-b \(ranks 2 and "
        rf"3\); compile the module with {remedy}$", code=1, env=env)


def test_what_all_processes_find_is_said_once(hosts, runner):
    args = gather(runner)
    check_fails(hosts, runner, ["missing.so", *args[1:]],
                r"^missing.so: No such file or directory$", code=2)
    check_fails(hosts, runner, ["--frobnicate"],
                r"^unknown option '--frobnicate'$", code=2)
    check_fails(hosts, runner, ["-n", "3", *args],
                r"^-n 3, but the Open MPI job has 4 processes$", code=2)


def test_a_grid_that_does_not_fit_the_job(hosts, runner):
    check_fails(hosts, runner, gather(runner),
                r"^rank 0: .*the artifact is for 4 ranks, but the group has 3",
                code=1, ranks=(2, 1))


def test_different_artifacts(hosts, runner):
    args = gather(runner)
    for rank in range(4):
        name = "exchange4" if rank == 3 else "messages4"
        (runner.folder / f"a{rank}.so").symlink_to(artifact(name))
    check_fails(hosts, runner, ["a{rank}.so", *args[1:]], r"rank 3", code=1)


def test_different_options(hosts, runner):
    prefix = ["sh", "-c", '[ "$OMPI_COMM_WORLD_RANK" = 3 ] && set -- --json "$@"; '
                          f'exec {MOE_RUN} "$@"']
    check_fails(hosts, runner, gather(runner),
                r"^rank 3 was started with --json, but rank 0 without; start all "
                r"ranks with the same options$", code=2, prefix=prefix)


def test_input_that_one_rank_lacks(hosts, runner):
    args = gather(runner)
    (runner.folder / "x3.npy").write_bytes(b"nothing")
    check_fails(hosts, runner, args,
                r"^rank 3: argument 2: x3.npy: not a .npy file$", code=1)


def test_without_mpi(hosts, runner):
    found = hosts.run("sh", "-c", "ldconfig -p | grep -o '/.*/libmpi.so.40$'")
    for path in found.split():
        hosts.run("mount", "--bind", "/dev/null", path)
    code, found, _, stderr = run(hosts, runner, gather(runner))
    assert code != 0
    # Nothing connects the hosts then.
    assert 1 <= len(found) <= 2, stderr
    for error in found:
        assert re.search(r"^rank \d: there is no MPI library: .*install Open "
                         r"MPI \(on Debian and Ubuntu the package "
                         r"libopenmpi3\)", error), error
    assert runner.outputs() == []


def test_one_rank_of_another_program(hosts, runner):
    command = [*hosts.mpirun(2, 1), MOE_RUN, "--timeout", "3",
               *map(str, gather(runner)), ":", "--host", "moe-b:1", "-n", "1",
               "sleep", "100"]
    result = subprocess.run(command, env=runner.env, text=True, timeout=120,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    found = errors(result.stderr)
    assert result.returncode != 0
    assert 1 <= len(found) <= 2, result.stderr
    # The first one to say so ends the job, and with it those that come later.
    whys = [re.search(r"^(rank \d: MPI_Init) \(Open MPI v.*\) did not end within 3 s|"
                      r"^interrupted by signal 15", error) for error in found]
    assert all(whys), found
    assert any(why[1] for why in whys), found
    assert runner.outputs() == []
