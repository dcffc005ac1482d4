# ===- moe_mlir/compiler/tools.py - the programs of the compiler --*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The programs of the compiler, which live in its library.

Each function is the main of the program of its name: it reads ``sys.argv`` and
returns the exit status. A process calls one of them, once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from moe_mlir import _compiler


def _run(main: Callable[[list[str]], int]) -> int:
    # As a program without Python has them. Python only notes an interrupt, and
    # ends nobody whose reader is gone.
    for number in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    return main(sys.argv)


def moe_compile() -> int:
    """Compile a module to an artifact, as ``moe-compile --help`` says."""
    return _run(_compiler.run_moe_compile)


def moe_opt() -> int:
    """Run passes, as ``moe-opt --help`` says."""
    return _run(_compiler.run_moe_opt)


def moe_reduce() -> int:
    """Reduce a module that shows a failure, as ``moe-reduce --help`` says."""
    return _run(_compiler.run_moe_reduce)


def moe_lsp_server() -> int:
    """Serve an editor, as ``moe-lsp-server --help`` says."""
    return _run(_compiler.run_moe_lsp_server)
