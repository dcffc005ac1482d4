#!/usr/bin/env python3
# ===- host_messages.py - what messages cost on one machine -------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
r"""A dispatch and a combine on the ranks of one machine, whose rows travel in
three ways: stored in the memory of their receivers (direct), as messages through
shared memory, and as messages by MPI. All ranks are processes that mpirun has
started, so the three differ in nothing else.

A time is the median over the calls of one run, of the slowest rank; an op's is the
sum of its phases, waits for other ranks included, averaged over calls. The table
has the median of several runs, which take turns.

    .venv/bin/python benchmarks/host_messages.py --json results/NAME.json
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np

from recording import ROOT, save

WAYS = {
    "direct": (["--transport=direct"], {}),
    "shared memory": (["--transport=messages"], {"MOE_TRANSPORT": "shared"}),
    "MPI": (["--transport=messages"], {"MOE_TRANSPORT": "mpi"}),
}


def module_text(ranks, tokens, hidden, top_k, experts):
    x, ids = f"tensor<{tokens}x{hidden}xbf16>", f"tensor<{tokens}x{top_k}xi32>"
    weights = f"tensor<{tokens}x{top_k}xf32>"
    rows, counts = ranks * tokens, f"tensor<{ranks}xi32>"
    recv = f"tensor<{rows}x{hidden}xbf16>"
    sources, places = f"tensor<{rows}xi32>", f"tensor<{tokens}x{ranks}xi32>"
    attributes = f"on @ep {{num_experts = {experts} : i64}}"
    return f"""
shard.grid @ep(shape = {ranks})
func.func @exchange(%x: {x}, %idx: {ids}, %w: {weights}) -> ({x}, {counts}) {{
  %rx, %ri, %rw, %rs, %to, %from, %sr = moe.dispatch %x, %idx, %w {attributes}
    : ({x}, {ids}, {weights})
   -> ({recv}, tensor<{rows}x{top_k}xi32>, tensor<{rows}x{top_k}xf32>, {sources},
       {counts}, {counts}, {places})
  %out = moe.combine %rx, %sr, %rs, %from {attributes}
    : ({recv}, {places}, {sources}, {counts}) -> {x}
  return %out, %to : {x}, {counts}
}}
"""


def save_inputs(folder, ranks, args, tokens, rng):
    for rank in range(ranks):
        x = rng.standard_normal((tokens, args.hidden), dtype=np.float32)
        np.save(folder / f"x{rank}.npy", x.astype(ml_dtypes.bfloat16))
        idx = np.argsort(rng.random((tokens, args.experts)), axis=1)[:, :args.top_k]
        np.save(folder / f"i{rank}.npy", idx.astype(np.int32))
        np.save(folder / f"w{rank}.npy",
                rng.random((tokens, args.top_k), dtype=np.float32))


def measure(folder, way, ranks, args):
    """Milliseconds: the whole call, the dispatch, the combine."""
    _, settings = WAYS[way]
    run = subprocess.run(
        ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none",
         "-n", str(ranks), str(args.bin_dir / "moe-run"),
         str(folder / f"{way}.so"), "--entry", "exchange",
         "--in", str(folder / "x{rank}.npy"), "--in", str(folder / "i{rank}.npy"),
         "--in", str(folder / "w{rank}.npy"), "--out", str(folder / "y{rank}.npy"),
         "--out", str(folder / "to{rank}.npy"), "--bench", str(args.calls), "--json"],
        check=True, stdout=subprocess.PIPE, text=True, timeout=300,
        env={**os.environ, **settings})
    report = json.loads(run.stdout)
    ops = {}
    for op in ("moe.dispatch", "moe.combine"):
        per_rank = [
            sum(row["ns"] / row["calls"] for row in rank["timings"] if row["op"] == op)
            for rank in report["per_rank"]
        ]
        ops[op] = max(per_rank) / 1e6
    return report["slowest_median_ns"] / 1e6, ops["moe.dispatch"], ops["moe.combine"]


def read_outputs(folder, ranks):
    return [(folder / f"{name}{rank}.npy").read_bytes()
            for rank in range(ranks) for name in ("y", "to")]


def measure_shape(ranks, tokens, args):
    """Rows of the table: one for each way."""
    rng = np.random.default_rng([args.seed, ranks, tokens])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        module = folder / "exchange.mlir"
        module.write_text(module_text(ranks, tokens, args.hidden, args.top_k,
                                      args.experts))
        save_inputs(folder, ranks, args, tokens, rng)
        for way, (options, _) in WAYS.items():
            subprocess.run([str(args.bin_dir / "moe-compile"), str(module), *options,
                            "-o", str(folder / f"{way}.so")], check=True)
        times = {way: [] for way in WAYS}
        expected = None
        for _ in range(args.runs):
            for way in WAYS:
                times[way].append(measure(folder, way, ranks, args))
                seen = read_outputs(folder, ranks)
                expected = expected or seen
                if seen != expected:
                    raise SystemExit(f"results differ: {way}, {ranks} ranks")
        sent = sum(int(np.load(folder / f"to{rank}.npy").sum()) -
                   int(np.load(folder / f"to{rank}.npy")[rank])
                   for rank in range(ranks))
    rows = []
    for way, runs in times.items():
        whole, dispatch, combine = map(statistics.median, zip(*runs))
        rows.append({
            "ranks": ranks, "tokens": tokens, "way": way, "call_ms": whole,
            "least_ms": min(run[0] for run in runs),
            "most_ms": max(run[0] for run in runs),
            "dispatch_ms": dispatch, "combine_ms": combine,
            "rows_between_ranks": sent})
        print(f"{ranks} ranks, {tokens:4} tokens, {way:13}: call {whole:9.3f} ms, "
              f"dispatch {dispatch:9.3f}, combine {combine:9.3f}", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin-dir", type=Path, default=ROOT / "build" / "bin")
    parser.add_argument("--ranks", type=int, nargs="*", default=[2, 4])
    parser.add_argument("--tokens", type=int, nargs="*", default=[128, 4096])
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--top-k", type=int, default=8)
    parser.add_argument("--experts", type=int, default=64)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the results here")
    args = parser.parse_args()
    before = os.getloadavg()
    rows = [row for ranks in args.ranks for tokens in args.tokens
            for row in measure_shape(ranks, tokens, args)]
    save(args.json, {
        "load_before": before, "load_after": os.getloadavg(),
        "shape": {key: getattr(args, key) for key in ("hidden", "top_k", "experts")},
        "element": "bf16", "calls": args.calls, "runs": args.runs,
        "seed": args.seed, "results": rows}, indent=1)


if __name__ == "__main__":
    main()
