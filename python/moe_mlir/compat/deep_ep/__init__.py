# ===- __init__.py - the interface of DeepEP -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""DeepEP's interface on moe-mlir's exchanges, for programs that were written for it.

Only the import changes::

    from moe_mlir.compat.deep_ep import Buffer, ElasticBuffer

What moe-mlir has not raises NotImplementedError that names it. docs/DeepEP.md lists what
there is, and what is different.
"""

from __future__ import annotations

from typing import Any

import torch

from moe_mlir.compat.deep_ep.buffer import Buffer
from moe_mlir.compat.deep_ep.config import Config
from moe_mlir.compat.deep_ep.elastic import ElasticBuffer
from moe_mlir.compat.deep_ep.event import EventHandle, EventOverlap
from moe_mlir.compat.deep_ep.handle import EPHandle

# The version whose interface this is.
__version__ = "2.1.0"

topk_idx_t = torch.int64

__all__ = [
    "Buffer",
    "Config",
    "EPHandle",
    "ElasticBuffer",
    "EventHandle",
    "EventOverlap",
    "get_logical_domain_size",
    "get_physical_domain_size",
    "topk_idx_t",
]


def _size(group: Any) -> int:
    size = group.size
    return int(size() if callable(size) else size)


def get_physical_domain_size(group: Any) -> tuple[int, int]:
    """1 and the number of ranks."""
    return 1, _size(group)


def get_logical_domain_size(group: Any, allow_hybrid_mode: bool = True) -> tuple[int, int]:
    """1 and the number of ranks: rows go from rank to rank."""
    return 1, _size(group)
