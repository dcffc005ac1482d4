# ===- conftest.py - what tests of builders share -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Another project's build of MLIR: jaxlib's, as its wheel on PyPI has it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import job
from function import Body


def pytest_addoption(parser):
    job.add_seed_option(parser)


@pytest.fixture(scope="session")
def ir():
    return pytest.importorskip("jaxlib.mlir.ir", reason="jaxlib is not installed")


@pytest.fixture
def context(ir):
    """A context that takes ops it does not know, as users have to make one."""
    with ir.Context() as context, ir.Location.unknown():
        context.allow_unregistered_dialects = True
        yield context


@pytest.fixture
def body(ir, context):
    made = Body(ir)
    with ir.InsertionPoint(made.block):
        yield made


@pytest.fixture
def compiler(tmp_path):
    return job.Compiler(tmp_path)


@pytest.fixture
def generator(request):
    return job.make_generator(request)
