# ===- job_runs.py - runs in which faults are planted -----------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Runs of moe-run with planted faults: whole ones, and single processes of a job."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

import numpy as np

from support import (
    MOE_RUN, artifact, errors, mpirun, processes, without_launcher)

LAUNCHERS = ["moe-run", "mpirun"]
TIMEOUT = 1
# Of runs in which nobody waits in vain: on a busy machine healthy processes are late.
PATIENCE = 20


def run_job(runner, launcher, args, ranks=3, faults=None, timeout=None):
    """Return code and errors of a run with faults. The time-out is short where a
    process stands still, for which others wait until it is over."""
    if timeout is None:
        words = " ".join((faults or {}).values())
        timeout = TIMEOUT if "stop" in words or "hang" in words else PATIENCE
    runner.env.update(faults or {})
    if faults and "MOE_FAULT" in faults:
        runner.env["LD_PRELOAD"] = artifact("fault")
    prefix = mpirun(ranks) if launcher == "mpirun" else []
    number = [] if launcher == "mpirun" else ["-n", str(ranks)]
    command = [*prefix, MOE_RUN, *number, "--timeout", str(timeout),
               *map(str, args), "--out", "y{rank}.npy"]
    try:
        result = subprocess.run(
            command, cwd=runner.folder, env=runner.env, text=True, timeout=120,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        runner.env.pop("LD_PRELOAD", None)
        for name in faults or {}:
            del runner.env[name]
    return result.returncode, errors(result.stderr), result.stderr


def copying(runner, ranks=3):
    """A run that needs nothing of what others compute."""
    for rank in range(ranks):
        runner.save(f"x{rank}.npy", np.full((2, 4), rank, np.float32))
    return [artifact("hostile"), "--in", "x{rank}.npy"]


@contextlib.contextmanager
def full_pipe():
    """The writing end of a pipe that nobody reads, with no room left."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


def wait_until(condition):
    deadline = time.time() + 60
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


def start_process(runner, rank, *args, fault=None, ranks=3, timeout=PATIENCE):
    """One process of a job that no launcher ends."""
    env = {**without_launcher(runner.env), "PMI_RANK": str(rank),
           "PMI_SIZE": str(ranks)}
    if fault:
        env.update(MOE_FAULT=fault, LD_PRELOAD=artifact("fault"))
    return subprocess.Popen(
        [MOE_RUN, "--timeout", str(timeout), *map(str, args), "--out",
         "y{rank}.npy"], cwd=runner.folder, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)


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
