#===- moe_mlir/__init__.py - the package --------------------*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Communication of Mixture-of-Experts layers: compile it, inspect it, run it.

The package itself loads nothing but Python. Its parts are imported when a name
of theirs is first used: `moe_mlir.compiler` brings the compiler's library,
`moe_mlir.runtime` the much smaller one that runs artifacts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from moe_mlir._version import __version__

if TYPE_CHECKING:
    from moe_mlir import compat as compat
    from moe_mlir import compiler, runtime, upstream, viz
    from moe_mlir import jax as jax
    from moe_mlir import torch as torch
    from moe_mlir import torchtitan as torchtitan
    from moe_mlir.compiler import compile  # the name it has here too
    from moe_mlir.exchange import Exchange
    from moe_mlir.runtime import Group, MoEError, run_local

# Where the names come from that are imported when they are first used. None
# stands for the module of this name.
_LAZY: dict[str, str | None] = {
    "Exchange": "moe_mlir.exchange",
    "Group": "moe_mlir.runtime",
    "MoEError": "moe_mlir.runtime",
    "compat": None,
    "compile": "moe_mlir.compiler",
    "compiler": None,
    "jax": None,
    "run_local": "moe_mlir.runtime",
    "runtime": None,
    "torch": None,
    "torchtitan": None,
    "upstream": None,
    "viz": None,
}

# Without moe_mlir.compat, moe_mlir.jax, moe_mlir.torch and moe_mlir.torchtitan, which
# need packages that not everyone has.
__all__ = [
    "Exchange",
    "Group",
    "MoEError",
    "__version__",
    "compile",
    "compiler",
    "run_local",
    "runtime",
    "upstream",
    "viz",
]


def __getattr__(name: str) -> Any:
    """Import the part of the package that has `name`."""
    try:
        home = _LAZY[name]
    except KeyError:
        raise AttributeError(
            f"module 'moe_mlir' has no attribute {name!r}; it has {', '.join(__all__)}"
        ) from None
    module = importlib.import_module(home or f"moe_mlir.{name}")
    value = getattr(module, name) if home else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
