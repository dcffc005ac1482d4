#===- conftest.py - options of the differential test -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""--moe-seed, --moe-cases, --moe-share, --moe-target, --moe-transport, --moe-schedule,
--moe-kernels, --moe-job-sizes and --moe-job-cases; without a seed every run takes
a fresh one."""

import os
import random

DEFAULT_CASES = 150


def pytest_addoption(parser):
    group = parser.getgroup("moe differential test")
    group.addoption(
        "--moe-seed", type=int, default=None, metavar="S",
        help="seed of all cases (default: a fresh one)",
    )
    group.addoption(
        "--moe-cases", type=int, default=DEFAULT_CASES, metavar="N",
        help="number of random cases beside the fixed ones "
        "(default: %(default)s)",
    )
    group.addoption(
        "--moe-share", type=int, default=1, metavar="N",
        help="run one in N of the fixed cases, drawn anew for each seed (default: "
        "%(default)s, all; also where MOE_TEST_ALL is 1)",
    )
    group.addoption(
        "--moe-target", default="host", metavar="TARGET",
        help="target of moe-compile and moe-run (default: %(default)s)",
    )
    group.addoption(
        "--moe-transport", default="direct", metavar="TRANSPORT",
        help="how ranks exchange rows: direct or messages "
        "(default: %(default)s)",
    )
    group.addoption(
        "--moe-schedule", default="exact", metavar="SCHEDULE",
        help="with messages, how long they are: exact or padded "
        "(default: %(default)s)",
    )
    group.addoption(
        "--moe-kernels", action="store_true",
        help="run the kernels of the CUDA target, on fibers of the CPU",
    )
    group.addoption(
        "--moe-job-sizes", type=int, default=2, metavar="N",
        help="how many numbers of ranks test_jobs.py draws (default: %(default)s)",
    )
    group.addoption(
        "--moe-job-cases", type=int, default=8, metavar="N",
        help="how many cases it draws for each, at most (default: %(default)s)",
    )


def pytest_configure(config):
    if config.getoption("--moe-seed") is None:
        config.option.moe_seed = random.SystemRandom().randrange(2**31)
    if os.environ.get("MOE_TEST_ALL", "0") != "0":
        config.option.moe_share = 1


def pytest_report_header(config):
    return (
        f"moe differential test: --moe-seed {config.option.moe_seed} "
        f"--moe-cases {config.option.moe_cases} "
        f"--moe-share {config.option.moe_share}"
    )
