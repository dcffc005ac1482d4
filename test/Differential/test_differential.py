#===- test_differential.py - compiler against oracle -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Whole modules, compiled and run on R processes, against the numpy oracle.

Needs MOE_BIN_DIR, the directory of moe-compile and moe-run; without it the
build directory of this checkout is taken.
"""

import os
import shlex
from pathlib import Path

import pytest

from cases import cases_of_messages, make_cases, share_of
from harness import Failure, Modules, Run
from kernels import Kernels, make_kernel_cases

REPOSITORY = Path(__file__).resolve().parents[2]


def bin_dir() -> Path:
    path = Path(
        os.environ.get("MOE_BIN_DIR", REPOSITORY / "build" / "bin")).absolute()
    missing = [
        tool for tool in ("moe-compile", "moe-run")
        if not os.access(path / tool, os.X_OK)
    ]
    if missing:
        pytest.fail(f"{path} (MOE_BIN_DIR) has no {' and no '.join(missing)}")
    return path.resolve()


def pytest_generate_tests(metafunc):
    if "case" not in metafunc.fixturenames:
        return
    option = metafunc.config.option
    make = make_kernel_cases if option.moe_kernels else make_cases
    cases = make(option.moe_seed, option.moe_cases)
    if option.moe_transport == "messages":
        cases = cases_of_messages(cases)
    cases = share_of(cases, option.moe_seed, option.moe_share)
    metafunc.config.moe_all_cases = cases
    metafunc.parametrize("case", cases, ids=[case.name for case in cases])


@pytest.fixture(scope="session")
def modules(request, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("differential")
    option = request.config.option
    kernels = Kernels(bin_dir(), option.moe_seed) if option.moe_kernels else None
    return Modules(
        bin_dir(), work_dir, request.config.moe_all_cases, option.moe_target,
        kernels, option.moe_seed,
        option.moe_schedule if option.moe_transport == "messages" else None,
    )


def test_case(case, modules, request):
    run = failure = None
    try:
        run = Run(modules, case)
        run.check()
    except Failure as caught:
        failure = str(caught)
    if failure is None:
        return
    option = request.config.option
    again = [
        "pytest", f"{Path(__file__).resolve()}::test_case[{case.name}]",
        "--moe-seed", str(option.moe_seed),
        "--moe-cases", str(option.moe_cases),
        "--moe-share", str(option.moe_share),
        "--moe-target", option.moe_target,
        f"--moe-transport={option.moe_transport}",
        f"--moe-schedule={option.moe_schedule}",
    ]
    if option.moe_kernels:
        again.append("--moe-kernels")
    lines = [
        failure, f"case: {case.name}: {case.params}",
        f"seed: {option.moe_seed}",
        f"reproduce: MOE_BIN_DIR={modules.bin_dir} {shlex.join(again)}",
    ]
    if run is not None:
        lines.append(f"command: cd {run.dir} && {shlex.join(run.command)}")
    pytest.fail("\n".join(lines), pytrace=False)
