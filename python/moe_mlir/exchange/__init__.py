# ===- __init__.py - exchanges described without MLIR -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Exchanges of Mixture-of-Experts layers, described in a few words.

An :class:`Exchange` says what is sent: how many experts, how many of them per
token, how long a row is, how received rows are laid out. It makes the module,
the report of what that costs, and the compiled artifact for any number of
ranks; bound to a loaded artifact it is an :class:`ExpertParallel`.
"""

from __future__ import annotations

from .description import Exchange
from .parallel import ExpertParallel
from .received import Handle, Received
from .report import EntryCost, ExchangeReport, Kernel, KernelShape, OpCost
from .signature import Signature, TensorSpec

__all__ = [
    "EntryCost",
    "Exchange",
    "ExchangeReport",
    "ExpertParallel",
    "Handle",
    "Kernel",
    "KernelShape",
    "OpCost",
    "Received",
    "Signature",
    "TensorSpec",
]
