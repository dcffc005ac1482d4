#===- conftest.py - options of the tests of math -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""--moe-seed, --math-values, --math-mpmath and --math-targets; without a seed
every run takes a fresh one."""

import random


def pytest_addoption(parser):
    group = parser.getgroup("moe math test")
    group.addoption(
        "--moe-seed", type=int, default=None, metavar="S",
        help="seed of all operands (default: a fresh one)",
    )
    group.addoption(
        "--math-values", type=int, default=None, metavar="N",
        help="random operands of each function, and values of small types, at "
        "least (default: what takes seconds)",
    )
    group.addoption(
        "--math-mpmath", type=int, default=40, metavar="N",
        help="results of each function to compare with mpmath too, drawn by lot "
        "(default: %(default)s)",
    )
    group.addoption(
        "--math-targets", default="host,cuda", metavar="LIST",
        help="targets to run on; cuda is the stand-in driver where the "
        "environment names its folder (default: %(default)s)",
    )


def pytest_configure(config):
    if config.getoption("--moe-seed") is None:
        config.option.moe_seed = random.SystemRandom().randrange(2**31)


def pytest_report_header(config):
    return f"moe math test: --moe-seed {config.option.moe_seed}"


def pytest_terminal_summary(terminalreporter):
    errors = getattr(terminalreporter.config, "math_errors", None)
    if not errors:
        return
    terminalreporter.write_line("largest errors, in units of the last place of f32:")
    targets = sorted({target for row in errors.values() for target in row})
    terminalreporter.write_line(f"  {'op':18}" + "".join(f"{t:>24}" for t in targets))
    for op, row in errors.items():
        cells = "".join(
            f"{row[t][0]:12.8f} of {row[t][1]:8d}" if t in row else " " * 24
            for t in targets
        )
        terminalreporter.write_line(f"  {op:18}{cells}")
