# ===- test_types.py - exchanges as type checkers see them -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What the description of an exchange says a field takes, type checkers accept."""

import subprocess
import sys

import pytest

USER = """\
import dataclasses
import numpy as np
import moe_mlir as moe

plan = moe.Exchange(num_experts=8, top_k=2, hidden=16, dtype=np.float32, max_tokens=4,
                    scales_dtype=np.dtype(np.float32), combine_dtype=None, index_dtype="i64")
other = dataclasses.replace(plan, dtype="bf16", combine_dtype=np.float16)
names: list[str] = [plan.dtype, plan.scales_dtype, other.combine_dtype]
moe.Exchange(num_experts="8", top_k=2, hidden=16, tokens=4)
number: int = plan.dtype
"""


def test_dtypes_are_taken_in_all_forms_and_kept_as_names(tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed")
    (tmp_path / "user.py").write_text(USER)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "c", "user.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if line.startswith("user.py")]
    assert errors == [
        'user.py:9: error: Argument "num_experts" to "Exchange" has incompatible type "str"; '
        'expected "int"  [arg-type]',
        'user.py:10: error: Incompatible types in assignment (expression has type "str", '
        'variable has type "int")  [assignment]',
    ], done.stdout + done.stderr
