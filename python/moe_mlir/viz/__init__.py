# ===- __init__.py - pictures of what moved, and how fast -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Pictures: who sends how much to whom, which experts are busy, how fast it is.

Each function draws into one pair of axes and returns it, so that pictures can be
put together and saved as matplotlib does it:

>>> from moe_mlir import viz
>>> axes = viz.traffic([[3, 1], [0, 2]])
>>> axes.figure.savefig("traffic.png")  # doctest: +SKIP

matplotlib is imported when a function is first called; ``pip install
moe-mlir[viz]`` brings it.
"""

from __future__ import annotations

from .bandwidth import bandwidth
from .load import expert_load
from .phases import phases
from .traffic import traffic

__all__ = ["bandwidth", "expert_load", "phases", "traffic"]
