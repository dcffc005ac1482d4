# ===- scene_plans.py - the plans of gpu_scenes.py -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Plans by name. Prints their modules for two ranks as JSON.

The machine with GPUs need not have a compiler: scripts/test-gpu has the modules compiled
before. Nothing here needs JAX.
"""

from __future__ import annotations

import json

from moe_mlir.exchange import Exchange

RANKS = 2
USUAL = {"num_experts": 7, "top_k": 3, "hidden": 16, "max_tokens": 6}  # 2 does not divide 7
TRAINING = {**USUAL, "padding": "zero", "gradients": True}

PLANS: dict[str, Exchange] = {
    "rank_major": Exchange(**TRAINING, layout="rank_major", dtype="f32"),
    "slab": Exchange(**TRAINING, layout="slab", dtype="f32"),
    "aligned": Exchange(**TRAINING, layout="expert_major", dtype="f32", alignment=4),
    "weights": Exchange(**TRAINING, layout="expert_major", dtype="f32", combine_weights=True),
    "bf16": Exchange(**TRAINING, layout="expert_major", dtype="bf16"),
    "f8": Exchange(**TRAINING, layout="expert_major", dtype="f8E4M3FN"),
}

if __name__ == "__main__":
    print(json.dumps({name: plan.mlir(RANKS) for name, plan in PLANS.items()}))
