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
)

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
            dtype = torch.int64 if spec.dtype == "i64" else torch.int32
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


class Pieces:
    """Cuts the tensor of routes into several parts at once, which is fast.

    Parameters
    ----------
    layout : Layout
    names : list of str
        Which parts, in which order; `send_row` is one of them.
    """

    def __init__(self, layout: Layout, names: list[str]) -> None:
        self._fixed, self._slots = layout.fixed, layout.slots
        self._sizes: list[int] = []
        number: dict[str, int] = {}
        at = 0
        for name, part in layout.parts.items():
            if name in names:
                if part.start > at:
                    self._sizes.append(part.start - at)
                number[name] = len(self._sizes)
                self._sizes.append(part.size)
                at = part.start + part.size
        if layout.fixed > at:
            self._sizes.append(layout.fixed - at)
        number["send_row"] = len(self._sizes)
        self._numbers = [number[name] for name in names]
        self._at = names.index("send_row")
        # Those that are more than their elements.
        self._shaped = [
            (i, layout.parts[name])
            for i, name in enumerate(names)
            if name == "recv_topk_idx"
            and (layout.parts[name].dtype != torch.int32 or len(layout.parts[name].shape) > 1)
        ]

    def of(self, routes: torch.Tensor) -> list[torch.Tensor]:
        """The parts, in the memory of the routes; autograd does not know that they are."""
        sizes = [*self._sizes, routes.shape[0] - self._fixed]
        # Integers have no gradients that a view would be needed for.
        pieces = torch.unsafe_split_with_sizes(routes, sizes)
        parts = [pieces[number] for number in self._numbers]
        parts[self._at] = parts[self._at].view(-1, self._slots)
        for i, part in self._shaped:
            parts[i] = part.of(parts[i])
        return parts
