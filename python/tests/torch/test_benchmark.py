# ===- test_benchmark.py - the benchmark runs on the host target -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Benchmarks of GPUs with two processes and few tokens: their results are right.

The times that they measure here say nothing, and nothing is asked of them.
"""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ["MOE_BIN_DIR"]).absolute()
# Of a program, and of one of its units, on a busy machine.
SECONDS, UNIT_SECONDS = 300, "200"


def test_results_are_right_on_the_host(tmp_path):
    program = [sys.executable, ROOT / "benchmarks" / "frameworks.py"]
    common = ["--target", "host", "--model", "smallest", "--tokens", "16", "8"]
    common += ["--package", BIN.parent / "python"]
    written = tmp_path / "result.json"
    run = ["run", *common, "--kinds", "training,captured", "--artifacts", tmp_path]
    run += ["--rounds", "1", "--samples", "1", "--unit-seconds", UNIT_SECONDS]
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


def test_forms_take_turns(tmp_path):
    program = [sys.executable, ROOT / "benchmarks" / "gpu_turns.py"]
    compiler, written = BIN / "moe-compile", tmp_path / "result.json"
    run = ["run", "--artifacts", tmp_path, "--runtime", BIN.parent / "lib" / "libmoe_runtime.so"]
    forms = [f"now={compiler}", f"same={compiler}", f"push={compiler},--combine-algorithm=push"]
    for command in (
        ["prepare", "--out", tmp_path, *(f"--form={form}" for form in forms)],
        [*run, "--kinds", "flashinfer", "--unit-seconds", UNIT_SECONDS, "--json", written],
    ):
        done = subprocess.run(
            [*program, *command, "--target", "host", "--quick", "--tokens", "8"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    records = json.loads(written.read_text())["records"]
    assert records[0] == {"kind": "flashinfer", "skipped": "needs GPUs"}
    failed = [record for record in records[1:] if record.get("correct") is not True]
    assert not failed, failed
    # A form whose artifacts are those of the first one is not measured.
    assert {record["form"] for record in records[1:]} == {"now", "push"}
    assert {record["layout"] for record in records[1:]} == {"slab", "rank_major", "expert_major"}
    assert "forms that differ" in done.stdout
