#!/usr/bin/env python3
# ===- host_scaling.py - the host target with many ranks -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What a call of the host target costs as ranks become more than processors.

For each number of ranks an entry that dispatches and combines (bf16, by default 64
tokens of 64 elements per rank, top-4 of 2 experts per rank) is called many times.
Printed per call, and written with --json:

- time: the slowest rank's median;
- CPU: of all ranks together. It is the difference of two runs with different
  numbers of calls, so that starting the ranks does not count, and unlike the time
  it says something on a machine that has other work too;
- work: of all ranks together, in phases that do not wait for other ranks. What is
  left of the CPU time is for waiting;
- switches: context switches of all ranks.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np

from recording import ROOT, save

TOP_K = 4
# Phases of moe.dispatch and moe.combine that end with a wait for other ranks.
WAITING_PHASES = ("exchange", "complete", "ready", "release")
RUN_SECONDS = 600


@dataclasses.dataclass
class Run:
    """One run of moe-run: its report, and what it used."""

    report: dict
    cpu_seconds: float
    switches: int


def layer_module(ranks: int, tokens: int, hidden: int) -> str:
    """Dispatch, and combine of what arrived."""
    experts, rows = 2 * ranks, ranks * tokens
    x, y = f"tensor<{tokens}x{hidden}xbf16>", f"tensor<{rows}x{hidden}xbf16>"
    idx, w = f"tensor<{tokens}x{TOP_K}xi32>", f"tensor<{tokens}x{TOP_K}xf32>"
    source, counts, places = f"tensor<{rows}xi32>", f"tensor<{ranks}xi32>", f"tensor<{tokens}x{ranks}xi32>"
    return f"""
shard.grid @ep(shape = {ranks})
func.func @layer(%x: {x}, %idx: {idx}, %w: {w}) -> {x} {{
  %rx, %ri, %rw, %rs, %to, %from, %sr = moe.dispatch %x, %idx, %w on @ep {{num_experts = {experts} : i64}}
    : ({x}, {idx}, {w})
   -> ({y}, tensor<{rows}x{TOP_K}xi32>, tensor<{rows}x{TOP_K}xf32>, {source}, {counts}, {counts}, {places})
  %out = moe.combine %rx, %sr, %rs, %from on @ep {{num_experts = {experts} : i64}}
    : ({y}, {places}, {source}, {counts}) -> {x}
  return %out : {x}
}}
"""


def prepare(folder: Path, bin_dir: Path, ranks: int, tokens: int, hidden: int, seed: int) -> list[str]:
    """Compiles the module and writes its inputs; returns arguments of moe-run."""
    (folder / "layer.mlir").write_text(layer_module(ranks, tokens, hidden))
    subprocess.run([bin_dir / "moe-compile", folder / "layer.mlir", "--target", "host", "-o", folder / "layer.so"],
                   check=True)
    rng = np.random.default_rng(seed)
    for rank in range(ranks):
        x = rng.standard_normal((tokens, hidden), dtype=np.float32)
        np.save(folder / f"x{rank}.npy", x.astype(ml_dtypes.bfloat16))
        idx = np.argsort(rng.random((tokens, 2 * ranks)), axis=1)[:, :TOP_K]
        np.save(folder / f"i{rank}.npy", idx.astype(np.int32))
        np.save(folder / f"w{rank}.npy", rng.random((tokens, TOP_K), dtype=np.float32))
    arguments = ["-n", str(ranks), str(folder / "layer.so"), "--out", str(folder / "out{rank}.npy"), "--json"]
    for name in "xiw":
        arguments += ["--in", str(folder / f"{name}{{rank}}.npy")]
    return arguments


def run(bin_dir: Path, arguments: list[str], calls: int) -> Run:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([bin_dir / "moe-run", *arguments, "--bench", str(calls)], check=True,
                          stdout=subprocess.PIPE, text=True, timeout=RUN_SECONDS)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Run(json.loads(done.stdout),
               after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
               after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw)


def work_ns(report: dict) -> int:
    """Nanoseconds of all ranks and calls in phases that do not wait."""
    return sum(timing["ns"] for rank in report["per_rank"] for timing in rank["timings"]
               if timing["phase"] not in WAITING_PHASES)


def measure(bin_dir: Path, ranks: int, args: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        arguments = prepare(Path(folder), bin_dir, ranks, args.tokens, args.hidden, args.seed)
        few, many = args.calls // 5, args.calls + args.calls // 5
        short, long = run(bin_dir, arguments, few), run(bin_dir, arguments, many)
    calls = many - few
    return {
        "ranks": ranks,
        "time_ms": round(long.report["slowest_median_ns"] / 1e6, 3),
        "cpu_ms": round((long.cpu_seconds - short.cpu_seconds) / calls * 1e3, 3),
        "work_ms": round(work_ns(long.report) / many / 1e6, 3),
        "switches": round((long.switches - short.switches) / calls),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin-dir", type=Path, default=ROOT / "build" / "bin")
    parser.add_argument("--ranks", type=lambda text: [int(n) for n in text.split(",")], default=[2, 4, 8, 16, 32, 64],
                        help="numbers of ranks, such as 8,64")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--calls", type=int, default=200, help="of each number of ranks")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the result here")
    args = parser.parse_args()
    if args.calls < 5 or min(args.ranks) < 1:
        parser.error("expected 5 calls or more, of 1 rank or more")

    print(f"{'ranks':>5} {'time ms':>9} {'CPU ms':>9} {'work ms':>9} {'switches':>9}   per call; "
          f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    records = []
    for ranks in args.ranks:
        record = measure(args.bin_dir, ranks, args)
        records.append(record)
        print(f"{ranks:5} {record['time_ms']:9.3f} {record['cpu_ms']:9.3f} {record['work_ms']:9.3f} "
              f"{record['switches']:9}", flush=True)
    save(args.json, {"seed": args.seed, "tokens": args.tokens, "hidden": args.hidden, "calls": args.calls,
                     "load": os.getloadavg()[0], "records": records})
    return 0


if __name__ == "__main__":
    sys.exit(main())
