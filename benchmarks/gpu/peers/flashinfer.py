# ===- flashinfer.py - FlashInfer's one-sided exchange -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""FlashInfer's one-sided exchange through NVLink (TensorRT-LLM's kernels). A rank
has a slab for each sender, whose rows come in any order. The combine reads rows
where the experts wrote them, in FlashInfer's memory."""

import torch

from .measure import Received

# A kernel that waits longer for a peer traps.
TIMEOUT_SECONDS = 10


def build():
    """Compiles the kernels, unless that was done before."""
    # pylint: disable=import-outside-toplevel
    from flashinfer.jit.comm import gen_nvlink_one_sided_alltoall_module

    gen_nvlink_one_sided_alltoall_module().build_and_load()


class Exchange:

    variant = None
    is_weighted = rounds_partials = False

    def __init__(self, this, problem):
        import flashinfer  # pylint: disable=import-outside-toplevel
        from flashinfer import moe_ep  # pylint: disable=import-outside-toplevel

        self.version = flashinfer.__version__
        model, self.mine, self.rank = problem.model, problem.mine, this.rank
        self.local = model.experts // this.ranks
        bootstrap = moe_ep.BootstrapConfig(world_size=this.ranks, rank=this.rank, device=this.device.index)
        sizes = moe_ep.MoEEpCommParams(num_experts=model.experts, top_k=model.top_k,
                                       max_tokens_per_rank=problem.tokens, hidden_size=model.hidden,
                                       dtype=torch.bfloat16)
        self.communication = moe_ep.create_communication(
            bootstrap, sizes, moe_ep.NVLinkOneSidedConfig(timeout_sec=TIMEOUT_SECONDS))
        self.out = torch.empty_like(self.mine.x)
        # The place of combine's input is known between the two calls of a pair,
        # and stays the same.
        this.meet()
        self.dispatch()
        self.y = self.communication.get_combine_input_buffer(torch.bfloat16)
        self.y.zero_()
        this.finish()
        this.meet()
        self.combine()
        this.finish()

    def dispatch(self):
        self.result = self.communication.dispatch(self.mine.x, self.mine.idx, self.mine.weights)

    def combine(self):
        self.communication.combine(self.y, output=self.out)

    def received(self):
        experts = self.result.topk_ids
        # A row without a token has no expert.
        self.rows = (experts >= 0).any(1).nonzero().flatten()
        experts = experts[self.rows]
        # All experts of a token are delivered; ours leaves out those of other ranks.
        is_here = experts // self.local == self.rank
        weights = self.result.topk_weights[self.rows]
        return Received(self.result.hidden_states[self.rows], torch.where(is_here, experts, -1),
                        torch.where(is_here, weights, 0.0))

    def close(self):
        self.result = self.y = None
        self.communication.destroy()
