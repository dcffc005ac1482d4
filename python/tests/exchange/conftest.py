# ===- conftest.py - what tests of exchanges share -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compiles and binds plans with the programs of the build."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import job

# What the interpreter of PTX is spared, since it takes seconds: what differs by type
# alone, and what happens before anything is called.
NOT_ON_GPUS = ("i64", "bf16", "max_tokens", "messages", "earlier")


def pytest_addoption(parser):
    job.add_seed_option(parser)


def pytest_collection_modifyitems(config, items):
    left = [
        item
        for item in items
        if "[gpus" in item.name and any(word in item.name for word in NOT_ON_GPUS)
    ]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="session")
def compiler(tmp_path_factory):
    return job.Compiler(tmp_path_factory.mktemp("compiler"))


@pytest.fixture(params=["processes", "threads", "gpus"])
def load(compiler, tmp_path, request):
    """Binds a plan to ranks, as group.load does to those of a group.

    A value is a list with one array per rank. GPUs are those of the driver that
    interprets PTX.
    """
    driver = os.environ.get("MOE_STANDIN_DRIVER_DIR", "")
    if request.param == "gpus" and not driver:
        pytest.skip("MOE_STANDIN_DRIVER_DIR names no driver that interprets PTX")

    def load(plan, ranks, **options):
        if request.param == "gpus":
            artifact = plan.build(ranks, "cuda", compiler=compiler, **options)
            return plan.bind(job.Loaded(artifact, tmp_path, driver))
        artifact = plan.build(ranks, compiler=compiler, **options)
        if request.param == "threads":
            return plan.bind(job.ThreadLoaded(artifact))
        return plan.bind(job.Loaded(artifact, tmp_path))

    return load


@pytest.fixture
def generator(request):
    return job.make_generator(request)
