# ===- __main__.py - python -m moe_mlir -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""``python -m moe_mlir info|bench|trace``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from moe_mlir.commands import bench, info, trace
from moe_mlir.commands.programs import CommandError


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m moe_mlir",
        description="Communication of Mixture-of-Experts layers.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (info, bench, trace):
        command.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        Exit status: 0, 1 after an error, 2 for a wrong command line.
    """
    given = make_parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except CommandError as error:
        print(f"moe_mlir: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
