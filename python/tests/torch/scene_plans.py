# ===- scene_plans.py - the plans of cuda_scenes.py -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Plans by name, with their number of ranks. Prints their modules as JSON.

The machine with GPUs need not have a compiler: scripts/test-gpu has the modules compiled
before. Nothing here needs torch.
"""

from __future__ import annotations

import json

from moe_mlir.exchange import Exchange

USUAL = {"num_experts": 7, "top_k": 3, "hidden": 16, "max_tokens": 6, "padding": "zero"}
ZERO_COPY = {"symmetric_recv": True, "symmetric_y": True}
WEIGHTS = {"layout": "expert_major", "dtype": "bf16", "combine_weights": True}


def training(**fields: object) -> Exchange:
    return Exchange(**USUAL, gradients=True, **fields)


PLANS: dict[str, tuple[Exchange, int]] = {
    "rank_major": (training(layout="rank_major", dtype="f32"), 2),
    "slab": (training(layout="slab", dtype="bf16"), 2),
    "expert_major": (training(layout="expert_major", dtype="f16", alignment=4), 2),
    "weights": (training(**WEIGHTS), 2),
    "apart": (training(layout="expert_major", dtype="f32", reduce="none"), 2),
    "scales": (training(layout="expert_major", dtype="f8E4M3FN", scales=2), 2),
    "i64": (training(layout="rank_major", dtype="f32", index_dtype="i64"), 2),
    "kept": (training(**WEIGHTS, keep_blocks=True), 2),
    "alone": (training(**WEIGHTS), 1),
    "kept_alone": (training(**WEIGHTS, keep_blocks=True), 1),
    # What moe_mlir.torchtitan makes of the layer of tests/torchtitan.
    "titan": (
        Exchange(
            num_experts=8, top_k=3, hidden=16, max_tokens=8, index_dtype="i64",
            gradients=True, **WEIGHTS,
        ),
        2,
    ),
    "zero_copy": (Exchange(**USUAL, layout="expert_major", dtype="f32", **ZERO_COPY), 2),
}

if __name__ == "__main__":
    print(json.dumps({name: plan.mlir(ranks) for name, (plan, ranks) in PLANS.items()}))
