# ===- inductor.py - what inductor must not reorder -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What ``torch.compile`` must not do to graphs with exchanges."""

from __future__ import annotations

__all__ = ["keep_order_of_graphs"]


def keep_order_of_graphs() -> None:
    """Keep inductor from ordering operators by the sizes that tensors have on this rank.

    Exchanges of one graph that do not depend on each other, such as those of two
    micro-batches, have to run in the same order on all ranks. torch knows that of its own
    collectives alone. Its pass for less memory orders all other operators by the sizes of
    their tensors, which differ between ranks; without this pass the order is that of the
    program.
    """
    from torch._inductor import config

    if getattr(config, "reorder_for_peak_memory", False):
        config.reorder_for_peak_memory = False
