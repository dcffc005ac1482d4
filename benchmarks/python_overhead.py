#!/usr/bin/env python3
# ===- python_overhead.py - what a call from Python costs -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What calls cost from Python, above the C API and the framework's allocation.

An entry with 3 arguments and 7 results that does not communicate is called on one
rank of the host target, in turn

- from C (moe-call-cost): moert_entry_launch with the release of its results, and
  moert_entry_launch_into;
- from Python into given arrays, and with results that the framework allocates:
  numpy's, and torch's where torch is installed;
- and the framework's allocation of 7 such arrays alone.

Each figure is the median of 15 rounds, in nanoseconds per call; the whole is
repeated, and the smallest of each is taken, since other work on the machine only
adds. Run with PYTHONPATH=build/python.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from moe_mlir.runtime import Group
from overhead_rounds import keep_least, time_rounds
from recording import ROOT, save

NUM_RESULTS = 7


def module() -> str:
    """An entry that does next to nothing.

    Each result has a value of its own. Of equal results the compiler would make one, so that
    a call allocated one tensor instead of seven.
    """
    result = "tensor<8xf32>"
    values = "\n".join(f"  %v{i} = arith.constant {i}.0 : f32" for i in range(NUM_RESULTS))
    fills = "\n".join(
        f"  %r{i} = linalg.fill ins(%v{i} : f32) outs(%e{i} : {result}) -> {result}"
        for i in range(NUM_RESULTS)
    )
    empties = "\n".join(f"  %e{i} = tensor.empty() : {result}" for i in range(NUM_RESULTS))
    names = ", ".join(f"%r{i}" for i in range(NUM_RESULTS))
    types = ", ".join([result] * NUM_RESULTS)
    return f"""
func.func @small(%x: tensor<8x16xf32>, %idx: tensor<8x2xi32>, %w: tensor<8x2xf32>)
    -> ({types}) {{
{values}
{empties}
{fills}
  return {names} : {types}
}}
"""


def measure(call, calls: int) -> float:
    """Median nanoseconds of a call."""
    return statistics.median(time_rounds(call, calls))


def of_numpy(entry, calls: int) -> dict[str, float]:
    given = (np.zeros((8, 16), "f4"), np.zeros((8, 2), "i4"), np.zeros((8, 2), "f4"))
    outs = [np.empty(8, "f4") for _ in range(NUM_RESULTS)]
    dtype = np.dtype("f4")
    return {
        "numpy_into": measure(lambda: entry.into(outs, *given), calls),
        "numpy_call": measure(lambda: entry(*given), calls),
        "numpy_allocation": measure(
            lambda: [np.empty((8,), dtype) for _ in range(NUM_RESULTS)], calls
        ),
    }


def of_torch(entry, calls: int) -> dict[str, float]:
    import torch

    given = (
        torch.zeros(8, 16),
        torch.zeros(8, 2, dtype=torch.int32),
        torch.zeros(8, 2),
    )
    outs = [torch.empty(8) for _ in range(NUM_RESULTS)]
    return {
        "torch_into": measure(lambda: entry.into(outs, *given), calls),
        "torch_call": measure(lambda: entry(*given), calls),
        "torch_allocation": measure(lambda: [torch.empty(8) for _ in range(NUM_RESULTS)], calls),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", type=Path, default=ROOT / "build" / "bin")
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the results here")
    args = parser.parse_args()

    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, Group.from_env() as group:
        path = Path(folder, "small.so")
        path.with_suffix(".mlir").write_text(module())
        subprocess.run(
            [args.bin / "moe-compile", path.with_suffix(".mlir"), "-o", path], check=True
        )
        entry = group.load(path).entry()
        for _ in range(args.repeat):
            program = subprocess.run(
                [args.bin / "moe-call-cost", path, str(args.calls)],
                check=True, capture_output=True, text=True,
            )
            launch, into = map(float, program.stdout.split())
            found = {"c_launch": launch, "c_launch_into": into} | of_numpy(entry, args.calls)
            if importlib.util.find_spec("torch"):
                found |= of_torch(entry, args.calls)
            keep_least(best, found)

    above: dict[str, float] = {}
    for framework in ("numpy", "torch"):
        if f"{framework}_into" not in best:
            continue
        above[f"{framework}_into_above_launch"] = best[f"{framework}_into"] - best["c_launch"]
        above[f"{framework}_into_above_launch_into"] = (
            best[f"{framework}_into"] - best["c_launch_into"]
        )
        allocating = best[f"{framework}_call"] - best[f"{framework}_into"]
        above[f"{framework}_call_per_result_above_allocation"] = (
            allocating - best[f"{framework}_allocation"]
        ) / NUM_RESULTS
    result = {
        "python": platform.python_version(),
        "arguments": 3,
        "results": NUM_RESULTS,
        "ns_per_call": {name: round(value) for name, value in best.items()},
        "ns_above": {name: round(value) for name, value in above.items()},
    }
    save(args.json, result, prints=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
