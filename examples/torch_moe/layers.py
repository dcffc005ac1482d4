# ===- layers.py - a layer of experts in torch -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A Mixture-of-Experts layer over ranks, and the same one on a single process."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional

import moe_mlir as moe


class Outcome(NamedTuple):
    """What a layer returns.

    `out` has its rows, `imbalance` is the part that its tokens have in the load-balancing loss of
    Switch Transformer, `load` has the rows of each expert, and `chosen` the experts of each
    token. `doubt` is how much more probable an expert is that was not chosen.
    """

    out: torch.Tensor
    imbalance: torch.Tensor
    load: torch.Tensor
    chosen: torch.Tensor
    doubt: torch.Tensor


class Experts(nn.Module):
    """Feed-forward networks, one after the other in two tensors."""

    def __init__(self, num_experts: int, hidden: int, inner: int) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.randn(num_experts, hidden, inner) * hidden**-0.5)
        self.down = nn.Parameter(torch.randn(num_experts, inner, hidden) * inner**-0.5)

    def one(self, expert: int, x: torch.Tensor) -> torch.Tensor:
        return functional.silu(x @ self.up[expert]) @ self.down[expert]

    def forward(self, x: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Rows that are grouped by expert; those behind the last group are free."""
        if x.dtype == torch.bfloat16:  # what torch multiplies groups of
            ends = counts.cumsum(0, dtype=torch.int32)
            inner = functional.silu(torch._grouped_mm(x, self.up, offs=ends))
            return torch._grouped_mm(inner, self.down, offs=ends)
        sizes = counts.tolist()
        *groups, rest = x.split([*sizes, len(x) - sum(sizes)])
        y = [self.one(expert, rows) for expert, rows in enumerate(groups)]
        return torch.cat([*y, torch.zeros_like(rest)])


class Router(nn.Module):
    """Probabilities of all experts, the experts of each token, their weights, and the doubt."""

    def __init__(self, plan: moe.Exchange) -> None:
        super().__init__()
        self.top_k = plan.top_k
        self.matrix = nn.Parameter(torch.randn(plan.hidden, plan.num_experts) * plan.hidden**-0.5)

    def forward(self, x: torch.Tensor, chosen: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        probabilities = (x @ self.matrix).softmax(-1)
        best, idx = probabilities.topk(self.top_k)
        chosen = idx if chosen is None else chosen
        weights = probabilities.gather(1, chosen)
        doubt = (best[:, -1] - weights.amin(-1)).amax().detach()
        return probabilities, chosen, weights / weights.sum(-1, keepdim=True), doubt


def imbalance(probabilities: torch.Tensor, load: torch.Tensor, top_k: int) -> torch.Tensor:
    """What the tokens of this rank contribute to the load-balancing loss, which is 1 when even.

    `load` has the rows of all experts from all ranks. The loss is linear in the probabilities,
    so the contributions of all ranks add up to the loss of all tokens.
    """
    share = load.to(probabilities.dtype) / load.sum()
    tokens = load.sum() / top_k
    return len(load) * (share * probabilities.sum(0)).sum() / tokens


class MoELayer(nn.Module):
    """Router, dispatch, experts, combine."""

    def __init__(self, ep: moe.torch.ExpertParallel, inner: int) -> None:
        super().__init__()
        self.ep, plan = ep, ep.plan
        self.router = Router(plan)
        self.experts = Experts(len(ep.experts), plan.hidden, inner)

    def forward(self, x: torch.Tensor, chosen: torch.Tensor | None = None) -> Outcome:
        plan, mine = self.ep.plan, self.ep.experts
        probabilities, chosen, weights, doubt = self.router(x, chosen)
        recv = self.ep.dispatch(x, chosen.int(), weights)
        y = self.experts(recv.x, recv.expert_counts)
        out = self.ep.combine(y, recv.handle, recv.topk_weights)
        load = recv.expert_counts.new_zeros(plan.num_experts)
        load[mine.start : mine.stop] = recv.expert_counts[: len(mine)]
        dist.all_reduce(load)
        return Outcome(out, imbalance(probabilities, load, plan.top_k), load, chosen, doubt)


class DenseLayer(nn.Module):
    """The same on one process: every expert computes every token."""

    def __init__(self, plan: moe.Exchange, inner: int) -> None:
        super().__init__()
        self.plan = plan
        self.router = Router(plan)
        self.experts = Experts(plan.num_experts, plan.hidden, inner)

    def forward(self, x: torch.Tensor, chosen: torch.Tensor | None = None) -> Outcome:
        plan = self.plan
        probabilities, chosen, weights, doubt = self.router(x, chosen)
        per_expert = torch.zeros_like(probabilities).scatter(1, chosen, weights)
        out = sum(
            per_expert[:, expert, None] * self.experts.one(expert, x)
            for expert in range(plan.num_experts)
        )
        load = chosen.flatten().bincount(minlength=plan.num_experts)
        return Outcome(out, imbalance(probabilities, load, plan.top_k), load, chosen, doubt)
