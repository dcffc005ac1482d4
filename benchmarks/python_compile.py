#!/usr/bin/env python3
# ===- python_compile.py - compiling from Python, measured -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What importing the package and compiling from Python cost.

Dispatch and combine of DeepSeek-V3 (examples/models) are compiled for both targets:
by the program moe-compile, by moe_mlir.compiler.compile without a cache, and with one
that has the artifact. Each figure is the median of several, the imports those of fresh
interpreters. CPU time says something on a machine that has other work too; wall-clock
time is printed beside it.

    PYTHONPATH=build/python python_compile.py --bin build/bin --json result.json
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from moe_mlir.compiler import Cache, compile, version

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "examples" / "models" / "deepseek_v3.mlir"
TARGETS = ("host", "cuda:sm_90")


@dataclass
class Cost:
    """What something takes, in milliseconds."""

    what: str
    wall_ms: float
    cpu_ms: float


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(what: str, action: Callable[[], object], rounds: int) -> Cost:
    """Time an action, its threads and its child processes included."""
    walls, cpus = [], []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time() + children_seconds()
        action()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() + children_seconds() - cpu)
    return Cost(what, statistics.median(walls) * 1e3, statistics.median(cpus) * 1e3)


def measure_import(statement: str, rounds: int) -> Cost:
    """Time a statement in fresh interpreters, without their own start."""
    script = (
        "import time; w, c = time.perf_counter(), time.process_time()\n"
        f"{statement}\n"
        "print(time.perf_counter() - w, time.process_time() - c)"
    )
    times = []
    for _ in range(rounds):
        run = subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True
        )
        times.append([float(word) for word in run.stdout.split()])
    walls, cpus = zip(*times, strict=True)
    return Cost(statement, statistics.median(walls) * 1e3, statistics.median(cpus) * 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, default=ROOT / "build" / "bin")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--commit", default="")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    costs = [
        measure_import(f"import {name}", args.rounds) for name in ("moe_mlir", "moe_mlir.compiler")
    ]
    source = MODEL.read_text()
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(folder)
        for target in TARGETS:
            out = str(Path(folder) / "out.so")
            program = [str(args.bin / "moe-compile"), str(MODEL), "--target", target, "-o", out]
            options = {"report": "none", "remarks": "none"}
            costs.append(
                measure(
                    f"moe-compile, {target}",
                    lambda: subprocess.run(program, check=True),
                    args.rounds,
                )
            )
            costs.append(
                measure(
                    f"compile(), {target}",
                    lambda: compile(source, target, cache=False, **options),
                    args.rounds,
                )
            )
            compile(source, target, cache=cache)
            costs.append(
                measure(
                    f"compile(), {target}, cached",
                    lambda: compile(source, target, cache=cache),
                    100,
                )
            )
    width = max(len(cost.what) for cost in costs)
    print(f"{'':{width}}  wall ms   CPU ms")
    for cost in costs:
        print(f"{cost.what:{width}}  {cost.wall_ms:7.2f}  {cost.cpu_ms:7.2f}")
    if args.json:
        result = {
            "date": date.today().isoformat(),
            "machine": f"{platform.processor() or platform.machine()}, {platform.platform()}",
            "python": platform.python_version(),
            "commit": args.commit,
            "compiler": version(),
            "costs": [asdict(cost) for cost in costs],
        }
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
