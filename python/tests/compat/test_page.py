# ===- test_page.py - the code of docs/DeepEP.md -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The Python of docs/DeepEP.md runs, and its tables name what there is."""

import os
import pathlib
import re
import subprocess
import sys

import recorded

PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "DeepEP.md"
SECONDS = 400


def test_code(cache, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    program = tmp_path / "program.py"
    program.write_text("\n".join(blocks))
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, capture_output=True, text=True,
        timeout=SECONDS, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_tables_name_each_method():
    named = re.findall(r"`([\w*]+)`", PAGE.read_text())
    patterns = [re.escape(name).replace(r"\*", r"\w*") for name in named]
    for name in (*recorded.ELASTIC, *recorded.BUFFER):
        assert name.startswith("_") or name in named, name
    for name in (*recorded.ELASTIC_MISSING, *recorded.BUFFER_MISSING):
        found = [p for p in patterns if re.fullmatch(p, name.removeprefix("get_"))]
        assert found or name in named, name
