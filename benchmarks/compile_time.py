#!/usr/bin/env python3
# ===- compile_time.py - what compiling a model costs -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Time, kernels and symmetric memory of models with few and with many layers.

Each layer is a dispatch and a combine in the shape of DeepSeek-V3 (bf16, hidden
size 7168, top-8 of 256 experts), with routes of its own. Equal layers share
their kernels and their memory, so both should stay those of one layer.

    compile_time.py                     1 and 61 layers, every layout, both targets
    compile_time.py --layers 1 8 64 --targets cuda --json result.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYOUTS = ("rank_major", "expert_major", "slab")
TARGETS = ("host", "cuda")
COMPILE_SECONDS = 600


@dataclass(frozen=True)
class Shape:
    """Extents of a layer; the names are those of docs/Spec.md."""

    ranks: int = 8
    tokens: int = 128
    hidden: int = 7168
    top_k: int = 8
    experts: int = 256


@dataclass(frozen=True)
class Record:
    """What compiling one model took: CPU seconds, and what came of it."""

    target: str
    layout: str
    layers: int
    cpu_seconds: float
    kernels: int
    symmetric_bytes: int
    artifact_bytes: int


def make_module(shape: Shape, layout: str, layers: int) -> str:
    """A function whose layers follow one another.

    Parameters
    ----------
    shape
        Extents of each layer.
    layout
        Layout of the received rows, a value of ``#moe.layout``.
    layers
        How many there are.

    Returns
    -------
    str
        The text of the module.
    """
    by_expert = layout == "expert_major"
    local_experts = -(-shape.experts // shape.ranks)
    capacity = shape.ranks * shape.tokens
    if by_expert:
        capacity *= min(shape.top_k, local_experts)
    tokens, hidden, top_k, ranks = shape.tokens, shape.hidden, shape.top_k, shape.ranks
    x, rows = f"tensor<{tokens}x{hidden}xbf16>", f"tensor<{capacity}x{hidden}xbf16>"
    idx, weights = f"tensor<{tokens}x{top_k}xi32>", f"tensor<{tokens}x{top_k}xf32>"
    entries = f"{capacity}" if by_expert else f"{capacity}x{top_k}"
    send_row = f"tensor<{tokens}x{top_k if by_expert else ranks}xi32>"
    per_row, per_rank = f"tensor<{capacity}xi32>", f"tensor<{ranks}xi32>"
    results = [rows, f"tensor<{entries}xi32>", f"tensor<{entries}xf32>", per_row, per_rank, per_rank, send_row]
    results += [f"tensor<{local_experts}xi32>"] * (2 if by_expert else 0)
    attributes = f"{{num_experts = {shape.experts} : i64, layout = #moe.layout<{layout}>}}"

    args = ", ".join(f"%i{n}: {idx}, %w{n}: {weights}" for n in range(layers))
    lines = [f"shard.grid @ep(shape = {ranks})", f"func.func @main(%x0: {x}, {args}) -> {x} {{"]
    for n in range(layers):
        ids, ids_type = (f" topk(%i{n})", f", {idx}") if by_expert else ("", "")
        lines += [
            f"  %d{n}:{len(results)} = moe.dispatch %x{n}, %i{n}, %w{n} on @ep {attributes}",
            f"    : ({x}, {idx}, {weights}) -> ({', '.join(results)})",
            f"  %x{n + 1} = moe.combine %d{n}#0, %d{n}#6, %d{n}#3, %d{n}#5{ids} on @ep {attributes}",
            f"    : ({rows}, {send_row}, {per_row}, {per_rank}{ids_type}) -> {x}",
        ]
    return "\n".join([*lines, f"  return %x{layers} : {x}", "}", ""])


def compile_once(compiler: Path, module: Path, target: str) -> float:
    """CPU seconds of one run of moe-compile, which assembles no kernels."""
    before = os.times()
    run(compiler, module, "--target", target, "-o", module.with_suffix(".so"))
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def run(compiler: Path, module: Path, *options: str | Path) -> str:
    """What moe-compile prints; its errors end the program."""
    done = subprocess.run([compiler, module, *options], capture_output=True, text=True, timeout=COMPILE_SECONDS,
                          check=False)
    if done.returncode != 0:
        sys.exit(f"{module.name}: moe-compile failed:\n{done.stderr}")
    return done.stdout


def measure(compiler: Path, folder: Path, target: str, layout: str, layers: int, runs: int) -> Record:
    """The record of one model; its time is the median of `runs`."""
    module = folder / f"{layout}-{layers}.mlir"
    module.write_text(make_module(Shape(), layout, layers))
    seconds = statistics.median(compile_once(compiler, module, target) for _ in range(runs))
    report = json.loads(run(compiler, module, "--target", target, "--report=json", "-o", module.with_suffix(".so")))
    ptx = run(compiler, module, "--target", target, "--emit=ptx", "-o", "-") if target == "cuda" else ""
    return Record(target, layout, layers, round(seconds, 3), ptx.count(".entry"), report["workspace_bytes"],
                  report["artifact_bytes"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 61], metavar="N")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=LAYOUTS)
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of which the median counts (default: 3)")
    parser.add_argument("--moe-compile", type=Path, default=ROOT / "build" / "bin" / "moe-compile", metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the records there, too")
    args = parser.parse_args()

    records = []
    print("| target | layout | layers | CPU s | kernels | symmetric bytes |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="moe-compile-time-") as folder:
        for target in args.targets:
            for layout in args.layouts:
                for layers in args.layers:
                    record = measure(args.moe_compile, Path(folder), target, layout, layers, args.runs)
                    records.append(record)
                    print(f"| {target} | {layout} | {layers} | {record.cpu_seconds:.2f} | {record.kernels} | "
                          f"{record.symmetric_bytes} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps([asdict(record) for record in records], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
