# ===- test_python_overhead.py - an entry with seven results -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""That what python_overhead.py calls has as many results as it says."""

import subprocess

from programs import BIN, run


def test_results_are_not_merged(tmp_path):
    text = run("from python_overhead import *; print(NUM_RESULTS, module())")
    count, module = text.split("\n", 1)
    (tmp_path / "small.mlir").write_text(module)
    subprocess.run([BIN / "moe-compile", "small.mlir", "--emit=mlir", "-o", "small.llvm.mlir"],
                   cwd=tmp_path, check=True, timeout=120)
    lowered = (tmp_path / "small.llvm.mlir").read_text()
    assert lowered.count("llvm.call @moert_alloc_result(") == int(count)
