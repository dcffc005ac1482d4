# ===- test_job_processes.py - moe-run's own processes in a job --------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A launcher starts one moe-run for each rank. One of these processes is killed,
stopped or leaves, the job is stopped as a whole, or strangers come. Those that
are left say once what happened, and leave nothing behind.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from job_runs import (
    LAUNCHERS, copying, is_stopped, meeting_places, run_job, send, start_job,
    start_process, wait_until)
from support import SANITIZE, errors, processes

pytestmark = pytest.mark.skipif(
    bool(SANITIZE), reason="faults are preloaded, which sanitizers refuse")


# Before it has met the others; while it introduces itself, or gives out the
# ranks; and later. To be stopped costs the time-out, so fewer steps do.
PROCESS_FAULTS = [
    (function, nth, action)
    for function, nth in [("bind", 1), ("sendmsg", 1), ("sendmsg", 2),
                          ("sendmsg", 3), ("sendmsg", 4)]
    for action in ["kill", "exit", "stop"] if action != "stop" or nth <= 2]


@pytest.mark.parametrize("who", [0, 2])
@pytest.mark.parametrize("function, nth, action", PROCESS_FAULTS)
def test_processes_of_a_job(runner, action, function, nth, who):
    code, found, stderr = run_job(
        runner, "mpirun", copying(runner),
        faults={"MOE_FAULT": f"moe-run@{who} {function} {nth} {action}"})
    if code == 0:
        # A member sends fewer messages than the host.
        assert nth > 2 and len(runner.outputs()) == 3
        return
    assert len(found) == 1, stderr
    assert runner.outputs() == []


# Rank 0 is there first, and meets its fault before it has welcomed any of the
# others, when it has welcomed one of them, and when it gives out the ranks.
# Each of the others finds out by itself, and nobody ends it before.
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("action", ["stop", "kill"])
def test_those_left_by_the_first_process_speak_once(runner, action, nth):
    args = copying(runner)
    first = start_process(runner, 0, *args,
                          fault=f"moe-run@0 sendmsg {nth} {action}")
    try:
        wait_until(lambda: meeting_places(runner))
        # They wait in vain, if the first one stands still.
        others = [start_process(runner, rank, *args, timeout=3) for rank in (1, 2)]
        said = [other.communicate(timeout=120)[1] for other in others]
        assert [other.returncode for other in others] == [1, 1], said
    finally:
        first.kill()
        said.append(first.communicate()[1])
    found = sum(map(errors, said), [])
    assert len(found) == 1, said
    assert re.search(r"\(rank 0\) (does not answer|was killed)|rank 0 did not "
                     r"come within 3 s|^rank [12]: the moe-run that keeps the "
                     r"job together does not answer", found[0]), found
    assert runner.outputs() == []


# A launcher ends the others when it sees that a process was killed. On a busy
# machine that signal is there before they have seen it themselves.
def test_signal_that_comes_before_the_end_of_the_first_process_is_seen(runner):
    args = copying(runner)
    first = start_process(runner, 0, *args, fault="moe-run@0 sendmsg 1 stop")
    try:
        wait_until(lambda: meeting_places(runner))
        other = start_process(runner, 1, *args)
        # Rank 1 has introduced itself, and is about to be welcomed.
        wait_until(lambda: is_stopped(first.pid))
        other.send_signal(signal.SIGSTOP)
        wait_until(lambda: is_stopped(other.pid))
        first.kill()
        first.wait()
        other.send_signal(signal.SIGTERM)
        other.send_signal(signal.SIGCONT)
        stderr = other.communicate(timeout=120)[1]
    finally:
        first.kill()
        first.communicate()
    assert errors(stderr) == [
        "rank 1: the moe-run that keeps the job together was killed"]
    assert other.returncode == 128 + signal.SIGTERM


# The first one to come waits for the others, and says so also if none has come.
@pytest.mark.parametrize("fault", [None, "moe-run@0 sendmsg 1 kill"])
def test_signal_before_others_have_come(runner, fault):
    args = copying(runner)
    waiting = start_process(runner, 1, *args)
    wait_until(lambda: meeting_places(runner))
    if fault:
        waiting.send_signal(signal.SIGSTOP)
        wait_until(lambda: is_stopped(waiting.pid))
        start_process(runner, 0, *args, fault=fault).communicate(timeout=120)
    waiting.send_signal(signal.SIGTERM)
    waiting.send_signal(signal.SIGCONT)
    (error,) = errors(waiting.communicate(timeout=120)[1])
    assert "ranks 0 and 2 had not come when signal 15 (Terminated) ended the job" in error
    assert waiting.returncode == 128 + signal.SIGTERM


# ===----------------------------------------------------------------------===#
# Jobs that are stopped as a whole, and strangers
# ===----------------------------------------------------------------------===#


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_time_in_which_a_job_is_stopped_does_not_count(runner, launcher):
    # Rank 1 stops before it writes its output, and then all others do.
    process = start_job(runner, launcher, copying(runner),
                        "moe-rank-1 output 1 stop", timeout=8)
    wait_until(lambda: any(map(is_stopped, processes(runner.marker))))
    stopped = processes(runner.marker)
    send(stopped, signal.SIGSTOP)
    # Longer than the time-out.
    time.sleep(10)
    send(stopped, signal.SIGCONT)
    _, stderr = process.communicate(timeout=120)
    # mpirun says that it forwards the signal.
    assert (process.returncode, errors(stderr)) == (0, [])
    assert len(runner.outputs()) == 3


def start_with_a_late_rank(runner):
    """A job whose rank 1 is late, so that strangers find the place; and the place."""
    process = start_job(runner, "mpirun", copying(runner),
                        "moe-run@1 bind 1 stop", timeout=20)
    wait_until(lambda: meeting_places(runner))
    wait_until(lambda: any(map(is_stopped, processes(runner.marker))))
    (place,) = meeting_places(runner)
    return process, place


def succeeds_when_continued(runner, process):
    send(filter(is_stopped, processes(runner.marker)), signal.SIGCONT)
    _, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (0, "")


def test_strangers_who_say_nothing(runner):
    process, place = start_with_a_late_rank(runner)
    strangers = []
    for _ in range(50):
        stranger = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stranger.connect(place)
        strangers.append(stranger)
    strangers[0].send(b"no JSON")
    strangers[1].send(b'{"rank": -5}')
    strangers[2].send(b'{"rank": 1e99, "error": 3}')
    strangers[3].send(b'[]')
    succeeds_when_continued(runner, process)
    assert len(runner.outputs()) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_processes_of_other_users_are_turned_away(runner):
    process, place = start_with_a_late_rank(runner)
    # As rank 1, which has not come yet.
    lie = ("import socket, os, sys; os.setuid(65534); "
           "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); "
           f"s.connect({place!r}); "
           "s.settimeout(20); "
           "s.send(b'{\"rank\": 1, \"error\": \"a lie\", \"code\": 1}'); "
           "sys.exit(len(s.recv(100)))")
    # The end of the connection, and no welcome.
    assert subprocess.run([sys.executable, "-c", lie], timeout=60,
                          stderr=subprocess.DEVNULL).returncode in (0, 1)
    succeeds_when_continued(runner, process)
