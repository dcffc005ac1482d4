# ===- test_overhead_plan.py - entries that do nothing -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""That what torch_overhead.py calls does nothing: neither a kernel nor a copy."""

import os
import subprocess

import pytest

from programs import BIN, run

# Work that a call puts in a stream is what a capture of it has.
COUNT = """
import sys
import cuda
import moe_mlir as moe
from overhead_plan import PLAN

(group,) = moe.Group.local(1, backend="cuda")
driver = cuda.Driver()
driver.use(0)
stream = driver.stream()
with group:
    loaded = group.load(sys.argv[1])
    for name in PLAN.entries:
        signed = PLAN.signature(name, 1)
        arguments, results = (
            [group.empty([4 if n < 0 else n for n in spec.shape], spec.dtype, like="tensor") for spec in specs]
            for specs in (signed.arguments, signed.results)
        )
        loaded[name].into(results, *arguments, stream=stream.value)
        group.synchronize(stream.value)
        driver.begin_capture(stream)
        loaded[name].into(results, *arguments, stream=stream.value)
        print(name, driver.count_captured(stream))
"""

MODULE = "from overhead_plan import *; print(hollow(PLAN, 1)); print('//', *PLAN.entries)"


@pytest.fixture(scope="module")
def module():
    return run(MODULE)


def test_no_work_for_a_gpu(module, tmp_path):
    (tmp_path / "overhead.mlir").write_text(module)
    subprocess.run([BIN / "moe-compile", "overhead.mlir", "--target=cuda", "-o", "overhead.so"],
                   cwd=tmp_path, check=True, timeout=120)
    counted = run(COUNT, tmp_path / "overhead.so", LD_LIBRARY_PATH=os.environ["MOE_STANDIN_DRIVER_DIR"])
    entries = module.splitlines()[-1].split()[1:]
    assert "dispatch" in entries
    assert counted.split("\n") == [*(f"{name} 0" for name in entries), ""]
