# ===- deep_ep.py - DeepEP's expanding exchange -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""DeepEP's elastic buffer with `do_expand`: a row crosses a link once per rank and
is copied to each of its experts there. Its combine adds up the rows of a rank
before they cross the link, and does not multiply them by weights. Nothing waits
for the CPU."""

import importlib.metadata

import deep_ep
import torch
import torch.distributed as dist

from .measure import Received

TIMEOUT_SECONDS = 10
BLOCKS = 64


class Exchange:

    variant = f"do_expand, {BLOCKS} SMs"
    is_weighted, rounds_partials = False, True

    def __init__(self, this, problem):
        try:
            self.version = importlib.metadata.version("deep_ep")
        except importlib.metadata.PackageNotFoundError:
            self.version = "unknown"
        model, self.mine, self.rank = problem.model, problem.mine, this.rank
        self.experts, self.local = model.experts, model.experts // this.ranks
        self.idx = self.mine.idx.to(deep_ep.topk_idx_t)
        group = dist.new_group(backend="nccl")
        # The buffer takes the group's communicator, which a first use makes.
        dist.all_reduce(torch.zeros(1, device=this.device), group=group)
        self.buffer = deep_ep.ElasticBuffer(group, num_max_tokens_per_rank=problem.tokens, hidden=model.hidden,
                                            num_topk=model.top_k, num_gpu_timeout_secs=TIMEOUT_SECONDS,
                                            explicitly_destroy=True)
        this.meet()
        self.dispatch()
        # Of as many rows as a dispatch may deliver.
        self.y = torch.zeros_like(self.x)
        self.combine()
        this.finish()

    def dispatch(self):
        self.x, _, self.weights, self.handle, _ = self.buffer.dispatch(
            self.mine.x, topk_idx=self.idx, topk_weights=self.mine.weights, num_experts=self.experts,
            expert_alignment=1, num_sms=BLOCKS, do_cpu_sync=False, do_expand=True)

    def combine(self):
        self.out, _, _ = self.buffer.combine(self.y, self.handle)

    def received(self):
        # Without padding, the sums are where each expert's rows end.
        ends = self.handle.psum_num_recv_tokens_per_expert.long()
        counts = torch.diff(ends, prepend=ends.new_zeros(1))
        self.rows = torch.arange(int(ends[-1]), device=ends.device)
        first = self.rank * self.local
        experts = torch.arange(first, first + self.local, dtype=torch.int32, device=ends.device)
        return Received(self.x[self.rows], experts.repeat_interleave(counts), self.weights[self.rows])

    def close(self):
        self.handle = self.x = self.y = self.weights = None
        self.buffer.destroy()
