#!/usr/bin/env python3
# ===- frameworks.py - exchanges called from torch and JAX -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What dispatch and combine cost when torch or JAX calls them, beside the compiled entries that they
call and beside torch with NCCL.

    frameworks.py prepare --out DIR     compiles the artifacts; needs moe-compile
    frameworks.py run --artifacts DIR   measures; needs GPUs, torch and nvcc, and JAX for its row
    frameworks.py tables RESULT.json    prints the tables of a result again

Inputs are random, results are checked before they are timed, and a figure is the median of the
slowest rank. On one GPU there is what the calls cost the CPU. With `--target host` everything runs
on the CPU, which tries the program and measures nothing. docs/Benchmarks.md says more.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpu import goals, group, modules, options, report, shapes  # pylint: disable=wrong-import-position

OVERHEAD = Path(__file__).with_name("torch_overhead.py")
OVERHEAD_ARTIFACT = "overhead.so"
OVERHEAD_SECONDS = 120
KINDS = ("cpu", "training", "captured", "jax")


def units_of(args):
    from gpu import plans  # pylint: disable=import-outside-toplevel
    units = plans.units(shapes.find(args.model), args.quick, *args.tokens)
    return [unit for unit in units if unit["kind"] in args.kinds]


def prepare(args):
    from gpu import plans  # pylint: disable=import-outside-toplevel
    import overhead_plan  # pylint: disable=import-outside-toplevel
    artifacts = plans.wanted(args.ranks, plans.units(shapes.find(args.model), args.quick, *args.tokens))
    artifacts.append(modules.Artifact(OVERHEAD_ARTIFACT, overhead_plan.hollow(overhead_plan.PLAN, 1)))
    return modules.run_prepare(args, artifacts)


def cpu_cost(args):
    """Records of torch_overhead.py, in a process of its own."""
    device = "cpu" if args.target == "host" else "cuda"
    command = [sys.executable, OVERHEAD, "--device", device, "--artifact", args.artifacts / OVERHEAD_ARTIFACT]
    command += ["--calls", "100", "--repeat", "2"] if args.quick else []
    environment = dict(os.environ, PYTHONPATH=str(args.package.absolute()))
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "overhead.json"
        try:
            done = subprocess.run([*command, "--json", written], env=environment, text=True, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, timeout=OVERHEAD_SECONDS)
        except subprocess.TimeoutExpired:
            return [{"kind": "cpu", "failed": f"did not end within {OVERHEAD_SECONDS} s"}]
        if done.returncode:
            return [{"kind": "cpu", "failed": done.stderr.strip()[-2000:] or "ended without a word"}]
        found = json.loads(written.read_text())["us_per_call"]
    return [{"series": "cpu", "op": name, "median_us": value} for name, value in found.items()]


def run(args):
    try:
        import torch  # pylint: disable=import-outside-toplevel
    except ImportError:
        sys.exit("frameworks.py run needs torch")
    from gpu import handwritten, jax_ranks, training  # pylint: disable=import-outside-toplevel
    gpus, is_host = torch.cuda.device_count(), args.target == "host"
    if not is_host and gpus < 1:
        sys.exit("found no GPU")
    kinds = args.kinds
    if not is_host and gpus < args.ranks:
        print(f"found {gpus} GPUs, {args.ranks} asked for: only what calls cost the CPU is measured")
        kinds = [kind for kind in kinds if kind == "cpu"]
    if not is_host and kinds != ["cpu"]:
        handwritten.build_missing(args)
    config = options.config_of(args, target=args.target, rounds=args.rounds, samples=args.samples)
    arguments = {name: getattr(args, name) for name in (
        "commit", "ranks", "quick", "model", "tokens", "rounds", "samples", "seed", "target")}
    records, machine, end = [], {}, time.monotonic() + args.seconds

    # A run may be cut off: what was measured by then is kept.
    def keep(more, machine, complete=False):
        if args.json:
            report.write(args.json, report.document(records + more, machine, arguments, complete))

    if "cpu" in kinds:
        records += cpu_cost(args)
        keep([], machine)
    units = [unit for unit in units_of(args) if unit["kind"] in kinds]
    if units:
        measured, machine = group.measure(units, args.ranks, config, training.serve, end - time.monotonic(), keep=keep)
        records += measured
    if "jax" in kinds:
        unit = {"model": args.model, "tokens": args.tokens[0]}
        left = min(jax_ranks.SECONDS, end - time.monotonic())
        records.append(jax_ranks.record(unit, args.ranks, config, left))
    keep([], machine, complete=True)
    print("\n".join(goals.tables(records, *args.tokens)))
    return 1 if any(r.get("correct") is False for r in records) else 0


def tables(args):
    document = json.loads(args.result.read_text())
    print("\n".join(goals.tables(document["records"], *document["arguments"]["tokens"])))
    return 0


def main():
    parser, commands, both = options.make_parser(__doc__, quick="rank_major only, and fewer calls")
    both.add_argument("--model", default=shapes.QUICK_MODEL, help="a shape of examples/models")
    both.add_argument("--tokens", type=int, nargs=2, default=[4096, 128], metavar=("TRAINING", "CAPTURED"),
                      help="tokens per rank of training and of CUDA graphs")
    options.add_package(both)
    both.add_argument("--target", default="cuda:sm_90", help="host: try it without a GPU")

    sub = commands.add_parser("prepare", parents=[both])
    options.add_prepare(sub)

    sub = commands.add_parser("run", parents=[both])
    options.add_run(sub, KINDS, seconds=300)
    sub.add_argument("--rounds", type=int, default=6, help="how often series take turns")
    sub.add_argument("--samples", type=int, default=10, help="of a series in a round")

    sub = commands.add_parser("tables")
    sub.add_argument("result", type=Path, help="what --json wrote")

    args = parser.parse_args()
    if args.command != "tables":
        sys.path.insert(0, str(args.package.absolute()))
    return {"prepare": prepare, "run": run, "tables": tables}[args.command](args)


if __name__ == "__main__":
    sys.exit(main())
