#===- test_jobs.py - ranks that mpirun starts, against the oracle -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""The cases of test_differential.py, whose rows travel by MPI: between processes
of this machine, and between two hosts that it stands for. With both schedules.

--moe-job-sizes and --moe-job-cases say how many. Needs MOE_BIN_DIR as the other
test does, and the package moe_mlir in MOE_PYTHON_DIR, or else in the build
directory of this checkout.
"""

import os
import random
import shlex
from pathlib import Path

import pytest

from cases import cases_of_messages, make_cases, share_of
from harness import Failure
from jobs import LAUNCHERS, REPOSITORY, SCHEDULES, Jobs
from test_differential import bin_dir


def python_dir() -> Path:
    path = Path(
        os.environ.get("MOE_PYTHON_DIR", REPOSITORY / "build" / "python"))
    if not list((path / "moe_mlir").glob("_runtime*.so")):
        pytest.fail(f"{path} (MOE_PYTHON_DIR) has no built moe_mlir")
    return path.resolve()


def draw(option):
    """Some cases of some numbers of ranks. One rank exchanges nothing."""
    cases = cases_of_messages(make_cases(option.moe_seed, option.moe_cases))
    cases = share_of(cases, option.moe_seed, option.moe_share)
    lot = random.Random(f"{option.moe_seed} jobs")
    by_ranks = {}
    for case in cases:
        if case.ranks > 1:
            by_ranks.setdefault(case.ranks, []).append(case)
    drawn = []
    for ranks in lot.sample(sorted(by_ranks), min(option.moe_job_sizes, len(by_ranks))):
        group = by_ranks[ranks]
        drawn += lot.sample(group, min(option.moe_job_cases, len(group)))
    return drawn


def pytest_generate_tests(metafunc):
    cases = draw(metafunc.config.option)
    metafunc.config.moe_job_cases = cases
    metafunc.parametrize("case", cases, ids=[case.name for case in cases])


@pytest.fixture(scope="session")
def jobs(request, tmp_path_factory):
    made = Jobs(bin_dir(), python_dir(), tmp_path_factory.mktemp("jobs"),
                request.config.moe_job_cases, request.config.option.moe_seed)
    yield made
    made.close()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("launcher", sorted(LAUNCHERS))
def test_job(case, launcher, schedule, jobs, request):
    if reason := LAUNCHERS[launcher].why_not():
        pytest.skip(reason)
    try:
        jobs.check(case, launcher, schedule)
        return
    except Failure as caught:
        failure = str(caught)
    option = request.config.option
    again = [
        "pytest", f"{Path(__file__).resolve()}::{request.node.name}",
        *(f"--moe-{name}={getattr(option, 'moe_' + name.replace('-', '_'))}"
          for name in ("seed", "cases", "share", "job-sizes", "job-cases")),
    ]
    pytest.fail("\n".join([
        failure, f"case: {case.name}: {case.params}", f"seed: {option.moe_seed}",
        f"reproduce: MOE_BIN_DIR={jobs.bin_dir} "
        f"MOE_PYTHON_DIR={jobs.python_dir} {shlex.join(again)}",
    ]), pytrace=False)
