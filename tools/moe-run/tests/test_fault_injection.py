# ===- test_fault_injection.py - some faults at random times -----------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A few of the faults of fault_injection.py; --moe-faults takes more."""

import random
import shutil

import pytest

from fault_injection import Injection
from support import SANITIZE, Runner


def pytest_generate_tests(metafunc):
    count = metafunc.config.getoption("--moe-faults")
    seed = metafunc.config.moe_seed
    metafunc.parametrize("seed", [f"{seed}-{i}" for i in range(count)])


@pytest.mark.skipif(bool(SANITIZE),
                    reason="faults are preloaded, which sanitizers refuse")
def test_fault(runner: Runner, seed: str) -> None:
    if not shutil.which("mpirun"):
        pytest.skip("mpirun is not installed")
    injection = Injection(runner, random.Random(seed))
    print(injection.text)
    injection.run()
    # Open MPI may leave its session folder when it is killed.
    for path in list(runner.tmp.iterdir()):
        if path.name.startswith(("ompi.", "openmpi")):
            shutil.rmtree(path, ignore_errors=True)
