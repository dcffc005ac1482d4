# ===- nccl_ep.py - NCCL EP's low-latency exchange -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""NCCL EP in its low-latency form with rows by expert. Weights are not sent with the
rows: the rank that combines its tokens has them."""

import torch
from nccl import ep
from nccl.ep.interop.torch import get_nccl_comm_from_group

from .measure import Received

TIMEOUT_NS = 10_000_000_000


class Exchange:

    variant = "low latency"
    is_weighted, rounds_partials = True, False

    def __init__(self, this, problem):
        self.version = str(ep.get_lib_version())
        model, mine, self.rank = problem.model, problem.mine, this.rank
        self.local = model.experts // this.ranks
        rows = this.ranks * problem.tokens
        config = ep.GroupConfig(algorithm=ep.Algorithm.LOW_LATENCY, num_experts=model.experts,
                                max_dispatch_tokens_per_rank=problem.tokens, max_recv_tokens_per_rank=rows,
                                max_token_bytes=problem.row_bytes, timeout_ns=TIMEOUT_NS)
        self.communicator = get_nccl_comm_from_group()
        self.group = ep.Group.create(self.communicator, config)
        self.x = torch.empty((self.local, rows, model.hidden), dtype=torch.bfloat16, device=this.device)
        # As one list of rows, and as the library wants it.
        y = torch.zeros_like(self.x)
        self.y = y.view(-1, model.hidden)
        self.out = torch.empty_like(mine.x)
        self.counts = torch.zeros(self.local, dtype=torch.int32, device=this.device)
        # Descriptors do not keep tensors of torch alive that only they name.
        self.idx = mine.idx.long()
        self.route = ep.Tensor(self.idx)
        self.inputs = ep.DispatchInputs(tokens=ep.Tensor(mine.x))
        self.outputs = ep.DispatchOutputs(tokens=ep.Tensor(self.x))
        self.layout = ep.LayoutInfo(expert_counters=ep.Tensor(self.counts))
        self.combine_inputs = ep.CombineInputs(tokens=ep.Tensor(y))
        self.combine_outputs = ep.CombineOutputs(tokens=ep.Tensor(self.out), topk_weights=ep.Tensor(mine.weights))
        self.handle = self.group.create_handle(ep.Layout.EXPERT_MAJOR, self.route, stream=stream())
        this.finish()

    def dispatch(self):
        # A layer has new ids in every step.
        self.handle.update(self.route, stream=stream())
        self.handle.dispatch(self.inputs, self.outputs, layout_info=self.layout, stream=stream())

    def combine(self):
        self.handle.combine(self.combine_inputs, self.combine_outputs, stream=stream())

    def received(self):
        place = torch.arange(self.x.shape[1], device=self.x.device)
        expert, row = (place < self.counts.unsqueeze(1)).nonzero(as_tuple=True)
        self.rows = expert * self.x.shape[1] + row
        experts = (self.rank * self.local + expert).int()
        return Received(self.x.view(-1, self.x.shape[2])[self.rows], experts, None)

    def close(self):
        self.handle.destroy()
        self.group.destroy()
        self.communicator.destroy()


def stream():
    return torch.cuda.current_stream().cuda_stream
