# ===- conftest.py - what tests of moe_mlir.compat share -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Four processes with gloo, which live as long as the tests, also as two times two."""

import os
import pathlib
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "torch")]
torch.set_num_threads(1)

from ranks import Pool  # noqa: E402


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Artifacts are compiled once in a run, for all ranks and tests."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["MOE_MLIR_CACHE_DIR"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def processes(cache, tmp_path_factory):
    """Run a function on four processes: it gets the group of all of them, then arguments."""
    with Pool(4, tmp_path_factory.mktemp("ranks")) as pool:
        yield pool.run
