# ===- by_torch.py - an exchange as one writes it with torch -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Dispatch and combine by collectives of torch, with gradients."""

import torch
import torch.distributed as dist


def exchange(rows, send, receive):
    """Rows to each rank, and what comes from each."""
    received = rows.new_empty((sum(receive), *rows.shape[1:]))
    dist.all_to_all_single(received, rows, receive, send)
    return received


class Exchange(torch.autograd.Function):
    """The same, and gradients go back the way that the rows came."""

    @staticmethod
    def forward(ctx, rows, send, receive):
        ctx.splits = send, receive
        return exchange(rows, send, receive)

    @staticmethod
    def backward(ctx, grad):
        send, receive = ctx.splits
        return exchange(grad.contiguous(), receive, send), None, None


class ByTorch:
    """Gather rows, exchange counts, exchange rows, expert ids and weights; and back,
    adding up in f32. Ids are sent as they are, and those of other ranks' experts too."""

    def __init__(self, problem, ranks):
        self.ranks, self.tokens, self.hidden = ranks, problem.tokens, problem.model.hidden
        self.local = problem.model.experts // ranks

    def dispatch(self, x, idx, weights, rows_only=False):
        """(received, route)"""
        owner = torch.nn.functional.one_hot((idx // self.local).long(), self.ranks).amax(1)
        counts = owner.sum(0)
        received_counts = torch.empty_like(counts)
        dist.all_to_all_single(received_counts, counts)
        token = owner.t().nonzero()[:, 1]
        parts = [x] if rows_only else [x, idx, weights]
        parts = [part.index_select(0, token) for part in parts]
        send, receive = torch.stack([counts, received_counts]).tolist()
        return [send_rows(part, send, receive) for part in parts], (token, send, receive)

    def combine(self, y, route):
        token, send, receive = route
        rows = send_rows(y, receive, send)
        total = torch.zeros((self.tokens, self.hidden), dtype=torch.float32, device=y.device)
        return total.index_add_(0, token, rows.float()).bfloat16()


def send_rows(rows, send, receive):
    return (Exchange.apply if rows.requires_grad else exchange)(rows, send, receive)
