# ===- local.py - received rows, rearranged on their rank -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Numbers and copies that need no other rank.

Nothing here waits for the device, and shapes follow from shapes, so calls without a CPU
sync can be captured.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


def align(number: int, alignment: int) -> int:
    """The smallest multiple of `alignment` that is not below `number`."""
    return -(-number // alignment) * alignment


def round_up(numbers: torch.Tensor, alignment: int) -> torch.Tensor:
    """The same for each element."""
    return (numbers + (alignment - 1)) // alignment * alignment


def select(rows: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The rows of these numbers, whatever their type."""
    if rows.element_size() > 1:
        return rows.index_select(0, index)
    return rows.view(torch.uint8).index_select(0, index).view(rows.dtype)


def clear(rows: torch.Tensor, which: torch.Tensor) -> None:
    """Set rows to zero."""
    bits = rows if rows.element_size() > 1 else rows.view(torch.uint8)
    bits.masked_fill_(which.unsqueeze(1), 0)


def local_ids(ids: torch.Tensor, rows: torch.Tensor, experts: range) -> torch.Tensor:
    """Numbers of experts on this rank; -1 for those of other ranks.

    Parameters
    ----------
    ids : Tensor, (C, K)
        Numbers among all experts, in rows that hold a token.
    rows : Tensor, no dimension
        How many rows hold one.
    experts : range
        Those of this rank.
    """
    holds = torch.arange(ids.shape[0], device=ids.device).unsqueeze(1) < rows
    is_here = holds & (ids >= experts.start) & (ids < experts.stop)
    return torch.where(is_here, ids - experts.start, -1)


def count(ids: torch.Tensor, size: int) -> torch.Tensor:
    """How often each number from 0 to `size` - 1 occurs, int32; -1 counts for none."""
    keys = torch.where(ids < 0, size, ids).flatten()
    counts = torch.zeros(size + 1, dtype=torch.int32, device=ids.device)
    return counts.scatter_add_(0, keys, torch.ones_like(keys, dtype=torch.int32))[:size]


class Expansion(NamedTuple):
    """One row per local expert of a row, grouped by expert.

    Attributes
    ----------
    row_of_slot : Tensor, (N, K), int64
        Expanded row of each slot; -1 for experts of other ranks.
    slot_of_row : Tensor, (M,), int64
        Number of the slot of each expanded row; -1 where there is none.
    """

    row_of_slot: torch.Tensor
    slot_of_row: torch.Tensor

    @classmethod
    def of(cls, ids: torch.Tensor, counts: torch.Tensor, alignment: int, size: int) -> Expansion:
        """Number the expanded rows.

        Within an expert they are in the order of `ids`: by sender and token.

        Parameters
        ----------
        ids : Tensor, (N, K)
            Local experts of each row, or -1.
        counts : Tensor
            Rows of each local expert.
        alignment : int
            Groups start at multiples of it.
        size : int
            M, the number of expanded rows.
        """
        experts = counts.shape[0]
        keys = torch.where(ids < 0, experts, ids).flatten()
        order = torch.argsort(keys, stable=True)
        keys = keys[order]
        wide = counts.to(torch.int64)
        padded = round_up(wide, alignment)
        shift = (padded.cumsum(0) - padded) - (wide.cumsum(0) - wide)
        number = torch.arange(keys.shape[0], device=ids.device)
        rows = number + shift[keys.clamp(max=experts - 1)]
        has_row = keys < experts
        slot_of_row = torch.full((size + 1,), -1, dtype=torch.int64, device=ids.device)
        slot_of_row[torch.where(has_row, rows, size)] = order
        row_of_slot = torch.empty_like(rows)
        row_of_slot[order] = torch.where(has_row, rows, -1)
        return cls(row_of_slot.view(ids.shape), slot_of_row[:size])

    @property
    def is_gap(self) -> torch.Tensor:
        """Which expanded rows hold nothing, (M,)."""
        return self.slot_of_row < 0

    def rows(self, rows: torch.Tensor, clears_gaps: bool = False) -> torch.Tensor:
        """Each row as often as it has local experts; gaps hold anything, or zeros."""
        made = select(rows, self.slot_of_row.clamp(min=0) // self.row_of_slot.shape[1])
        if clears_gaps:
            clear(made, self.is_gap)
        return made

    def weights(self, weights: torch.Tensor) -> torch.Tensor:
        """The weight of each expanded row from those of all slots, (N, K); 0 in gaps."""
        if weights.shape[0] == 0:
            return weights.new_zeros(self.slot_of_row.shape)
        found = weights.flatten()[self.slot_of_row.clamp(min=0)]
        return torch.where(self.is_gap, 0.0, found)

    def weights_back(self, weights: torch.Tensor) -> torch.Tensor:
        """The weight of each slot from those of expanded rows; 0 in slots without a row."""
        if weights.shape[0] == 0:
            return weights.new_zeros(self.row_of_slot.shape)
        found = weights[self.row_of_slot.clamp(min=0)]
        return torch.where(self.row_of_slot < 0, 0.0, found)

    def sum(self, rows: torch.Tensor) -> torch.Tensor:
        """Expanded rows added up for each row in f32, slot by slot."""
        total = rows.new_zeros((self.row_of_slot.shape[0], rows.shape[1]), dtype=torch.float32)
        if rows.shape[0] == 0:
            return total
        for slot in self.row_of_slot.unbind(1):
            found = rows.index_select(0, slot.clamp(min=0))
            total += torch.where((slot < 0).unsqueeze(1), 0.0, found.float())
        return total


def column_major(scales: torch.Tensor, alignment: int = 4) -> torch.Tensor:
    """The same scales with the strides (1, rows), the rows aligned as TMA needs them."""
    rows, columns = scales.shape
    stride = align(rows, alignment)
    made = torch.empty_strided(
        (rows, columns), (1, stride), dtype=scales.dtype, device=scales.device
    )
    return made.copy_(scales)
