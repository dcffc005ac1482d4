# ===- overhead_plan.py - the exchange of torch_overhead.py -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A small exchange with gradients, on one rank. Nothing here needs torch."""

from moe_mlir.exchange import Exchange

PLAN = Exchange(
    num_experts=8, top_k=2, hidden=64, dtype="bf16", max_tokens=8, layout="expert_major",
    combine_weights=True, gradients=True,
)  # fmt: skip
