#===- moe_mlir/_tools.py - the tools as console scripts -----*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Files that come with the package, and `moe-run`, which is one of them.

The other programs are functions of the compiler's library
(`moe_mlir.compiler.tools`).
"""

from __future__ import annotations

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


def moe_run() -> NoReturn:
    """Replace this process by ``moe-run``, which starts the ranks."""
    program = find_file("bin", "moe-run")
    os.execv(program, ["moe-run", *sys.argv[1:]])
