#!/usr/bin/env python3
# ===- gpu_turns.py - exchanges between GPUs, timed in turn -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Small differences between exchanges: another project's beside ours, and ours as
several compilers or options make it. All ways to do one exchange take turns.

    gpu_turns.py prepare --out DIR      compiles the artifacts; needs moe-compile
    gpu_turns.py run --artifacts DIR    measures; needs GPUs, torch and nvcc
    gpu_turns.py tables RESULT.json     prints the tables of a result again

docs/Benchmarks.md says what is measured and how.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpu import forms, group, options, peers, report, shapes  # pylint: disable=wrong-import-position


def prepare(args):
    wanted = list(forms.points(shapes.choose_models(args.models, args.quick), args.tokens))
    chosen = args.form or [forms.Form("now", args.moe_compile)]
    compiler_options = [*args.option] if args.target == "host" else [f"--gpu-format={args.format}", *args.option]
    counts, failed = forms.prepare(chosen, args.target, compiler_options, args.out, args.ranks, wanted, args.jobs)
    for name, why in failed.items():
        print(f"{name}: {why}", file=sys.stderr)
    print(", ".join(f"{name}: {count}" for name, count in counts.items()), f"artifacts in {args.out}")
    return 1 if failed else 0


def run(args):
    try:
        import torch  # pylint: disable=import-outside-toplevel
    except ImportError:
        sys.exit("gpu_turns.py run needs torch with CUDA")
    from gpu import contenders, handwritten  # pylint: disable=import-outside-toplevel
    skipped = dict.fromkeys(args.kinds, "needs GPUs")
    if args.target != "host":
        if torch.cuda.device_count() < args.ranks:
            sys.exit(f"found {torch.cuda.device_count()} GPUs, {args.ranks} asked for")
        handwritten.build_missing(args)
        skipped = peers.missing(args.kinds)
    config = options.config_of(args, target=args.target, peers=[kind for kind in args.kinds if kind not in skipped])
    left_out = [{"kind": kind, "skipped": reason} for kind, reason in skipped.items()]
    units = forms.plan(args.artifacts, shapes.choose_models(args.models, args.quick), args.tokens)
    arguments = {name: getattr(args, name) for name in (
        "commit", "ranks", "quick", "models", "tokens", "kinds", "seed", "seconds")}

    # A run may be cut off: what was measured by then is kept.
    def keep(records, machine, complete=False):
        if args.json:
            report.write(args.json, report.document(left_out + records, machine, arguments, complete))

    records, machine = group.measure(units, args.ranks, config, contenders.serve, args.seconds, log=lambda text: None,
                                     keep=keep)
    keep(records, machine, complete=True)
    print("\n".join(forms.tables(left_out + records)))
    return 1 if any(r.get("correct") is False for r in records) else 0


def tables(args):
    documents = [json.loads(path.read_text()) for path in args.results]
    print("\n".join(forms.tables([r for document in documents for r in document["records"]])))
    return 0


def main():
    parser, commands, both = options.make_parser(__doc__, quick="deepseek_v3 only")
    both.add_argument("--models", type=lambda text: text.split(","), default=[],
                      help="only these shapes of examples/models, such as olmoe,mixtral_8x7b")
    both.add_argument("--target", default="cuda:sm_90", help="host: try it without a GPU")
    both.add_argument("--tokens", type=lambda text: [int(t) for t in text.split(",")], default=list(forms.TOKENS),
                      help="tokens per rank, such as 128,4096")

    sub = commands.add_parser("prepare", parents=[both])
    sub.add_argument("--format", default="cubin", choices=("cubin", "ptx"),
                     help="cubins need ptxas here, and spare the ranks its time")
    sub.add_argument("--form", action="append", type=forms.parse_form, metavar="NAME=COMPILER[,OPTION...][@TOKENS:TOKENS...]",
                     help="a compiler with options, maybe only for some tokens; others are compared with the first")
    options.add_prepare(sub)

    sub = commands.add_parser("run", parents=[both])
    options.add_package(sub)
    options.add_run(sub, ("flashinfer",), seconds=220)

    sub = commands.add_parser("tables")
    sub.add_argument("results", type=Path, nargs="+", help="what --json wrote")

    args = parser.parse_args()
    try:
        return {"prepare": prepare, "run": run, "tables": tables}[args.command](args)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
