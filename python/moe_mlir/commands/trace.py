# ===- trace.py - when each phase began and ended -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""``python -m moe_mlir trace``: a time line of all ranks, for Perfetto."""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import programs, workload


def add_parser(commands: Any) -> None:
    """Adds the command to those of ``python -m moe_mlir``."""
    parser = commands.add_parser(
        "trace",
        help="write a time line of all ranks",
        description="Runs a module or an artifact and writes when each phase of each rank began "
        "and ended, as JSON for https://ui.perfetto.dev or chrome://tracing. What follows FILE "
        "goes to moe-run. Without FILE a dispatch of random tokens is run.",
    )
    parser.add_argument("-o", "--output", default="trace.json", help="(default: trace.json)")
    workload.add_options(parser)
    parser.add_argument("--calls", type=int, default=5, help="calls, without FILE (default: 5)")
    parser.add_argument("file", nargs="?", metavar="FILE", help="module or artifact")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="of moe-run")
    parser.set_defaults(run=run)


def compiled(file: str, options: Sequence[str], folder: Path) -> str:
    """The artifact of a module, for the target that the options name.

    ``moe-run`` compiles modules as well, but only with a compiler in its own folder.
    """
    if not file.endswith(".mlir"):
        return file
    target = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    target.add_argument("--target", default="host")
    known, _ = target.parse_known_args(list(options))
    artifact = str(folder / "module.so")
    command = [programs.need("moe-compile"), file, "--target", known.target, "-o", artifact]
    programs.run(command, workload.COMPILE_SECONDS)
    return artifact


def run(given: argparse.Namespace) -> int:
    """Writes the trace and says how to look at it."""
    with tempfile.TemporaryDirectory(prefix="moe-trace-") as folder:
        if given.file:
            artifact = compiled(given.file, given.rest, Path(folder))
            command = [programs.need("moe-run"), artifact, *given.rest, "--trace", given.output]
            # What the run prints, and its errors, are for the user.
            if subprocess.run(command, check=False).returncode != 0:
                return 1
        else:
            load = workload.Workload(given, Path(folder))
            load.run("dispatch", "--bench", str(given.calls), "--trace", given.output)
    document = json.loads(Path(given.output).read_text(encoding="utf-8"))
    bars = sum(event["ph"] == "X" for event in document["traceEvents"])
    dropped = document["otherData"]["dropped"]
    print(
        f"{given.output}: {bars} bars"
        + (f", {dropped} left out since there was no room" if dropped else "")
        + "; open it with https://ui.perfetto.dev or chrome://tracing"
    )
    return 0
