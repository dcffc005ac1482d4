#===- test_late_signals.py - kernels whose waits time out -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Kernels of the CUDA target, on fibers, some of whose waits end in vain: a
kernel runs on to its end, puts no row that the wait should have kept back (or
the fibers say so), and every run that met one ends with one error on all ranks.
"""

import re

import pytest

import oracle
from harness import RUN_SECONDS, Failure, Modules, Run
from kernels import Kernels, make_kernel_cases
from test_differential import bin_dir

CASES = 24


def is_valid(case):
    try:
        case.expected()
    except oracle.SpecifiedError:
        return False
    return True


def run_one(modules, case):
    """Whether a wait of the case ended in vain."""
    run = Run(modules, case)
    run.execute(RUN_SECONDS)
    if "fibers:" in run.err:
        raise Failure(run.err[:4000])
    if run.code == 0:
        run.check_results(case.expected())
        return False
    errors = re.findall(r".*\berror:.*", run.err)
    if len(errors) != 1 or list(run.outputs.iterdir()):
        raise Failure(f"expected one error and no results, but:\n{run.err[:4000]}")
    for word in ("moe\\.", "phase '", "timed out|time-out|timeout", "rank"):
        if not re.search(word, errors[0]):
            raise Failure(f"no /{word}/ in: {errors[0]}")
    return True


def test_late_signals(request, tmp_path):
    seed = request.config.option.moe_seed
    cases = [case for case in make_kernel_cases(seed, 150)
             if case.ranks > 1 and is_valid(case)][-CASES:]
    modules = Modules(bin_dir(), tmp_path, cases,
                      kernels=Kernels(bin_dir(), seed, late=True))
    late = 0
    for case in cases:
        try:
            late += run_one(modules, case)
        except Failure as failure:
            pytest.fail(f"seed {seed}, {case.name}: {failure}", pytrace=False)
    assert 0 < late, f"seed {seed}: no wait of {CASES} cases ended in vain"
