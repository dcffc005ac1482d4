#!/usr/bin/env python3
"""Cost of the host target: compile time, and dispatch against memcpy.

Prints, and with --json writes, two things measured in one run on this machine:

1. CPU time of `moe-compile` for examples/models/deepseek_v3.mlir.
2. Bandwidth of a host dispatch (by default 4 ranks, T 1024, H 7168, bf16, top-8 of
   256 experts, uniform random routing) in bytes written per second, beside
   the bandwidth of memcpy: as many processes as ranks copy buffers of the size a
   rank writes, at the same time. A time is the slowest rank's median of a whole call:
   routing, counts, rows and completion.
"""
import argparse
import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ml_dtypes
import numpy as np

from recording import ROOT, save


def dispatch_module(ranks, tokens, hidden, top_k, experts):
    rows = ranks * tokens
    return f"""
shard.grid @ep(shape = {ranks})
func.func @dispatch(%x: tensor<{tokens}x{hidden}xbf16>, %idx: tensor<{tokens}x{top_k}xi32>,
                    %w: tensor<{tokens}x{top_k}xf32>) -> tensor<{ranks}xi32> {{
  %rx, %ri, %rw, %rs, %to, %from, %sr = moe.dispatch %x, %idx, %w on @ep {{num_experts = {experts} : i64}}
    : (tensor<{tokens}x{hidden}xbf16>, tensor<{tokens}x{top_k}xi32>, tensor<{tokens}x{top_k}xf32>)
   -> (tensor<{rows}x{hidden}xbf16>, tensor<{rows}x{top_k}xi32>, tensor<{rows}x{top_k}xf32>,
       tensor<{rows}xi32>, tensor<{ranks}xi32>, tensor<{ranks}xi32>, tensor<{tokens}x{ranks}xi32>)
  return %to : tensor<{ranks}xi32>
}}
"""


def compile_cost(moe_compile, module, out, repeats):
    """Median CPU seconds of `repeats` compilations."""
    seconds = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([moe_compile, module, "--target", "host", "-o", out], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(seconds)


def copy_worker(num_bytes, repeats, barrier, results, index):
    rng = np.random.default_rng(index)
    source = rng.integers(0, 256, num_bytes, dtype=np.uint8)
    target = np.empty_like(source)
    np.copyto(target, source)
    times = []
    for _ in range(repeats):
        barrier.wait()
        start = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - start)
    results[index] = statistics.median(times)


def memcpy_seconds(num_bytes, processes, repeats):
    """Slowest process's median time to copy `num_bytes`, all at the same time."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(processes)
    results = context.Array("d", processes)
    workers = [
        context.Process(target=copy_worker, args=(num_bytes, repeats, barrier, results, i))
        for i in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode != 0:
            sys.exit("a memcpy process failed")
    return max(results)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin-dir", type=Path, default=ROOT / "build" / "bin")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--hidden", type=int, default=7168)
    parser.add_argument("--top-k", type=int, default=8)
    parser.add_argument("--experts", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the result here")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        seconds = compile_cost(args.bin_dir / "moe-compile", ROOT / "examples/models/deepseek_v3.mlir", tmp / "model.so", 5)

        module = tmp / "dispatch.mlir"
        module.write_text(dispatch_module(args.ranks, args.tokens, args.hidden, args.top_k, args.experts))
        rng = np.random.default_rng(args.seed)
        for rank in range(args.ranks):
            x = rng.standard_normal((args.tokens, args.hidden), dtype=np.float32)
            np.save(tmp / f"x{rank}.npy", x.astype(ml_dtypes.bfloat16))
            idx = np.argsort(rng.random((args.tokens, args.experts)), axis=1)[:, : args.top_k]
            np.save(tmp / f"i{rank}.npy", idx.astype(np.int32))
            np.save(tmp / f"w{rank}.npy", rng.random((args.tokens, args.top_k), dtype=np.float32))
        run = subprocess.run(
            [args.bin_dir / "moe-run", "-n", str(args.ranks), module, "--entry", "dispatch",
             "--in", tmp / "x{rank}.npy", "--in", tmp / "i{rank}.npy", "--in", tmp / "w{rank}.npy",
             "--out", tmp / "to{rank}.npy", "--bench", str(args.repeats), "--json"],
            check=True, stdout=subprocess.PIPE, text=True)
        report = json.loads(run.stdout)
        call = report["slowest_median_ns"] / 1e9

        row_bytes = args.hidden * 2 + args.top_k * 8 + 4
        written = [int(np.load(tmp / f"to{rank}.npy").sum()) * row_bytes for rank in range(args.ranks)]

    copy = memcpy_seconds(max(written), args.ranks, args.repeats)
    dispatch_rate = sum(written) / call
    copy_rate = max(written) * args.ranks / copy
    result = {
        "seed": args.seed,
        "shape": {k: getattr(args, k) for k in ("ranks", "tokens", "hidden", "top_k", "experts")},
        "compile_deepseek_v3_cpu_s": round(seconds, 3),
        "dispatch_ms": round(call * 1e3, 3),
        "bytes_written_per_rank": max(written),
        "dispatch_gb_per_s": round(dispatch_rate / 1e9, 2),
        "memcpy_gb_per_s": round(copy_rate / 1e9, 2),
        "dispatch_share_of_memcpy": round(dispatch_rate / copy_rate, 3),
    }
    print(f"moe-compile deepseek_v3.mlir          {seconds:8.3f} s CPU")
    print(f"dispatch, {args.ranks} ranks, whole call        {call * 1e3:8.2f} ms   {dispatch_rate / 1e9:7.2f} GB/s written, all ranks")
    print(f"memcpy, {args.ranks} processes, same bytes      {copy * 1e3:8.2f} ms   {copy_rate / 1e9:7.2f} GB/s written, all processes")
    print(f"dispatch / memcpy                     {dispatch_rate / copy_rate:8.2f}")
    save(args.json, result)


if __name__ == "__main__":
    main()
