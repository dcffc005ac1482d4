# ===- conftest.py - processes for tests of moe_mlir.torchtitan -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Four processes with gloo, of which meshes take all or two."""

import os
import pathlib
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("spmd_types", reason="torchtitan and what it needs are not installed")

HERE = pathlib.Path(__file__).parent
PATH = [str(HERE), str(HERE.parent / "torch")]
sys.path[:0] = PATH
torch.set_num_threads(1)

from ranks import Pool, forking  # noqa: E402

RANKS = 4


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Artifacts are compiled once in a run, for all ranks and tests."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["MOE_MLIR_CACHE_DIR"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def context(cache):
    """Importing torchtitan takes seconds, so processes are forks of one that has."""
    # That one does not get the path of this process.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [*PATH, *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    return forking("titan", "moe_mlir.torchtitan")


@pytest.fixture(scope="session")
def processes(context, tmp_path_factory):
    """Run a function on the processes, which live as long as the tests."""
    with Pool(RANKS, tmp_path_factory.mktemp("ranks"), context) as pool:
        yield pool.run
