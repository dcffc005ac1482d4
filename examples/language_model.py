# ===- language_model.py - what both language models share -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Text, sizes, initial values and the verdict of the models in torch_moe and jax_moe.

The text is part of a novel of Jane Austen, and the model predicts the next character. It is a
transformer whose feed-forward networks are experts. Both examples begin with the same values and
see the same characters in the same order, so their losses can be compared step by step. Nothing
here needs more than numpy.

``python examples/language_model.py RANKS`` prints the module of the exchange, to be compiled for a
machine without a compiler.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import moe_mlir as moe

TEXT = Path(__file__).resolve().parent / "data" / "novel.txt"
HIDDEN, HEADS, BLOCKS = 64, 4, 2
EXPERTS, TOP_K, INNER = 8, 2, 128
CONTEXT, SEQUENCES, CHARACTERS = 32, 8, 128  # SEQUENCES is that of all ranks together
TOKENS = SEQUENCES * CONTEXT
BALANCE = 0.05  # factor of the load-balancing loss
# Adam. A large epsilon keeps it from turning roundings into steps where gradients are zero.
RATE, BETAS, EPSILON = 3e-3, (0.9, 0.999), 1e-6
# Losses are means in f32, and sums of f32 differ in their order. Where two experts are as good as
# equal for a token, such a difference chooses between them. So the dense model takes the experts
# that the parallel one has chosen, and says by how much it would have preferred others.
# Activations are smooth for the same reason: roundings decide on which side of a kink a value is.
# GPUs add in an order that changes from call to call.
TOLERANCE, TOLERANCE_ON_GPUS = 1e-5, 1e-3


def plan_of(ranks: int, dtype: str = "f32") -> moe.Exchange:
    """What an MoE layer exchanges. Rows without a token are zero, so experts may read them."""
    if SEQUENCES % ranks:
        raise SystemExit(f"expected ranks that divide {SEQUENCES} sequences, got {ranks}")
    return moe.Exchange(
        num_experts=EXPERTS, top_k=TOP_K, hidden=HIDDEN, dtype=dtype,
        max_tokens=TOKENS // ranks, layout="expert_major", padding="zero",
        combine_weights=True, gradients=True,
    )  # fmt: skip


def initial_values() -> dict[str, np.ndarray]:
    """The parameters of the model by name, those of all experts in one array."""
    generator = np.random.default_rng(0)

    def matrix(*shape: int) -> np.ndarray:
        return (generator.standard_normal(shape) * shape[-2] ** -0.5).astype(np.float32)

    values = {
        "embedding": matrix(1, CHARACTERS, HIDDEN)[0] * CHARACTERS**0.5,
        "position": matrix(1, CONTEXT, HIDDEN)[0],
        "head": matrix(HIDDEN, CHARACTERS),
    }
    for block in range(BLOCKS):
        values |= {
            f"blocks.{block}.qkv": matrix(HIDDEN, 3 * HIDDEN),
            f"blocks.{block}.out": matrix(HIDDEN, HIDDEN),
            f"blocks.{block}.moe.router.matrix": matrix(HIDDEN, EXPERTS),
            f"blocks.{block}.moe.experts.up": matrix(EXPERTS, HIDDEN, INNER),
            f"blocks.{block}.moe.experts.down": matrix(EXPERTS, INNER, HIDDEN),
        }
    return {name: value.astype(np.float32) for name, value in values.items()}


def is_expert(name: str) -> bool:
    """Whether a parameter has a part for each expert, so that ranks own parts of it."""
    return ".experts." in name


def batches(steps: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each step the sequences of all ranks, and the characters that follow each of theirs."""
    codes = np.frombuffer(TEXT.read_bytes(), np.uint8).astype(np.int64)
    generator = np.random.default_rng(1)
    starts = generator.integers(0, len(codes) - CONTEXT, (steps, SEQUENCES))
    windows = np.lib.stride_tricks.sliding_window_view(codes, CONTEXT + 1)[starts]
    return [(w[:, :-1].copy(), w[:, 1:].copy()) for w in windows]


def conclude(result: dict[str, Any], path: Path | None) -> int:
    """Print how a run went, write it to `path`, and return the exit status.

    `result` has the losses of each step as ``parallel`` and ``dense``, the rows of each expert, of
    each block, of each step as ``load``, and as ``doubt`` how much more probable an expert that
    was not chosen has ever been to the dense model.
    """
    parallel, dense, load = (np.array(result[key]) for key in ("parallel", "dense", "load"))
    steps = len(parallel)
    for step in sorted({*range(0, steps, max(steps // 10, 1)), steps - 1}):
        busiest = (load[step].max(-1) / load[step].mean(-1)).max()
        print(
            f"step {step:4}: loss {parallel[step]:.6f}, dense {dense[step]:.6f}; "
            f"the busiest expert has {busiest:.2f} times the mean"
        )
    difference = float(np.abs(parallel - dense).max())
    print(
        f"{result['ranks']} ranks on {result['device']}: losses differ by at most "
        f"{difference:.1e}; the dense model prefers other experts by at most {result['doubt']:.1e}"
    )
    if path:
        path.write_text(json.dumps(result), encoding="utf-8")
    tolerance = TOLERANCE if result["device"] == "cpu" else TOLERANCE_ON_GPUS
    if difference <= tolerance and result["doubt"] <= tolerance:
        return 0
    print(f"expected both to be at most {tolerance}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    print(plan_of(int(sys.argv[1])).mlir(int(sys.argv[1])))
