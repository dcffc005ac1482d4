# ===- overhead_rounds.py - calls that cost microseconds, timed -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""How torch_overhead.py and python_overhead.py measure calls on a machine that has other work."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

ROUNDS = 15


def time_rounds(call: Callable[[], object], calls: int) -> list[float]:
    """Nanoseconds of a call in each of several rounds."""
    rounds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter_ns()
        for _ in range(calls):
            call()
        rounds.append((time.perf_counter_ns() - begun) / calls)
    return rounds


def keep_least(best: dict[str, float], found: Mapping[str, float]) -> None:
    """Of each figure the smallest, since other work only adds to it."""
    for name, value in found.items():
        best[name] = min(value, best.get(name, value))
