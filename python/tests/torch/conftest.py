# ===- conftest.py - what tests of moe_mlir.torch share -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Groups of threads and of processes for tests of moe_mlir.torch."""

import os
import pathlib
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

sys.path.insert(0, str(pathlib.Path(__file__).parent))
# Two ranks share two cores with whatever else runs.
torch.set_num_threads(1)

from ranks import Pool  # noqa: E402

import moe_mlir  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Artifacts are compiled once in a run, for all ranks and tests."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["MOE_MLIR_CACHE_DIR"] = str(folder)
    return folder


@pytest.fixture
def threads():
    """Run a function on ranks that are threads: it gets an ExpertParallel of a plan."""

    def run(ranks, plan, function, *arguments):
        def main(group):
            return function(moe_mlir.torch.ExpertParallel(plan, group), *arguments)

        return moe_mlir.run_local(ranks, main)

    return run


@pytest.fixture(scope="session")
def processes(cache, tmp_path_factory):
    """Run a function on two processes with gloo, which live as long as the tests."""
    with Pool(2, tmp_path_factory.mktemp("ranks")) as pool:
        yield pool.run
