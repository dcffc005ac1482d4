# ===- train.py - trains with expert parallelism -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Train a small language model of experts on two processes, and on one without.

The text is this project's documentation; the model predicts the next character. Both
runs see the same characters in the same order, so the losses have to agree::

    python examples/torch_moe/train.py                    # CPU, 2 processes, 200 steps
    python examples/torch_moe/train.py --device cuda      # 2 GPUs

It ends with an error where they differ by more than rounding can explain.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

import moe_mlir as moe
from layers import DenseLayer, MoELayer

ROOT = Path(__file__).resolve().parents[2]
HIDDEN, INNER, EXPERTS, TOP_K, LAYERS = 32, 64, 8, 2, 2
CONTEXT, BATCH, CHARACTERS = 8, 256, 128  # BATCH is that of all ranks together
# Losses are means in f32, whose sums differ in their order. What they differ by grows
# with the steps, and jumps where two experts are as good as equal for a token.
TOLERANCE = 2e-3


def plan_of(ranks: int, dtype: str = "f32") -> moe.Exchange:
    return moe.Exchange(
        num_experts=EXPERTS, top_k=TOP_K, hidden=HIDDEN, dtype=dtype,
        max_tokens=BATCH // ranks, layout="expert_major", combine_weights=True, gradients=True,
    )  # fmt: skip


class Model(nn.Module):
    """Characters to a vector, layers of experts, and back to a character."""

    def __init__(self, make_layer: Callable[[int], nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(CHARACTERS, HIDDEN)
        self.mix = nn.Linear(CONTEXT * HIDDEN, HIDDEN)
        self.head = nn.Linear(HIDDEN, CHARACTERS)
        self.norms = nn.ModuleList(nn.LayerNorm(HIDDEN) for _ in range(LAYERS))
        self.layers = nn.ModuleList(make_layer(i) for i in range(LAYERS))

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        x = self.mix(self.embedding(text).flatten(1))
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = x + layer(norm(x))
        return self.head(x)


def batches(steps: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Contexts and the characters that follow them, of all ranks."""
    pages = sorted((ROOT / "docs").glob("*.md"))
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    codes = torch.tensor([code for code in text.encode() if code < CHARACTERS])
    windows = codes.unfold(0, CONTEXT + 1, 1)
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(steps):
        chosen = windows[torch.randint(len(windows), (BATCH,), generator=generator)]
        made.append((chosen[:, :-1], chosen[:, -1]))
    return made


def train(
    model: nn.Module,
    data: list[tuple[torch.Tensor, torch.Tensor]],
    synchronize: Callable[[torch.Tensor], float],
) -> list[float]:
    """The loss of each step, over the tokens of all ranks."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for text, follows in data:
        loss = nn.functional.cross_entropy(model(text), follows, reduction="sum") / BATCH
        optimizer.zero_grad()
        loss.backward()
        losses.append(synchronize(loss.detach()))
        optimizer.step()
    return losses


def on_rank(rank: int, ranks: int, folder: str, steps: int, device: str) -> None:
    """One process of the parallel run."""
    torch.set_num_threads(1)
    backend = "nccl" if device == "cuda" else "gloo"
    if device == "cuda":
        torch.cuda.set_device(rank)
    dist.init_process_group(
        backend, init_method=f"file://{folder}/store", rank=rank, world_size=ranks
    )
    with moe.torch.ExpertParallel(plan_of(ranks)) as ep:
        model = Model(lambda seed: MoELayer(ep, INNER, seed)).to(device)
        # Experts are on one rank each; all else is on every rank.
        shared = [p for name, p in model.named_parameters() if ".experts." not in name]

        def synchronize(loss: torch.Tensor) -> float:
            for parameter in shared:
                dist.all_reduce(parameter.grad)
            dist.all_reduce(loss)
            return loss.item()

        mine = [
            (text.chunk(ranks)[rank].to(device), follows.chunk(ranks)[rank].to(device))
            for text, follows in batches(steps)
        ]
        losses = train(model, mine, synchronize)
    if rank == 0:
        Path(folder, "losses.json").write_text(json.dumps(losses), encoding="utf-8")
    dist.destroy_process_group()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", type=Path, help="write the losses here")
    parser.add_argument("--plot", type=Path, help="draw the losses here (needs matplotlib)")
    args = parser.parse_args()

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(on_rank, (args.ranks, folder, args.steps, args.device), nprocs=args.ranks)
        parallel = json.loads(Path(folder, "losses.json").read_text(encoding="utf-8"))
    plan = plan_of(args.ranks)
    model = Model(lambda seed: DenseLayer(plan, INNER, seed))
    dense = train(model, batches(args.steps), torch.Tensor.item)

    difference = [abs(a - b) for a, b in zip(parallel, dense, strict=True)]
    for step in range(0, args.steps, max(args.steps // 10, 1)):
        print(f"step {step:4}: loss {parallel[step]:.6f}, dense {dense[step]:.6f}")
    print(
        f"step {args.steps - 1:4}: loss {parallel[-1]:.6f}, dense {dense[-1]:.6f}; they differ by "
        f"at most {max(difference):.1e}"
    )
    if args.json:
        args.json.write_text(json.dumps({"parallel": parallel, "dense": dense}), encoding="utf-8")
    if args.plot:
        from plot import draw

        draw(parallel, dense, args.ranks, args.plot)
    if not max(difference) <= TOLERANCE:
        print(f"expected losses that differ by at most {TOLERANCE}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
