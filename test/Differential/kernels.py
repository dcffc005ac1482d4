#===- kernels.py - kernels of the CUDA target on fibers of a CPU -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Shapes and schedules of kernels, from the seed; docs/Testing.md says what they
find and what not."""

from __future__ import annotations

import random
from pathlib import Path


def use_pulls(cases):
    """Kernels pull; a module that asks for a push is refused."""
    for case in cases:
        for op in case.entry.body:
            if getattr(op, "algorithm", None) == "push":
                op.algorithm = "pull"


class Kernels:
    """How modules are compiled and run when fibers execute their kernels."""

    # Few cases per module: each module has a shape of its own.
    cases_per_module = 4

    def __init__(self, bin_dir: Path, seed: int):
        self.library = bin_dir.parent / "lib" / "libmoe_fibers.so"
        self.seed = seed
        if not self.library.is_file():
            raise FileNotFoundError(f"{self.library} (ninja moe_fibers)")

    def compile_options(self, module):
        lot = random.Random(f"{self.seed} {module}")
        threads = lot.choice((32, 64, 64, 128, 256))
        options = [
            "--kernels=fibers", f"--blocks={lot.randint(1, 5)}",
            f"--threads={threads}",
        ]
        if lot.random() < 0.6:
            return options + [
                "--transfer=bulk", f"--stages={lot.choice((2, 2, 3, 4))}",
            ]
        teams = [team for team in (1, 2, 4) if team <= threads // 32]
        return options + ["--transfer=stores", f"--team={lot.choice(teams)}"]

    def run_prefix(self, case):
        schedule = random.Random(f"{self.seed} {case.name}").randrange(2**32)
        return [
            "env", f"LD_PRELOAD={self.library}", f"MOE_FIBER_SEED={schedule}",
        ]
