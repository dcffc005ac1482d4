# ===- test_two_hosts.py - jobs of mpirun on two hosts -----------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Jobs of mpirun whose ranks are on two hosts, which are network namespaces of
this machine (two_hosts.py). Whatever is killed or pulled out, the job ends, says
once what happened where somebody can hear it, and leaves nothing behind.
"""

import json
import os
import re
import signal
import subprocess
import time

import numpy as np
import pytest

import two_hosts
from support import FAIL, KILL, MOE_RUN, SANITIZE, artifact, errors

pytestmark = pytest.mark.skipif(
    bool(SANITIZE), reason="sanitizers do not know MPI's memory")

TIMEOUT = 3
MPI_TESTS = os.environ.get("MOE_MPI_TESTS", "")


def make_hosts(runner, as_user):
    reason = two_hosts.why_not(as_user)
    if reason:
        pytest.skip(reason)
    return two_hosts.TwoHosts(runner.folder, as_user)


@pytest.fixture
def hosts(runner):
    with make_hosts(runner, as_user=os.geteuid() != 0) as made:
        yield made
        assert made.left() == []


def gather(runner, mode=0, who=1, ranks=4, size=1000):
    """Arguments of a run in which every rank gets the bytes of all."""
    runner.save("mode.npy", np.array(mode, np.int64))
    runner.save("who.npy", np.array(who, np.int64))
    for rank in range(ranks):
        runner.save(f"x{rank}.npy", np.full(size, rank + 1, np.int8))
    return [artifact(f"messages{ranks}"), "--entry", "all_gather",
            "--in", "mode.npy", "--in", "who.npy", "--in", "x{rank}.npy",
            "--out", "y{rank}.npy"]


def endless(runner):
    """The same again and again, for longer than any test lasts."""
    return [*gather(runner, size=100000), "--bench", "1000000"]


def start(hosts, runner, args, ranks=(2, 2), timeout=TIMEOUT, options=(),
          env=None):
    return subprocess.Popen(
        [*hosts.mpirun(*ranks, options=options), MOE_RUN, "--timeout",
         str(timeout), *map(str, args)],
        cwd=runner.folder, env={**runner.env, **(env or {})}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process, seconds=60):
    stdout, stderr = process.communicate(timeout=seconds)
    return process.returncode, errors(stderr), stdout, stderr


def run(hosts, runner, args, **options):
    return finish(start(hosts, runner, args, **options))


def check_fails(hosts, runner, args, pattern, code=None, **options):
    """One error, no outputs, nothing left."""
    seen, found, _, stderr = run(hosts, runner, args, **options)
    assert seen != 0 and code in (None, seen), stderr
    assert len(found) == 1, stderr
    assert re.search(pattern, found[0]), found[0]
    assert runner.outputs() == []


def wait_until_running(hosts, names=("moe-rank-2", "moe-rank-3")):
    """Until the ranks of the second host have begun to call the entry."""
    deadline = time.time() + 30
    while time.time() < deadline:
        if set(names) <= set(hosts.processes("moe-b").values()):
            # Joining the group and loading take less.
            time.sleep(2)
            return
        time.sleep(0.1)
    pytest.fail("the ranks did not start")


# ===----------------------------------------------------------------------===#
# What works
# ===----------------------------------------------------------------------===#


@pytest.mark.parametrize("as_user", [False, True], ids=["root", "user"])
def test_ranks_of_two_hosts_are_one_group(runner, as_user):
    with make_hosts(runner, as_user) as hosts:
        code, found, stdout, stderr = run(
            hosts, runner, [*gather(runner), "--json"])
        assert (code, found) == (0, []), stderr
        assert len(json.loads(stdout)["per_rank"]) == 4
        assert hosts.left() == []
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


def test_artifacts_that_share_memory(hosts, runner):
    check_fails(
        hosts, runner, [*runner.exchange(), "--out", "y{rank}.npy"],
        r"^rank 0: .*moe-a \(ranks 0 and 1\) and moe-b \(ranks 2 and 3\)"
        r".*--transport=messages", code=1)


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
    command = [*hosts.mpirun(2, 1), MOE_RUN, "--timeout", str(TIMEOUT),
               *map(str, gather(runner)), ":", "--host", "moe-b:1", "-n", "1",
               "sleep", "100"]
    result = subprocess.run(command, env=runner.env, text=True, timeout=60,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    found = errors(result.stderr)
    assert result.returncode != 0
    assert 1 <= len(found) <= 2, result.stderr
    for error in found:
        assert re.search(rf"^rank \d: MPI_Init \(Open MPI v.*\) did not end "
                         rf"within {TIMEOUT} s", error), error
    assert runner.outputs() == []


# ===----------------------------------------------------------------------===#
# Faults
# ===----------------------------------------------------------------------===#


@pytest.mark.parametrize("who", [0, 3])
def test_a_rank_that_fails(hosts, runner, who):
    check_fails(
        hosts, runner, gather(runner, FAIL, who),
        rf"^rank {who}: test.all_gather at messages.c:1:1, phase 'exchange': "
        rf"invalid expert: ", code=1)


@pytest.mark.parametrize("who", [1, 2])
def test_a_rank_that_is_killed(hosts, runner, who):
    check_fails(hosts, runner, gather(runner, KILL, who),
                rf"^rank {who}: killed by signal 9 \(Killed\) while calling "
                rf"entry 'all_gather'", code=1)


def test_outputs_that_one_host_cannot_name(hosts, runner):
    (runner.folder / "y0.npy").write_text("older")
    seen, found, _, stderr = run(
        hosts, runner, gather(runner),
        env={"MOE_FAULT": "moe-run@3 linkat 1 28",
             "LD_PRELOAD": artifact("fault")})
    assert seen == 1, stderr
    assert found == ["rank 3: cannot write y3.npy: No space left on device"]
    # Those of other ranks, which had theirs, have lost them again.
    assert runner.outputs() == ["y0.npy"]
    assert (runner.folder / "y0.npy").read_text() == "older"


def check_ends(hosts, runner, process, pattern, heard=True, launcher=None):
    code, found, _, stderr = finish(process)
    assert code != 0
    assert len(found) <= 1, stderr
    if heard and not (launcher and re.search(launcher, stderr)):
        assert found and re.search(pattern, found[0]), stderr
    assert runner.outputs() == []


def test_all_processes_of_a_host_are_killed(hosts, runner):
    process = start(hosts, runner, endless(runner))
    wait_until_running(hosts)
    hosts.kill("moe-b")
    check_ends(hosts, runner, process, r"moe-b")


def test_all_processes_of_the_first_host_are_killed(hosts, runner):
    process = start(hosts, runner, endless(runner))
    wait_until_running(hosts)
    hosts.kill("moe-a")
    # With mpirun, which could have told.
    check_ends(hosts, runner, process, "", heard=False)


def test_a_daemon_is_killed(hosts, runner):
    process = start(hosts, runner, endless(runner))
    wait_until_running(hosts)
    assert hosts.kill("moe-b", "orted") == 1
    # mpirun may see it first: it then says so, and kills moe-run at once.
    check_ends(hosts, runner, process, r"rank [23]: |moe-b",
               launcher=r"lost communication with a remote daemon[\s\S]*moe-b")


@pytest.mark.parametrize("host, other", [("moe-a", "moe-b"),
                                         ("moe-b", "moe-a")])
def test_a_moe_run_is_killed(hosts, runner, host, other):
    process = start(hosts, runner, endless(runner))
    wait_until_running(hosts)
    hosts.kill(host, "moe-run")
    check_ends(hosts, runner, process, r"rank \d: ", heard=host != "moe-a")


def test_the_link_goes_down(hosts, runner):
    process = start(hosts, runner, endless(runner))
    wait_until_running(hosts)
    hosts.set_link("down")
    begin = time.time()
    # The host without mpirun cannot say it there.
    deadline = begin + 30
    while hosts.left(0) and time.time() < deadline:
        time.sleep(0.2)
    assert hosts.left(0) == []
    # mpirun notices nothing.
    hosts.kill("moe-a", "mpirun", number=signal.SIGTERM)
    time.sleep(1)
    hosts.kill("moe-a")
    hosts.kill("moe-b")
    check_ends(hosts, runner, process, r"rank \d: ")


def test_a_job_that_is_interrupted(hosts, runner):
    process = start(hosts, runner, endless(runner))
    wait_until_running(hosts)
    hosts.kill("moe-a", "mpirun", number=signal.SIGINT)
    check_ends(hosts, runner, process, r"interrupted by signal", heard=False)
