# ===- __main__.py - whether a peer can be measured -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Imports a peer, compiles its kernels where it has that step, and says in the
last line what went wrong."""

import importlib
import sys

from . import PEERS


def prepare(kind):
    peer = PEERS[kind]
    module = importlib.import_module(peer.module)
    absent = [name for name in peer.needs if not hasattr(module, name)]
    if absent:
        raise ImportError(f"{peer.module} has no {', '.join(absent)}")
    if peer.has_build:
        importlib.import_module(f".{kind}", __package__).build()


def main():
    try:
        prepare(sys.argv[1])
    except Exception as error:  # pylint: disable=broad-except
        lines = str(error).splitlines() or [""]
        print(error, f"{type(error).__name__}: {lines[0]}", sep="\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
