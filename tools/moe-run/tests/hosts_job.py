# ===- hosts_job.py - jobs of mpirun on two hosts ----------------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Starts moe-run by mpirun on the two hosts of two_hosts.py."""

import contextlib
import re
import subprocess
import time

import numpy as np
import pytest

import two_hosts
from support import MOE_RUN, artifact, errors

# Of waits; on a busy machine MPI_Init takes seconds. Links between hosts are
# given up after a quarter of it without a word.
TIMEOUT = 40


@contextlib.contextmanager
def open_hosts(runner, as_user):
    """The two hosts, of which nothing is left in the end."""
    reason = two_hosts.why_not(as_user)
    if reason:
        pytest.skip(reason)
    with two_hosts.TwoHosts(runner.folder, as_user) as made:
        yield made
        left = made.left()
        assert not left, left
    assert not made.remaining, made.remaining


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
          env=None, prefix=()):
    return subprocess.Popen(
        [*hosts.mpirun(*ranks, options=options), *prefix, MOE_RUN, "--timeout",
         str(timeout), *map(str, args)],
        cwd=runner.folder, env={**runner.env, **(env or {})}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process, seconds=180):
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
    deadline = time.time() + 120
    while time.time() < deadline:
        if set(names) <= hosts.processes_with("moe-b", "messages"):
            # From the artifact in its memory to the first call takes less.
            time.sleep(2)
            return
        time.sleep(0.1)
    pytest.fail("the ranks did not start")
