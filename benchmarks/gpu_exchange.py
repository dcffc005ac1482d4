#!/usr/bin/env python3
# ===- gpu_exchange.py - exchanges between GPUs, measured -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Exchanges between the GPUs of a machine, all measured in one run: what the
links carry, NCCL, hand-written kernels, and what this compiler makes.

    gpu_exchange.py prepare --out DIR     compiles the artifacts; needs moe-compile
    gpu_exchange.py run --artifacts DIR   measures; needs GPUs, torch and nvcc
    gpu_exchange.py tables RESULT.json    prints the tables of a result again

docs/Benchmarks.md says what is measured and how.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpu import group, modules, options, peers, report, shapes  # pylint: disable=wrong-import-position


def block_list(text):
    return [0 if word == "auto" else int(word) for word in text.split(",")]


def prepare(args):
    artifacts = modules.wanted(args.ranks, shapes.choose_models(args.models, args.quick), args.tokens, args.blocks)
    return modules.run_prepare(args, artifacts)


def run(args):
    try:
        import torch  # pylint: disable=import-outside-toplevel
    except ImportError:
        sys.exit("gpu_exchange.py run needs torch with CUDA")
    from gpu import handwritten, rank  # pylint: disable=import-outside-toplevel
    if torch.cuda.device_count() < args.ranks:
        sys.exit(f"found {torch.cuda.device_count()} GPUs, {args.ranks} asked for")
    handwritten.build_missing(args)
    config = options.config_of(args, blocks=args.blocks)
    skipped = peers.missing(args.kinds)
    left_out = [{"kind": kind, "skipped": reason} for kind, reason in skipped.items()]
    for record in left_out:
        print(f"kind={record['kind']}\n  skipped: {record['skipped']}")
    kinds = [kind for kind in args.kinds if kind not in skipped]
    units = shapes.plan(shapes.choose_models(args.models, args.quick), kinds, args.tokens)
    arguments = {name: getattr(args, name) for name in (
        "commit", "ranks", "quick", "models", "tokens", "blocks", "kinds", "seed", "seconds")}

    # A run may be cut off: what was measured by then is kept.
    def keep(records, machine, complete=False):
        if args.json:
            report.write(args.json, report.document(left_out + records, machine, arguments, complete))

    records, machine = group.measure(units, args.ranks, config, rank.serve, args.seconds, keep=keep)
    keep(records, machine, complete=True)
    print("\n".join(report.tables(left_out + records)))
    return 1 if any(r.get("correct") is False for r in records) else 0


def tables(args):
    """Of several runs, those of the same kind on one machine, as if of one."""
    try:
        documents = [json.loads(path.read_text()) for path in args.results]
    except OSError as error:
        raise ValueError(error) from error
    for path, document in zip(args.results, documents):
        if not isinstance(document, dict) or "records" not in document:
            raise ValueError(f"{path} is no result of this benchmark: it has no records")
    print("\n".join(report.tables([r for document in documents for r in document["records"]])))
    return 0


def main():
    parser, commands, both = options.make_parser(__doc__, quick="deepseek_v3 only")
    both.add_argument("--models", type=lambda text: text.split(","), default=[],
                      help="only these shapes of examples/models, such as olmoe,mixtral_8x7b")
    both.add_argument("--tokens", type=lambda text: [int(t) for t in text.split(",")], default=list(shapes.TOKENS),
                      help="tokens per rank, such as 128,4096")
    both.add_argument("--blocks", type=block_list, default=list(shapes.BLOCKS),
                      help="blocks per kernel of ours, such as auto,16,132")

    sub = commands.add_parser("prepare", parents=[both])
    sub.add_argument("--target", default="cuda:sm_90")
    options.add_prepare(sub)

    sub = commands.add_parser("run", parents=[both])
    options.add_package(sub)
    options.add_run(sub, shapes.KINDS, seconds=480)

    sub = commands.add_parser("tables")
    sub.add_argument("results", type=Path, nargs="+", help="what --json wrote; the records of all are put together")

    args = parser.parse_args()
    if args.command != "tables" and (args.ranks < 1 or min(args.tokens) < 1):
        parser.error("ranks and tokens are at least 1")
    try:
        return {"prepare": prepare, "run": run, "tables": tables}[args.command](args)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
