# ===- __init__.py - exchanges as operators of torch -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Dispatch and combine as operators of torch, with gradients.

Two lines more than a dense layer::

    recv = ep.dispatch(x, topk_idx, topk_weights)
    out = ep.combine(experts(recv.x, recv.expert_counts), recv.handle, recv.topk_weights)

They work under autograd, ``torch.compile(fullgraph=True)``, ``torch.cuda.graph``, on
side streams and with activation checkpointing. docs/Torch.md has the whole program.
"""

from __future__ import annotations

from moe_mlir.torch.checkpoint import reuse_routes
from moe_mlir.torch.parallel import ExpertParallel
from moe_mlir.torch.received import Handle, Received

__all__ = ["ExpertParallel", "Handle", "Received", "reuse_routes"]
