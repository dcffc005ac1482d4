# ===- test_frameworks.py - goals, and the program of JAX -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What frameworks.py does without torch; python/tests/torch runs the whole of it."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from gpu import goals, jax_program
from programs import BIN, PACKAGE, ROOT


def record(median, **keys):
    return {"median_us": median, "correct": True, **keys}


def lines_of(records):
    return "\n".join(goals.tables(records, 4096, 128))


def test_goals_say_what_is_missed():
    passes = {"op": "forward_and_backward", "layout": "rank_major", "tokens": 4096}
    graph = {"op": "dispatch_and_combine", "layout": "rank_major", "tokens": 128, "mode": "graph", "use": "training"}
    text = lines_of([
        record(19.0, series="cpu", op="dispatch"), record(41.0, series="cpu", op="combine_grad"),
        record(95.0, series="bare", **passes), record(100.0, series="torch", **passes),
        record(290.0, series="nccl", **passes), record(22.0, series="bare", **graph),
        record(22.1, series="torch", **graph)])
    found = {line[:58].strip(): line[58:].split() for line in text.splitlines()}
    assert found["CPU of dispatch, without grad"] == ["19.00", "<=", "20", "us"]
    assert found["CPU of combine, with grad"] == ["41.00", "<=", "40", "us", "missed"]
    assert found["CPU of combine, without grad"] == ["-", "<=", "20", "us"]
    assert found["forward + backward, rank_major: bare / torch"] == ["0.95", ">=", "0.95"]
    assert found["forward + backward: torch + NCCL / ours"] == ["2.90", ">=", "3", "missed"]
    assert found["torch.cuda.graph, 128 tokens, training: torch / bare"] == ["1.00", "<=", "1.03"]


def test_wrong_results_have_no_figure():
    passes = {"op": "forward_and_backward", "layout": "rank_major", "tokens": 4096}
    text = lines_of([record(95.0, series="bare", **passes),
                     record(10.0, series="torch", **passes) | {"correct": False, "note": "wrong: grad_x"}])
    line = next(line for line in text.splitlines() if line.startswith("forward + backward, rank_major"))
    assert line.split()[-3] == "-"
    assert "wrong: grad_x" in text


def test_failures_are_named():
    text = lines_of([{"series": "jax", "op": "dispatch_and_combine", "failed": "ModuleNotFoundError: jax"}])
    assert "failed: ModuleNotFoundError: jax" in text
    assert "XLA copies: not seen" in text


LOOP = """
%fused (p: bf16[4,8]) -> bf16[4,8] {
  ROOT %copy.9 = bf16[4,8]{1,0} copy(%p)
}

%body (arg: (s32[], bf16[4,8])) -> (s32[], bf16[4,8]) {
  %call = (bf16[8,8]{1,0}, s32[4]{0}) custom-call(%x), custom_call_target="moe_mlir.call"
  %copy.1 = bf16[4,8]{1,0} copy(%y)
  ROOT %t = (s32[], bf16[4,8]{1,0}) tuple(%i, %copy.1)
}

ENTRY %main (x: bf16[4,8]) -> bf16[4,8] {
  %copy.2 = bf16[4,8]{1,0} copy(%x)
}
"""


def test_copies_are_those_beside_the_calls():
    assert jax_program.copies(LOOP) == [{"shape": "bf16[4,8]", "bytes": 64}]


@pytest.mark.skipif(importlib.util.find_spec("jaxlib") is None, reason="jaxlib is not installed")
def test_program_of_jax_on_the_host(tmp_path):
    """Prepared, compared with numpy, and timed, on two CPU devices."""
    benchmark = ROOT / "benchmarks" / "frameworks.py"
    common = ["--target", "host", "--model", "smallest", "--tokens", "16", "8", "--quick", "--package", PACKAGE]
    prepare = [sys.executable, benchmark, "prepare", *common, "--moe-compile", BIN / "moe-compile", "--out", tmp_path]
    done = subprocess.run(prepare, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 artifacts" in done.stdout
    code = ("import json, sys; from gpu import jax_ranks; print(json.dumps(jax_ranks.record("
            "{'model': 'smallest', 'tokens': 16}, 2, {'artifacts': sys.argv[1], 'package': sys.argv[2], "
            "'target': 'host', 'seed': 3}, 100)))")
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(PACKAGE), str(ROOT / "benchmarks")]))
    done = subprocess.run([sys.executable, "-c", code, tmp_path, PACKAGE], capture_output=True, text=True, timeout=120,
                          env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "failed" not in found, found
    assert found["correct"] is True
    assert found["median_us"] > 0
