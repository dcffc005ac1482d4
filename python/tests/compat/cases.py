# ===- cases.py - inputs of all ranks, and what has to come of them -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Inputs that any rank can make for any other, and a reference that knows no exchange.

The reference is loops over tokens, in the order in which results are specified: rows by
sender and token, expanded rows by expert, sender and token.
"""

from __future__ import annotations

import dataclasses

import torch

from moe_mlir.compat import deep_ep


@dataclasses.dataclass
class Case:
    """Tokens of one rank."""

    x: torch.Tensor
    idx: torch.Tensor
    weights: torch.Tensor
    scales: torch.Tensor

    def rows(self, use_fp8):
        """What a dispatch takes."""
        return (self.x.to(torch.float8_e4m3fn), self.scales) if use_fp8 else self.x


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Shapes of a case."""

    ranks: int
    experts: int = 8
    top_k: int = 3
    hidden: int = 32
    max_tokens: int = 6
    device: str = "cpu"

    @property
    def local(self):
        return self.experts // self.ranks

    def tokens(self, rank, seed=0):
        """Ranks have different numbers of tokens; the last one of an odd seed has none."""
        if seed % 2 and rank == self.ranks - 1:
            return 0
        return self.max_tokens - (rank + seed) % 3

    def case(self, rank, seed=0):
        generator = torch.Generator().manual_seed(100 * seed + rank)
        tokens = self.tokens(rank, seed)
        scores = torch.rand(tokens, self.experts, generator=generator, dtype=torch.float32)
        # Some experts are asked for more often, and the last one of each rank by none.
        scores[:, self.local - 1 :: self.local] -= 1
        idx = scores.topk(self.top_k)[1]
        dropped = torch.rand(scores.shape, generator=generator)[:, : self.top_k] < 0.2
        idx = torch.where(dropped, -1, idx)
        weights = torch.rand(tokens, self.top_k, generator=generator, dtype=torch.float32)
        x = torch.randn(tokens, self.hidden, generator=generator, dtype=torch.float32)
        scales = torch.rand(tokens, 2, generator=generator, dtype=torch.float32)
        made = x.bfloat16(), idx, torch.where(dropped, 0.0, weights), scales
        return Case(*(tensor.to(self.device) for tensor in made))

    def all(self, seed=0):
        return [self.case(rank, seed) for rank in range(self.ranks)]

    def mine(self, rank, seed=0):
        """(sender, token) of each row of a rank, in order."""
        return [
            (sender, token)
            for sender, case in enumerate(self.all(seed))
            for token in range(len(case.idx))
            if any(i // self.local == rank for i in case.idx[token].tolist() if i >= 0)
        ]

    def local_ids(self, rank, seed=0):
        """Local experts of each row, -1 for others."""
        cases = self.all(seed)
        return [
            [
                i - rank * self.local if i >= 0 and i // self.local == rank else -1
                for i in cases[sender].idx[token].tolist()
            ]
            for sender, token in self.mine(rank, seed)
        ]

    def counts(self, rank, seed=0):
        """Rows of each local expert."""
        ids = [i for row in self.local_ids(rank, seed) for i in row]
        return [ids.count(expert) for expert in range(self.local)]

    def expanded(self, rank, alignment, seed=0):
        """(sender, token, slot) of each expanded row, None between groups."""
        rows = []
        ids, sources = self.local_ids(rank, seed), self.mine(rank, seed)
        for expert in range(self.local):
            rows += [
                (*source, row.index(expert))
                for source, row in zip(sources, ids, strict=True)
                if expert in row
            ]
            rows += [None] * (-len(rows) % alignment)
        return rows

    def pick(self, sources, of, seed=0):
        """Something of each (sender, token, ...) stacked; zeros for None."""
        cases = self.all(seed)
        like = of(cases[0])
        return torch.stack(
            [
                like.new_zeros(like.shape[1:]) if s is None else of(cases[s[0]])[s[1]]
                for s in sources
            ]
        ) if sources else like.new_zeros((0, *like.shape[1:]))  # fmt: skip


def pair(group):
    """This rank's process group of two, and its rank there; all four ranks make both."""
    import torch.distributed as dist

    halves = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    return halves[group.rank // 2], group.rank % 2


def elastic(group, sizes, **options):
    """A buffer for cases of these sizes."""
    return deep_ep.ElasticBuffer(
        group, num_max_tokens_per_rank=sizes.max_tokens, hidden=sizes.hidden,
        explicitly_destroy=True, **options,
    )  # fmt: skip


def equal(found, expected):
    """Bit for bit, types and shapes included."""
    assert found.dtype == expected.dtype and found.shape == expected.shape, (
        found.dtype, found.shape, expected.dtype, expected.shape,
    )  # fmt: skip
    size = found.element_size()
    integer = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[size]
    same = found.contiguous().view(integer) == expected.contiguous().view(integer)
    assert bool(same.all()), (found, expected)
