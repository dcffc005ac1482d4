# ===- layers.py - a layer of experts in torch -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A Mixture-of-Experts layer over ranks, and the same one on a single process."""

from __future__ import annotations

import torch
from torch import nn

import moe_mlir as moe


class Experts(nn.Module):
    """Feed-forward networks, one after the other in two tensors.

    All experts draw their values from the seed, so that an expert is the same one
    whichever rank has it.
    """

    def __init__(self, experts: range, hidden: int, inner: int, seed: int = 0) -> None:
        super().__init__()
        first, second = [], []
        for expert in experts:
            generator = torch.Generator().manual_seed(1000 * seed + expert)
            first.append(torch.randn(hidden, inner, generator=generator) * hidden**-0.5)
            second.append(torch.randn(inner, hidden, generator=generator) * inner**-0.5)
        self.w1 = nn.Parameter(torch.stack(first))
        self.w2 = nn.Parameter(torch.stack(second))

    def one(self, expert: int, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x @ self.w1[expert]) @ self.w2[expert]

    def forward(self, x: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Rows that are grouped by expert; those behind the last group are free."""
        if x.dtype == torch.bfloat16:  # what torch multiplies groups of
            ends = counts.cumsum(0, dtype=torch.int32)
            inner = torch.relu(torch._grouped_mm(x, self.w1, offs=ends))
            return torch._grouped_mm(inner, self.w2, offs=ends)
        sizes = counts.tolist()
        *groups, rest = x.split([*sizes, len(x) - sum(sizes)])
        y = [self.one(expert, rows) for expert, rows in enumerate(groups)]
        return torch.cat([*y, torch.zeros_like(rest)])


class MoELayer(nn.Module):
    """Router, dispatch, experts, combine."""

    def __init__(self, ep: moe.torch.ExpertParallel, inner: int, seed: int = 0) -> None:
        super().__init__()
        self.ep, plan = ep, ep.plan
        self.router = nn.Linear(plan.hidden, plan.num_experts, bias=False)
        self.experts = Experts(ep.experts, plan.hidden, inner, seed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights, idx = self.router(x).softmax(-1).topk(self.ep.plan.top_k)
        recv = self.ep.dispatch(x, idx.int(), weights)
        y = self.experts(recv.x, recv.expert_counts)
        return self.ep.combine(y, recv.handle, recv.topk_weights)


class DenseLayer(nn.Module):
    """The same on one process: every expert computes every token."""

    def __init__(self, plan: moe.Exchange, inner: int, seed: int = 0) -> None:
        super().__init__()
        self.plan = plan
        self.router = nn.Linear(plan.hidden, plan.num_experts, bias=False)
        self.experts = Experts(range(plan.num_experts), plan.hidden, inner, seed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights, idx = self.router(x).softmax(-1).topk(self.plan.top_k)
        per_expert = torch.zeros(len(x), self.plan.num_experts).scatter(1, idx, weights)
        return sum(
            per_expert[:, expert, None] * self.experts.one(expert, x)
            for expert in range(self.plan.num_experts)
        )
