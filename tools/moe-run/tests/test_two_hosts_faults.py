# ===- test_two_hosts_faults.py - what goes wrong in a job of two hosts ------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Whatever is killed or pulled out, a job on two hosts ends, says once what
happened where somebody can hear it, and leaves nothing behind.
"""

import re
import signal
import time

import pytest

from hosts_job import (
    check_fails, endless, finish, gather, run, start, wait_until_running,
)
from support import FAIL, KILL, SANITIZE, artifact

pytestmark = pytest.mark.skipif(
    bool(SANITIZE), reason="sanitizers do not know MPI's memory")


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


def test_a_report_that_cannot_be_written(hosts, runner):
    check_fails(
        hosts, runner, [*gather(runner), "--json"],
        r"^cannot write to standard output: No space left on device$", code=1,
        prefix=["sh", "-c", 'exec "$@" > /dev/full', "sh"])


def check_ends(hosts, runner, process, pattern, heard=True, launcher=None,
               most=1):
    """No more errors than that, all of them expected ones; `heard` says that there
    has to be one, unless mpirun says what matches `launcher`."""
    code, found, _, stderr = finish(process)
    assert code != 0
    assert len(found) <= most, stderr
    if heard and not (launcher and re.search(launcher, stderr)):
        assert found, stderr
    for error in found:
        assert re.search(pattern, error), stderr
    assert runner.outputs() == []


def test_all_processes_of_a_host_are_killed(hosts, runner):
    process = start(hosts, runner, endless(runner))
    wait_until_running(hosts)
    hosts.kill("moe-b")
    # With the daemon of mpirun, so that mpirun may see it first and kill the rest.
    check_ends(hosts, runner, process, r"moe-b",
               launcher=r"lost communication with a remote daemon[\s\S]*moe-b")


def test_all_processes_of_the_first_host_are_killed(hosts, runner):
    process = start(hosts, runner, endless(runner))
    wait_until_running(hosts)
    hosts.kill("moe-a")
    # With mpirun, which could have told.
    check_ends(hosts, runner, process, r"rank [23]: .*lost", heard=False)


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
    # Without that of rank 0, one process of each host may say so.
    keeps = host != "moe-a"
    check_ends(hosts, runner, process, r"rank \d: ", heard=keeps,
               most=1 if keeps else 2)


def test_the_link_goes_down(hosts, runner):
    process = start(hosts, runner, endless(runner), timeout=10)
    wait_until_running(hosts)
    hosts.set_link("down")
    begin = time.time()
    # The host without mpirun cannot say it there.
    deadline = begin + 60
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
