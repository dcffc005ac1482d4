# ===- test_job_faults.py - ranks that stop at any step ---------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""At each step of a run one rank is killed, stopped or leaves, under moe-run
and under mpirun alike. The run has to end, say once what happened, and leave
nothing behind: neither outputs nor files, processes or shared memory.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from support import (
    EXIT, KILL, MOE_RUN, SANITIZE, SEGV, STOP, artifact, errors, mpirun,
    processes, without_launcher)

pytestmark = pytest.mark.skipif(
    bool(SANITIZE), reason="faults are preloaded, which sanitizers refuse")

LAUNCHERS = ["moe-run", "mpirun"]
TIMEOUT = 1


def run_job(runner, launcher, args, ranks=3, faults=None):
    """Return code and errors of a run with faults."""
    runner.env.update(faults or {})
    if faults and "MOE_FAULT" in faults:
        runner.env["LD_PRELOAD"] = artifact("fault")
    prefix = mpirun(ranks) if launcher == "mpirun" else []
    number = [] if launcher == "mpirun" else ["-n", str(ranks)]
    command = [*prefix, MOE_RUN, *number, "--timeout", str(TIMEOUT),
               *map(str, args), "--out", "y{rank}.npy"]
    try:
        result = subprocess.run(
            command, cwd=runner.folder, env=runner.env, text=True, timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        runner.env.pop("LD_PRELOAD", None)
        for name in faults or {}:
            del runner.env[name]
    return result.returncode, errors(result.stderr), result.stderr


def check_fault(runner, launcher, args, patterns, faults=None, ranks=3):
    code, found, stderr = run_job(runner, launcher, args, ranks, faults)
    assert code not in (0, 2), stderr
    assert len(found) == 1, stderr
    for pattern in patterns:
        assert re.search(pattern, found[0]), found[0]
    assert runner.outputs() == []


def copying(runner, ranks=3):
    """A run that needs nothing of what others compute."""
    for rank in range(ranks):
        runner.save(f"x{rank}.npy", np.full((2, 4), rank, np.float32))
    return [artifact("hostile"), "--in", "x{rank}.npy"]


HOW = {"kill": r"rank 1: killed by signal 9 \(Killed\) while ",
       "exit": r"rank 1: ended early with exit code 3 while ",
       "stop": r"rank 1 (did not arrive|was last seen)|timed out .*rank 1|"
               r"rank 1: has been stopped"}


# Each message of a rank to the hub is one sendmsg: its phases, and its part in
# each exchange of the bootstrap, of which there are many while it joins.
@pytest.mark.parametrize("action", ["kill", "exit", "stop"])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_each_message_of_a_rank(runner, launcher, action):
    args = copying(runner)
    steps = 0
    phases = set()
    for nth in range(1, 100):
        # Each costs its time-out.
        if action == "stop" and nth % 7 != 2:
            continue
        code, found, stderr = run_job(
            runner, launcher, args,
            faults={"MOE_FAULT": f"moe-rank-1 sendmsg {nth} {action}"})
        if code == 0:
            # There are fewer messages: nothing happened.
            assert found == [] and len(runner.outputs()) == 3
            break
        steps += 1
        assert len(found) == 1, stderr
        assert re.search(HOW[action], found[0]), (nth, found[0])
        assert runner.outputs() == []
        phases.update(re.findall(
            r"starting|joining the group|loading the artifact|reading its "
            r"arguments|calling entry|writing its results", found[0]))
    else:
        pytest.fail("the run never succeeded")
    assert steps >= (3 if action == "stop" else 15)
    if action != "stop":
        assert phases == {
            "starting", "joining the group", "loading the artifact",
            "reading its arguments", "calling entry", "writing its results"}


# While the rank writes its output: the header, and the data.
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("action, pattern", [
    ("kill", HOW["kill"] + "writing its results"),
    ("exit", HOW["exit"] + "writing its results"),
    ("stop", r"rank 1 did not arrive within 1 s; rank 1 was last seen writing "
             r"its results, stopped by signal 19"),
    ("28", r"rank 1: cannot write y1.npy: No space left on device"),
    ("27", r"rank 1: cannot write y1.npy: File too large"),
])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_while_writing_outputs(runner, launcher, action, pattern, nth):
    check_fault(runner, launcher, copying(runner), [pattern],
                {"MOE_FAULT": f"moe-rank-1 output {nth} {action}"})


@pytest.mark.parametrize("mode, pattern", [
    (KILL, r"rank 1: killed by signal 9 \(Killed\) while calling entry "
           r"'gather'.*test.gather at exchange.c:1:1"),
    (SEGV, r"rank 1: killed by signal 11 \(Segmentation fault\) while calling"),
    (EXIT, r"rank 1: ended early with exit code 0 while calling"),
    (STOP, r"timed out after 1 s waiting for rank 1.*in test.gather|"
           r"rank 1: has been stopped by signal 19 \(.*\) for 1 s while "
           r"calling entry 'gather'"),
])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_while_calling(runner, launcher, mode, pattern):
    check_fault(runner, launcher, runner.exchange(mode, ranks=3), [pattern])


# The artifact comes: first in the process that looks into it, then in the
# ranks, where the others wait.
@pytest.mark.parametrize("process, action, pattern", [
    ("moe-rank-1", "kill", HOW["kill"] + "loading the artifact"),
    ("moe-rank-1", "crash", r"rank 1: killed by signal 11 .* while loading"),
    ("moe-rank-1", "exit", HOW["exit"] + "loading the artifact"),
    ("moe-rank-1", "stop", HOW["stop"]),
    ("moe-rank-1", "hang", r"timed out after 1 s waiting for rank 1"),
    ("moe-run", "crash", r"hostile.so: opening the artifact ended the process "
                         r"by signal 11 \(Segmentation fault\)"),
    ("moe-run", "exit", r"hostile.so: opening the artifact ended the process "
                        r"with exit code 3"),
    ("moe-run", "hang", r"hostile.so: opening the artifact did not end within "
                        r"1 s; a constructor of it may hang"),
])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_in_constructors(runner, launcher, process, action, pattern):
    check_fault(runner, launcher, copying(runner), [pattern],
                {"MOE_CONSTRUCTOR": f"{process} {action}"})


# After its last step, when all outputs are written but have no names.
@pytest.mark.parametrize("action, pattern", [
    ("kill", HOW["kill"] + "ending after its last step"),
    ("crash", r"rank 1: killed by signal 11 .* while ending after its last "),
    ("exit", HOW["exit"] + "ending after its last step"),
    ("stop", r"rank 1: has been stopped by signal 19 \(.*\) for 1 s while "
             r"ending after its last step"),
    ("hang", r"rank 1: did not end within 5 s of its last step; a destructor"),
])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_in_destructors(runner, launcher, action, pattern):
    check_fault(runner, launcher, copying(runner), [pattern],
                {"MOE_DESTRUCTOR": f"moe-rank-1 {action}"})


def test_one_rank_alone(runner):
    args = copying(runner)
    for fault, pattern in [
            ({"MOE_CONSTRUCTOR": "moe-rank-0 hang"},
             "rank 0: has been loading the artifact for 3 s; a constructor of "
             "the artifact may hang"),
            ({"MOE_DESTRUCTOR": "moe-rank-0 hang"},
             "rank 0: did not end within 5 s of its last step"),
            ({"MOE_FAULT": "moe-rank-0 output 1 stop"},
             "rank 0: has been stopped by signal 19")]:
        check_fault(runner, "moe-run", args, [pattern], fault, ranks=1)


# ===----------------------------------------------------------------------===#
# moe-run's own processes in a job of mpirun
# ===----------------------------------------------------------------------===#


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


def wait_until(condition):
    deadline = time.time() + 30
    while not condition():
        assert time.time() < deadline
        time.sleep(0.02)


def meeting_places(runner):
    """Abstract sockets at which the processes of this test's job meet."""
    own = set()
    for pid in processes(runner.marker):
        try:
            own.update(os.readlink(link)
                       for link in Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            pass
    found = set()  # accepted connections have the name, too
    for line in Path("/proc/net/unix").read_text().splitlines():
        fields = line.split()
        if fields[-1].startswith("@moe-run/") and \
                f"socket:[{fields[6]}]" in own:
            found.add("\0" + fields[-1][1:])
    return found


def start_process(runner, rank, *args, fault=None, ranks=3):
    """One process of a job that no launcher ends."""
    env = {**without_launcher(runner.env), "PMI_RANK": str(rank),
           "PMI_SIZE": str(ranks)}
    if fault:
        env.update(MOE_FAULT=fault, LD_PRELOAD=artifact("fault"))
    return subprocess.Popen(
        [MOE_RUN, "--timeout", str(TIMEOUT), *map(str, args), "--out",
         "y{rank}.npy"], cwd=runner.folder, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)


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
        others = [start_process(runner, rank, *args) for rank in (1, 2)]
        said = [other.communicate(timeout=60)[1] for other in others]
        assert [other.returncode for other in others] == [1, 1], said
    finally:
        first.kill()
        said.append(first.communicate()[1])
    found = sum(map(errors, said), [])
    assert len(found) == 1, said
    assert re.search(r"\(rank 0\) (does not answer|was killed)|rank 0 did not "
                     r"come within 1 s|^rank [12]: the moe-run that keeps the "
                     r"job together does not answer", found[0]), found
    assert runner.outputs() == []


# ===----------------------------------------------------------------------===#
# Jobs that are stopped as a whole, and strangers
# ===----------------------------------------------------------------------===#


def start_job(runner, launcher, args, faults=None, timeout=2, ranks=3):
    env = dict(runner.env)
    if faults:
        env.update(MOE_FAULT=faults, LD_PRELOAD=artifact("fault"))
    prefix = mpirun(ranks) if launcher == "mpirun" else []
    number = [] if launcher == "mpirun" else ["-n", str(ranks)]
    return subprocess.Popen(
        [*prefix, MOE_RUN, *number, "--timeout", str(timeout),
         *map(str, args), "--out", "y{rank}.npy"], cwd=runner.folder, env=env,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def send(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def is_stopped(pid):
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1]
    except OSError:
        return False
    return fields.split()[0] == "T"


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_time_in_which_a_job_is_stopped_does_not_count(runner, launcher):
    # Rank 1 stops before it writes its output, and then all others do.
    process = start_job(runner, launcher, copying(runner),
                        "moe-rank-1 output 1 stop")
    wait_until(lambda: any(map(is_stopped, processes(runner.marker))))
    stopped = processes(runner.marker)
    send(stopped, signal.SIGSTOP)
    # Longer than the time-out.
    time.sleep(3)
    send(stopped, signal.SIGCONT)
    _, stderr = process.communicate(timeout=60)
    # mpirun says that it forwards the signal.
    assert (process.returncode, errors(stderr)) == (0, [])
    assert len(runner.outputs()) == 3


def test_strangers_who_say_nothing(runner):
    # Rank 1 is late, so that strangers find the place.
    process = start_job(runner, "mpirun", copying(runner),
                        "moe-run@1 bind 1 stop", timeout=20)
    wait_until(lambda: meeting_places(runner))
    wait_until(lambda: any(map(is_stopped, processes(runner.marker))))
    (place,) = meeting_places(runner)
    strangers = []
    for _ in range(50):
        stranger = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stranger.connect(place)
        strangers.append(stranger)
    strangers[0].send(b"no JSON")
    strangers[1].send(b'{"rank": -5}')
    strangers[2].send(b'{"rank": 1e99, "error": 3}')
    strangers[3].send(b'[]')
    for pid in filter(is_stopped, processes(runner.marker)):
        os.kill(pid, signal.SIGCONT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "")
    assert len(runner.outputs()) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_processes_of_other_users_are_turned_away(runner):
    process = start_job(runner, "mpirun", copying(runner),
                        "moe-run@1 bind 1 stop", timeout=20)
    wait_until(lambda: meeting_places(runner))
    wait_until(lambda: any(map(is_stopped, processes(runner.marker))))
    (place,) = meeting_places(runner)
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
    for pid in filter(is_stopped, processes(runner.marker)):
        os.kill(pid, signal.SIGCONT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "")
