# ===- conftest.py - what tests of JAX programs share -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Four CPU devices of this process, of which meshes take as many as they need."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

# Read when JAX is imported.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import job

if importlib.util.find_spec("jaxlib") is None:

    class Skipped(pytest.Module):
        def collect(self):
            pytest.skip("jaxlib is not installed", allow_module_level=True)

    def pytest_pycollect_makemodule(module_path, parent):
        return Skipped.from_parent(parent, path=module_path)


def pytest_addoption(parser):
    job.add_seed_option(parser)


@pytest.fixture
def generator(request):
    return job.make_generator(request)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Plans that several tests use are compiled once."""
    os.environ["MOE_MLIR_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
