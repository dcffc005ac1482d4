# ===- layer.py - a layer, and what it has to give -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A layer whose expert `e` multiplies by the vector `factor[e]`, and a dense one.

With whole numbers every sum is exact in every type and order, so results and gradients
are compared bit by bit.
"""

from __future__ import annotations

import dataclasses

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from moe_mlir.runtime.dtypes import torch_dtype

HIDDEN, EXPERTS, TOP_K = 8, 7, 3
USUAL = {"num_experts": EXPERTS, "top_k": TOP_K, "hidden": HIDDEN, "max_tokens": 6}


@dataclasses.dataclass
class Case:
    """Inputs of one rank."""

    x: torch.Tensor
    idx: torch.Tensor
    weights: torch.Tensor
    scales: torch.Tensor | None
    factor: torch.Tensor  # of all experts, the same on all ranks
    grad_out: torch.Tensor

    def to(self, device):
        """The same values on a device."""
        values = dataclasses.astuple(self)
        return Case(*(value if value is None else value.to(device) for value in values))

    def leaves(self):
        """Copies of x, weights and factor that gather gradients."""
        copies = [t.detach().clone() for t in (self.x, self.weights, self.factor)]
        for copy in copies:
            copy.requires_grad_(copy.element_size() > 1)
        return copies


class Named(TorchDispatchMode):
    """Notes the operators of moe_mlir that it sees."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "moe_mlir":
            self.seen.append(func._schema.name.partition("::")[2])
        return func(*args, **(kwargs or {}))


def case(plan, rank, seed, tokens, whole=True):
    """Values that depend on the rank and the seed; ids of -1 and repeated ones too."""
    both = torch.Generator().manual_seed(seed)
    own = torch.Generator().manual_seed(seed * 100 + rank + 1)

    def values(shape, generator=own):
        if whole:
            return torch.randint(-2, 3, shape, generator=generator).float()
        return torch.randn(shape, generator=generator)

    factor = values((plan.num_experts, plan.hidden), both)
    shape = (tokens, plan.top_k)
    idx = torch.rand((tokens, plan.num_experts), generator=own).topk(plan.top_k)[1]
    idx[torch.rand(shape, generator=own) < 0.15] = -1
    # A slot that repeats an expert has no row of its own.
    if tokens and plan.reduce == "sum":
        idx[0, -1] = idx[0, 0]
    scales = None
    if plan.scales:
        scales = 2.0 ** torch.randint(-1, 2, (tokens, plan.scales), generator=own)
        scales = scales.to(torch_dtype(plan.scales_dtype))
    return Case(
        values((tokens, plan.hidden)).to(torch_dtype(plan.dtype)),
        idx.to(torch_dtype(plan.index_dtype)),
        values(shape),
        scales,
        factor,
        values((tokens, plan.hidden)).to(torch_dtype(plan.combine_dtype)),
    )


def layer(ep, x, idx, weights, factor, scales=None):
    """The layer on the ranks of a group."""
    plan = ep.plan
    recv = ep.dispatch(x, idx, weights, scales)
    rows = recv.x.float()
    if recv.scales is not None:
        rows = rows * recv.scales.float().repeat_interleave(plan.hidden // plan.scales, 1)
    # Rows that no token was sent to may name any expert.
    ids = recv.topk_idx.clamp(max=plan.num_experts - 1)
    if not plan.is_expert_major:
        # One row stands for all experts of this rank, whose results are added up.
        here = torch.where(ids >= 0, recv.topk_weights, 0.0)
        rows = rows * torch.einsum("ck,ckh->ch", here, factor[ids.clamp(min=0)])
        return ep.combine(rows.to(ep.combine_dtype), recv.handle)
    y = (rows * factor[ids.clamp(min=0)]).to(ep.combine_dtype)
    if plan.combine_weights:
        return ep.combine(y, recv.handle, recv.topk_weights)
    if plan.reduce == "none":
        apart = ep.combine(y, recv.handle).float()
        first = torch.where(idx >= 0, weights, 0.0)
        return (apart * first[..., None]).sum(1).to(ep.combine_dtype)
    y = (y.float() * recv.topk_weights[:, None]).to(ep.combine_dtype)
    return ep.combine(y, recv.handle)


def dense(plan, case):
    """The same on one rank, in f64: out, and gradients of x, weights and factor."""
    x, weights, factor = (t.double().requires_grad_() for t in (
        case.x, case.weights, case.factor))  # fmt: skip
    rows = x
    if case.scales is not None:
        rows = x * case.scales.double().repeat_interleave(plan.hidden // plan.scales, 1)
    per_slot = weights * (case.idx >= 0)
    out = torch.einsum("tk,tkh->th", per_slot, factor[case.idx.clamp(min=0).long()]) * rows
    out.backward(case.grad_out.double())
    return out.detach(), x.grad, weights.grad, factor.grad


def run(ep, case, function=layer):
    """The layer and its gradients: as those of `dense`."""
    x, weights, factor = case.leaves()
    out = function(ep, x, case.idx, weights, factor, case.scales)
    out.backward(case.grad_out)
    return out.detach(), x.grad, weights.grad, factor.grad


def same(found, expected):
    """Whether values are equal, and the expected ones exact in the type."""
    rounded = expected.to(found.dtype)
    assert torch.equal(rounded.double(), expected), "inexact reference"
    return torch.equal(found, rounded)
