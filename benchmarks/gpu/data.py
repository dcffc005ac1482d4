# ===- data.py - inputs and what must come out -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Random inputs of every rank, and the results that follow from them.

A rank can compute the inputs of all ranks, so it checks without asking.
"""

import copy

import torch

POISON = 0x7FA5  # a NaN in bf16


def generator(device, seed, rank):
    return torch.Generator(device).manual_seed(seed * 1009 + rank)


class Inputs:
    """Of one rank: x, idx (distinct experts per token) and weights."""

    def __init__(self, model, tokens, seed, rank, device):
        g = generator(device, seed, rank)
        self.x = torch.randn((tokens, model.hidden), device=device, generator=g).bfloat16()
        scores = torch.rand((tokens, model.experts), device=device, generator=g)
        self.idx = scores.topk(model.top_k, dim=1).indices.int()
        self.weights = torch.rand((tokens, model.top_k), device=device, generator=g) + 0.1

    def with_tokens(self, x):
        other = copy.copy(self)
        other.x = x
        return other


def poison(tensor):
    """So that a row nobody wrote is noticed."""
    tensor.view(torch.int16 if tensor.element_size() == 2 else torch.int32).fill_(POISON)


def same_bits(a, b):
    bits = torch.int16 if a.element_size() == 2 else torch.int32
    return torch.equal(a.view(bits), b.view(bits))


class Expected:
    """What `rank` receives. `rows` are the places of the received rows."""

    def __init__(self, model, layout, inputs, rank):
        ranks, tokens = len(inputs), len(inputs[0].x)
        local = model.experts // ranks
        source, experts, weights, self.counts = [], [], [], []
        for sender, data in enumerate(inputs):
            here = data.idx // local == rank
            if layout == "expert_major":
                token, slot = here.nonzero(as_tuple=True)
                experts.append(data.idx[token, slot])
                weights.append(data.weights[token, slot])
            else:
                token = here.any(1).nonzero(as_tuple=True)[0]
                experts.append(torch.where(here, data.idx, -1)[token])
                weights.append(torch.where(here, data.weights, 0.0)[token])
            source.append(sender * tokens + token)
            self.counts.append(len(token))
        self.source, self.experts, self.weights = map(torch.cat, (source, experts, weights))
        if layout == "expert_major":
            order = torch.argsort(self.experts.long() * ranks * tokens + self.source)
            self.source, self.experts, self.weights = (t[order] for t in (self.source, self.experts, self.weights))
        device = self.source.device
        if layout == "slab":
            self.rows = torch.cat([s * tokens + torch.arange(n, device=device) for s, n in enumerate(self.counts)])
        else:
            self.rows = torch.arange(len(self.source), device=device)
        self.x = torch.cat([d.x for d in inputs])[self.source]

    def problems(self, x, source, experts=None, weights=None):
        """Names of the received tensors that are wrong."""
        pairs = [("x", x, self.x), ("source", source, self.source.int()), ("experts", experts, self.experts),
                 ("weights", weights, self.weights)]
        return [name for name, got, want in pairs if got is not None and not same_bits(got[self.rows], want)]

    def problems_of_lists(self, offsets, counts, rows, weights, first, alignment):
        """The same of the lists (dispatch_s14) of a rank whose first expert is `first`."""
        want_rows, want_weights = torch.full_like(rows, -1), torch.zeros_like(weights)
        want_offsets, want_counts, end = [], [], 0
        for expert in range(first, first + len(counts)):
            row, slot = (self.experts == expert).nonzero(as_tuple=True)
            begin = -(-end // alignment) * alignment
            end = begin + len(row)
            want_rows[begin:end] = self.rows[row].int()
            want_weights[begin:end] = self.weights[row, slot]
            want_offsets.append(begin)
            want_counts.append(len(row))
        right = {
            "expert_offsets": offsets.tolist() == want_offsets,
            "expert_counts": counts.tolist() == want_counts,
            "list_rows": torch.equal(rows, want_rows),
            "list_weights": same_bits(weights, want_weights),
        }
        return [name for name, is_right in right.items() if not is_right]


def scale_of_rank(rank):
    return 0.5 + 0.25 * rank


def scale_of_experts(experts):
    return 0.5 + (experts % 7).float() * 0.25


def transform(layout, rank, x, experts):
    """What the experts of a rank make of received rows."""
    scale = scale_of_experts(experts).unsqueeze(1) if layout == "expert_major" else scale_of_rank(rank)
    return (x.float() * scale).bfloat16()


def expected_combine(model, layout, data, ranks, weighted):
    """Sums in f32 of each rank's rows by ascending expert, added by ascending rank
    and rounded once."""
    local = model.experts // ranks
    total = torch.zeros_like(data.x, dtype=torch.float32)
    if layout == "expert_major":
        order = data.idx.argsort(1)
        idx, weights = data.idx.gather(1, order), data.weights.gather(1, order)
        for rank in range(ranks):
            partial = torch.zeros_like(total)
            for k in range(idx.shape[1]):
                row = transform(layout, None, data.x, idx[:, k]).float()
                if weighted:
                    row = row * weights[:, k:k + 1]
                partial += torch.where((idx[:, k] // local == rank).unsqueeze(1), row, 0.0)
            total += partial
    else:
        owner = data.idx // local
        for rank in range(ranks):
            there = (owner == rank).any(1, keepdim=True)
            total += torch.where(there, transform(layout, rank, data.x, None).float(), 0.0)
    return total.bfloat16()


def compare_sums(got, want):
    """(right, note): equal within a rounding of bf16, and whether in all bits."""
    if torch.equal(got, want):
        return True, None
    close = torch.allclose(got.float(), want.float(), rtol=2**-7, atol=1e-6)
    differing = (got != want).sum().item()
    return close, f"{differing} of {got.numel()} sums differ" + (" by a rounding" if close else "")


def compare_partial_sums(got, want, sizes):
    """The same where the sum of each rank is rounded as well. Each rounding is a
    share of what is added up, and `sizes` has the sums of absolute values."""
    error = (got.float() - want.float()).abs()
    close = bool((error <= sizes.float() * 2**-7 + 1e-6).all())
    return close, f"largest error {(error / (sizes.float() + 1e-6)).max().item():.1e} of the absolute values' sum"
