#===- attributes.py - attributes of ops and what follows from them -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Attributes of dispatches and combines, and the extents they ask for."""

from __future__ import annotations

from dataclasses import dataclass

from .placement import max_local_experts


@dataclass
class DispatchAttrs:
    ranks: int
    num_experts: int
    layout: str = "rank_major"
    order: str = "token"
    overflow: str = "error"
    alignment: int = 1
    padding: str = "none"
    list_alignment: int | None = None
    keep_blocks: bool = False
    capacity: int | None = None
    max_tokens: int | None = None
    static_tokens: int | None = None
    kernel: str | None = None  # without a meaning: how it is done
    algorithm: str | None = None  # the same (dispatch_s13)

    @property
    def t_max(self) -> int:
        if self.static_tokens is not None:
            return self.static_tokens
        return self.max_tokens

    def rows(self, k: int) -> int:
        """C, the rows of a receive buffer (dispatch_s8)."""
        if self.capacity is not None:
            assert self.layout != "slab"
            return self.capacity
        rows = self.ranks * self.t_max
        if self.layout == "expert_major":
            rows *= min(k, max_local_experts(self.num_experts, self.ranks))
        return rows

    def list_places(self, k: int) -> int:
        """L, the places of a list (dispatch_s15)."""
        local = max_local_experts(self.num_experts, self.ranks)
        entries = self.rows(k) * min(k, local)
        most = entries + min(local, entries) * (self.list_alignment - 1)
        return most - most % self.list_alignment


@dataclass
class CombineAttrs:
    ranks: int
    num_experts: int
    layout: str = "rank_major"
    max_tokens: int | None = None
    static_tokens: int | None = None
    kernel: str | None = None  # without a meaning: how it is done
    reduce: str = "sum"
    partials: str = "f32"

    @property
    def t_max(self) -> int:
        if self.static_tokens is not None:
            return self.static_tokens
        return self.max_tokens
