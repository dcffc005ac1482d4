# ===- test_benchmark.py - the benchmark runs on the host target -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""benchmarks/frameworks.py with two processes and few tokens: its results are right.

The times that it measures here say nothing, and nothing is asked of them.
"""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ["MOE_BIN_DIR"]).absolute()
SECONDS = 120


def test_results_are_right_on_the_host(tmp_path):
    program = [sys.executable, ROOT / "benchmarks" / "frameworks.py"]
    common = ["--target", "host", "--model", "smallest", "--tokens", "16", "8"]
    common += ["--package", BIN.parent / "python"]
    written = tmp_path / "result.json"
    run = ["run", *common, "--kinds", "training,captured", "--artifacts", tmp_path]
    run += ["--rounds", "1", "--samples", "1"]
    for command in (
        ["prepare", *common, "--moe-compile", BIN / "moe-compile", "--out", tmp_path],
        [*run, "--json", written],
    ):
        done = subprocess.run(
            [*program, *command], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    records = json.loads(written.read_text())["records"]
    failed = [record for record in records if record.get("correct") is not True]
    assert not failed, failed
    found = {(r["layout"], r["op"], r["series"], r.get("use")) for r in records}
    assert found == {
        *(("rank_major", "forward_and_backward", way, None) for way in ("bare", "torch", "nccl")),
        *(("expert_major", "forward_and_backward", way, None) for way in ("bare", "torch")),
        ("rank_major", "dispatch_and_combine", "bare", None),
        *(
            ("rank_major", "dispatch_and_combine", way, use)
            for way in ("bare", "torch")
            for use in ("training", "zero_copy")
        ),
    }  # fmt: skip
