# ===- conftest.py - what tests of exchanges share -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compiles and binds plans with the programs of the build."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import job


@pytest.fixture(scope="session")
def compiler(tmp_path_factory):
    return job.Compiler(tmp_path_factory.mktemp("compiler"))


@pytest.fixture(params=["processes", "threads"])
def load(compiler, tmp_path, request):
    """Binds a plan to ranks, as group.load does to those of a group.

    A value is a list with one array per rank.
    """

    def load(plan, ranks, **options):
        artifact = plan.build(ranks, compiler=compiler, **options)
        if request.param == "threads":
            return plan.bind(job.ThreadLoaded(artifact))
        return plan.bind(job.Loaded(artifact, tmp_path))

    return load


@pytest.fixture
def generator(request):
    """Random numbers; the seed is printed, so that a failure can be repeated."""
    seed = np.random.SeedSequence().entropy % 2**32
    print(f"{request.node.name}: seed {seed}")
    return np.random.default_rng(seed)
