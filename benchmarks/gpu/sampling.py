# ===- sampling.py - which samples count -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Samples of a call that a CPU enqueues while a GPU is held back. Where the CPU
took longer than that, the sample says how busy the CPU was; it is taken again."""

import dataclasses

ROUNDS = 5


@dataclasses.dataclass
class Sample:
    gpu_us: float
    enqueue_us: float
    is_late: bool  # whether the GPU may have waited for the CPU of this rank


def take_samples(take, agree, wanted, warmup):
    """`wanted` samples, those that were late on no rank first, and how many of
    them were late on some rank.

    `take(n)` takes n samples of this rank; `agree(flags)` tells for each of them
    whether any rank's flag is set. All ranks call both alike.
    """
    timely, late = [], []
    for _ in range(ROUNDS):
        if len(timely) >= wanted:
            break
        taken = take(warmup + wanted - len(timely))[warmup:]
        for sample, is_late in zip(taken, agree([s.is_late for s in taken])):
            (late if is_late else timely).append(sample)
    kept = late[:max(wanted - len(timely), 0)]
    return timely[:wanted] + kept, len(kept)
