#===- moe_mlir/_tools.py - the tools as console scripts -----*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Main functions of `moe-compile`, `moe-opt`, `moe-lsp-server` and `moe-run`.

The first three are functions of the compiler's library: a program of its own
for each would hold all of MLIR once more.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import NoReturn


def find_file(folder: str, name: str) -> Path:
    """Find a file of the package.

    Parameters
    ----------
    folder : str
        ``lib`` or ``bin``.
    name : str
        The file's name, such as ``libmoe_runtime.so``.

    Returns
    -------
    Path
        In the installed package, or in the build that the package belongs to.

    Raises
    ------
    FileNotFoundError
        When it is in neither.
    """
    package = Path(os.path.abspath(__file__)).parent
    places = [package / folder / name, package.parents[1] / folder / name]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"this installation of moe_mlir has no {name} (looked for "
        f"{' and '.join(map(str, places))}); install it again")


def _call_main(symbol: str, program: str) -> NoReturn:
    library = ctypes.CDLL(str(find_file("lib", "libmoe_compiler.so")))
    words = [program.encode(), *(os.fsencode(word) for word in sys.argv[1:])]
    array = (ctypes.c_char_p * (len(words) + 1))(*words, None)
    main = getattr(library, symbol)
    main.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
    main.restype = ctypes.c_int
    sys.stdout.flush()
    sys.exit(main(len(words), array))


def moe_compile() -> NoReturn:
    """Run ``moe-compile`` on the arguments of this process."""
    _call_main("moeCompileMain", "moe-compile")


def moe_opt() -> NoReturn:
    """Run ``moe-opt`` on the arguments of this process."""
    _call_main("moeOptMain", "moe-opt")


def moe_lsp_server() -> NoReturn:
    """Run ``moe-lsp-server`` on the arguments of this process."""
    _call_main("moeLspServerMain", "moe-lsp-server")


def moe_run() -> NoReturn:
    """Replace this process by ``moe-run``, which starts the ranks."""
    program = find_file("bin", "moe-run")
    os.execv(program, ["moe-run", *sys.argv[1:]])
