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

import re

import pytest

from job_runs import LAUNCHERS, TIMEOUT, copying, run_job
from support import EXIT, KILL, SANITIZE, SEGV, STOP

pytestmark = pytest.mark.skipif(
    bool(SANITIZE), reason="faults are preloaded, which sanitizers refuse")


def check_fault(runner, launcher, args, patterns, faults=None, ranks=3, timeout=None):
    code, found, stderr = run_job(runner, launcher, args, ranks, faults, timeout)
    assert code not in (0, 2), stderr
    assert len(found) == 1, stderr
    for pattern in patterns:
        assert re.search(pattern, found[0]), found[0]
    assert runner.outputs() == []


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
    # Of two clocks either may be the first.
    ("stop", r"rank 1 did not arrive within 1 s; rank 1 was last seen writing "
             r"its results|rank 1: has been stopped by signal 19 \(.*\) for 1 s "
             r"while writing its results"),
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
    (STOP, r"timed out after 1 s waiting for rank 1.*in test.gather.*; rank 1 has "
           r"been stopped by signal 19 \(Stopped \(signal\)\)$|"
           r"rank 1: has been stopped by signal 19 \(.*\) for 1 s while "
           r"calling entry 'gather'"),
])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_while_calling(runner, launcher, mode, pattern):
    check_fault(runner, launcher, runner.exchange(mode, ranks=3), [pattern],
                timeout=TIMEOUT if mode == STOP else None)


# The artifact comes: first in the process that looks into it, then in the
# ranks, where the others wait.
@pytest.mark.parametrize("process, action, pattern", [
    ("moe-rank-1", "kill", HOW["kill"] + "loading the artifact"),
    ("moe-rank-1", "crash", r"rank 1: killed by signal 11 .* while loading"),
    ("moe-rank-1", "exit", HOW["exit"] + "loading the artifact"),
    ("moe-rank-1", "stop", HOW["stop"]),
    ("moe-rank-1", "hang", r"timed out after 1 s waiting for .*rank 1 was last|"
                           r"timed out after 1 s waiting for rank 1|"
                           r"rank 1: has been loading the artifact for 3 s"),
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
