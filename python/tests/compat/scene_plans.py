# ===- scene_plans.py - the plans of cuda_scenes.py -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Plans by name, for two ranks. Prints their modules as JSON; needs no torch.

They are what the calls of the scenes ask for, with the shapes of `PAIR`.
"""

from __future__ import annotations

import json

from moe_mlir.compat import plans
from moe_mlir.exchange import Exchange

RANKS, EXPERTS, TOP_K, HIDDEN, LONG, MAX_TOKENS = 2, 6, 3, 32, 512, 6
# Buffer.dispatch makes plans for this many tokens at least.
NORMAL_TOKENS = 128


def of_dispatch(name: str, experts: int, top_k: int, max_tokens: int) -> dict[str, Exchange]:
    """The plans of a dispatch of bf16 and fp8 rows, of their combines and their reuse."""
    bf16 = plans.by_rank(experts, top_k, HIDDEN, "bf16", max_tokens)
    fp8 = plans.by_rank(experts, top_k, HIDDEN, "f8E4M3FN", max_tokens, 2)
    weights = plans.other_rows(bf16, TOP_K, "f32")
    made = {"bf16": bf16, "fp8": fp8, "bias": plans.apart(bf16), "fp8-bias": plans.apart(fp8)}
    made["weights"] = weights
    for kind in ("bf16", "fp8", "weights"):
        made[f"{kind}-again"] = plans.again(made[kind])
    return {f"{name}-{kind}": plan for kind, plan in made.items()}


def low_latency(kind: str, scales: int) -> Exchange:
    """The plan of low-latency calls."""
    return plans.by_expert(EXPERTS, TOP_K, LONG, kind, MAX_TOKENS, scales)


PLANS: dict[str, Exchange] = {
    **of_dispatch("elastic", EXPERTS, TOP_K, MAX_TOKENS),
    **of_dispatch("normal", EXPERTS, TOP_K, NORMAL_TOKENS),
    **of_dispatch("ranks", RANKS, RANKS, NORMAL_TOKENS),
    "low-latency-bf16": low_latency("bf16", 0),
    "low-latency-fp8": low_latency("f8E4M3FN", LONG // 128),
    "counts-1": plans.of_counts(RANKS, 1),
    "counts-7": plans.of_counts(RANKS, RANKS + EXPERTS // RANKS + 2),
}

if __name__ == "__main__":
    print(json.dumps({name: plan.mlir(RANKS) for name, plan in PLANS.items()}))
