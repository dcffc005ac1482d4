# ===- routes.py - the routes of a dispatch in one tensor -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Where the parts of the routes lie in the one int32 tensor that has them all.

One allocation takes the place of seven, and one tensor of integers is all that
autograd, checkpoints and graphs have to keep.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch

from moe_mlir.exchange import Exchange

# The routes among the results of a dispatch, in the order in which they lie in the
# tensor. `recv_topk_idx` comes first, since its elements may have 8 bytes. `send_row`
# is the last one, since its size is that of the call.
_FIXED = (
    "recv_topk_idx",
    "recv_src_idx",
    "n_tokens_from_rank",
    "n_tokens_to_rank",
    "expert_offsets",
    "expert_counts",
    "list_rows",
    "list_weights",
    "peer_blocks",
)

_DTYPES = {"i32": torch.int32, "i64": torch.int64, "f32": torch.float32}

# Elements that parts are aligned to: to 16 bytes on GPUs, which leaves gaps that
# nothing writes or reads.
_ALIGNMENT = {"cpu": 1, "cuda": 4}


class Part(NamedTuple):
    """A part of the tensor: its first element, number of elements, shape and type."""

    start: int
    size: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    def of(self, elements: torch.Tensor) -> torch.Tensor:
        """The elements with the part's shape and type."""
        if self.dtype != torch.int32:
            elements = elements.view(self.dtype)
        return elements if len(self.shape) == 1 else elements.view(self.shape)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Parts of the tensor of routes.

    Attributes
    ----------
    fixed : int
        Elements in front of `send_row`.
    slots : int
        Elements of `send_row` for each token.
    parts : dict
        Each part but `send_row`.
    """

    fixed: int
    slots: int
    parts: dict[str, Part]

    @classmethod
    def of(cls, plan: Exchange, ranks: int, device: str) -> Layout:
        """The layout for a plan, a number of ranks and a type of devices."""
        specs = {spec.name: spec for spec in plan.signature("dispatch", ranks).results}
        at, parts = 0, {}
        for spec in (specs[name] for name in _FIXED if name in specs):
            dtype = _DTYPES[spec.dtype]
            size = dtype.itemsize // 4
            for extent in spec.shape:
                size *= extent
            parts[spec.name] = Part(at, size, spec.shape, dtype)
            at += size + -size % _ALIGNMENT[device]
        return cls(at, plan.slots(ranks), parts)

    def part(self, routes: torch.Tensor, name: str) -> torch.Tensor:
        """A view of one part that is not `send_row`."""
        part = self.parts[name]
        return part.of(routes[part.start : part.start + part.size])

    def send_row(self, routes: torch.Tensor) -> torch.Tensor:
        """The rows that tokens have gone to, (T, slots)."""
        return routes[self.fixed :].view(-1, self.slots)

    def place(self, name: str) -> tuple[int, tuple[int, ...], str] | None:
        """First byte, shape and element type of a part; None for what is none.

        The -1 in the shape of `send_row` stands for the tokens that there is room for.
        """
        if name == "send_row":
            return self.fixed * torch.int32.itemsize, (-1, self.slots), "i32"
        part = self.parts.get(name)
        if part is None:
            return None
        dtype = next(name for name, dtype in _DTYPES.items() if dtype == part.dtype)
        return part.start * torch.int32.itemsize, part.shape, dtype
