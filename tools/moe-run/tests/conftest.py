# ===- conftest.py - what every test of moe-run checks ---------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Every test also checks that nothing is left behind: no process, no temporary
file, no shared memory.
"""

import os
import secrets
import signal
import time

import pytest

from hosts_job import open_hosts
from support import Runner, listing, processes


def pytest_addoption(parser):
    parser.addoption("--moe-faults", type=int, default=12,
                     help="how many faults test_fault_injection.py draws")
    parser.addoption("--moe-seed", type=int, default=None,
                     help="what they follow from")


def pytest_configure(config):
    given = config.getoption("--moe-seed")
    config.moe_seed = secrets.randbelow(10**9) if given is None else given
    # What a shell's background job or nohup ignores, moe-run would ignore as
    # well. Handlers are not inherited, so the runs of the tests get signals.
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_report_header(config):
    return f"faults: --moe-seed {config.moe_seed}"


@pytest.fixture
def runner(tmp_path):
    shared_memory = listing("/dev/shm")
    runner = Runner(tmp_path)
    yield runner
    def left():
        """Shared memory, but for that of Open MPI and of Python beside this test."""
        return {name for name in listing("/dev/shm") - shared_memory
                if not name.startswith(("vader_segment", "sem.", "psm_", "torch_"))}

    deadline = time.time() + 60
    while (processes(runner.marker) or left()) and time.time() < deadline:
        time.sleep(0.05)
    assert processes(runner.marker) == []
    assert listing(runner.tmp) == set()
    assert left() == set()


@pytest.fixture
def hosts(runner):
    with open_hosts(runner, as_user=os.geteuid() != 0) as made:
        yield made
