# ===- options.py - what programs on GPUs are told -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Options that the programs which compile here and measure on GPUs share."""

import argparse
import os
from pathlib import Path

from . import group

ROOT = Path(__file__).resolve().parents[2]


def make_parser(description, quick):
    """A parser, its commands, and the options that preparing and measuring share; what `--quick` means is `quick`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    both = argparse.ArgumentParser(add_help=False)
    both.add_argument("--ranks", type=int, default=2)
    both.add_argument("--quick", action="store_true", help=quick)
    return parser, commands, both


def add_package(parser):
    parser.add_argument("--package", type=Path, default=ROOT / "build" / "python", help="folder of the Python package")


def add_prepare(parser):
    """Those of the command that compiles the artifacts."""
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--moe-compile", type=Path, default=ROOT / "build" / "bin" / "moe-compile")
    parser.add_argument("--option", action="append", default=[], metavar="OPTION",
                        help="a further option of moe-compile, such as --option=--threads=1024; may be repeated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())


def add_run(parser, kinds, seconds):
    """Those of the command that measures; `kinds` are the kinds of units that there are."""
    parser.add_argument("--artifacts", type=Path, required=True)
    parser.add_argument("--runtime", type=Path, default=ROOT / "build" / "lib" / "libmoe_runtime.so")
    parser.add_argument("--baselines", type=Path, default=Path("libmoe_baselines.so"), help="built when missing")
    parser.add_argument("--nvcc", default="/usr/local/cuda/bin/nvcc")
    parser.add_argument("--arch", default="sm_90")
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(kinds), help=",".join(kinds))
    parser.add_argument("--seconds", type=float, default=seconds, help="what is not measured by then is left out")
    parser.add_argument("--unit-seconds", type=float, default=group.UNIT_SECONDS,
                        help="how long ranks may take for a unit before others take their place")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--json", type=Path, help="write the result here, after each unit what there is")


def config_of(args, **more):
    """What every rank is told of the options of `add_package` and `add_run`."""
    return {"baselines": str(args.baselines), "runtime": str(args.runtime), "artifacts": str(args.artifacts),
            "package": str(args.package.absolute()), "seed": args.seed, "unit_seconds": args.unit_seconds, **more}
