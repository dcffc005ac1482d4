# ===- models.py - Shapes of public models -------------------*- python -*-===//
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===//
"""The models whose layers are examples."""

import dataclasses

RANKS = 4


@dataclasses.dataclass
class Model:
    name: str
    title: str
    experts: int
    topK: int
    hidden: int
    ffn: int
    tokens: int  # per rank
    form: str  # expert_major | rank_major | runs
    notes: str
    alignment: int = 1
    capacity: int = 0  # 0: the default
    clampedGlu: bool = False  # gpt-oss: biases and a clamped SwiGLU

    @property
    def local(self):
        return self.experts // RANKS

    @property
    def rows(self):
        """Capacity of the receive buffer, in rows."""
        if self.capacity:
            return self.capacity
        factor = 1
        if self.form == "expert_major":
            factor = min(self.topK, self.local)
        return RANKS * self.tokens * factor


MODELS = [
    Model("deepseek_v3", "DeepSeek-V3", 256, 8, 7168, 2048, 1024,
          "expert_major",
          "Groups start at multiples of 128 rows, as tiled grouped products "
          "want them; the capacity has room for the padding. The shared "
          "expert is local to each rank and left out.",
          alignment=128, capacity=RANKS * 1024 * 8 + 64 * 128),
    Model("mixtral_8x7b", "Mixtral-8x7B", 8, 2, 4096, 14336, 512,
          "rank_major",
          "A token goes to each rank once, however many of its experts live "
          "there. The rank gathers the rows of one expert at a time, adds up "
          "the weighted results of a row's experts in f32, and sends one row "
          "back."),
    Model("qwen3_30b_a3b", "Qwen3-30B-A3B", 128, 8, 2048, 768, 1024,
          "expert_major", "Groups follow each other without padding."),
    Model("gpt_oss_120b", "gpt-oss-120b", 128, 4, 2880, 2880, 1024,
          "expert_major",
          "Each product has a bias, and the gate is clamped: "
          "(up + 1) * gate * sigmoid(1.702 * gate), gate <= 7, "
          "-7 <= up <= 7. Weights are bf16 here.",
          clampedGlu=True),
    Model("olmoe", "OLMoE-1B-7B", 64, 8, 2048, 1024, 1024, "expert_major",
          "Groups follow each other without padding."),
    Model("llama4_scout", "Llama-4-Scout", 16, 1, 5120, 8192, 512, "runs",
          "Top-1, so a sender's rows can arrive in the order of their "
          "experts: each run of rows of one expert is one product, and "
          "combine is a permutation. The weight scales the input of the "
          "expert. The shared expert is local to each rank and left out."),
]
