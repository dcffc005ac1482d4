# ===- programs.py - finds and runs the programs of the project -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Finds ``moe-compile`` and ``moe-run`` and runs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class CommandError(Exception):
    """Why a command ends; its text is all that the user sees."""


def folders() -> list[Path]:
    """Where programs are looked for before ``PATH``.

    In a wheel they are beside the package or where pip puts scripts; in a build
    tree, whose package is build/python/moe_mlir, in build/bin.
    """
    package = Path(__file__).absolute().parents[1]
    return [package / "bin", package.parents[1] / "bin", Path(sys.executable).parent]


def find(name: str) -> Path | None:
    """The path of a program, or None."""
    for folder in folders():
        found = shutil.which(name, path=str(folder))
        if found:
            return Path(found)
    found = shutil.which(name)
    return Path(found) if found else None


def need(name: str) -> str:
    """The path of a program.

    Raises
    ------
    CommandError
        It is nowhere.
    """
    found = find(name)
    if found is None:
        places = ", ".join(map(str, folders()))
        raise CommandError(
            f"expected the program {name} in PATH or one of: {places}; found none. "
            "The wheel has it; a build tree has it after `ninja -C build`"
        )
    return str(found)


def run(command: Sequence[str], timeout: float) -> str:
    """Standard output of a program that ends well.

    Raises
    ------
    CommandError
        It ends with an error, which is the text, or not in time.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise CommandError(f"{Path(command[0]).name} did not end within {timeout:g} s") from None
    if done.returncode != 0:
        text = done.stderr.strip() or f"ended with exit code {done.returncode}"
        name = Path(command[0]).name
        raise CommandError(text.removeprefix(f"{name}: error: "))
    return done.stdout
