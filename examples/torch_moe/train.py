# ===- train.py - trains with expert parallelism -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Train a small language model of experts on two processes, and a dense one on one.

The dense model computes every expert for every token. Both begin with the same values and see the
same characters, so their losses have to agree step by step::

    python examples/torch_moe/train.py                    # CPU, 2 processes, 200 steps
    python examples/torch_moe/train.py --device cuda      # 2 GPUs

It ends with an error where they differ by more than rounding can explain.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn import functional

sys.path.append(str(Path(__file__).resolve().parents[1]))

import language_model as lm
from layers import DenseLayer, MoELayer, Outcome

import moe_mlir as moe


class Block(nn.Module):
    """Attention, and experts."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.qkv = nn.Parameter(torch.empty(lm.HIDDEN, 3 * lm.HIDDEN))
        self.out = nn.Parameter(torch.empty(lm.HIDDEN, lm.HIDDEN))
        self.moe = layer

    def forward(self, x: torch.Tensor, chosen: torch.Tensor | None) -> Outcome:
        heads = (normalize(x) @ self.qkv).unflatten(-1, (3, lm.HEADS, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + attended.transpose(1, 2).flatten(2) @ self.out
        found = self.moe(normalize(x).flatten(0, 1), chosen)
        return found._replace(out=x + found.out.view_as(x))


class Model(nn.Module):
    """A transformer of characters, whose layers of experts `make_layer` makes."""

    def __init__(self, make_layer: Callable[[], nn.Module], experts: range) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(lm.CHARACTERS, lm.HIDDEN))
        self.position = nn.Parameter(torch.empty(lm.CONTEXT, lm.HIDDEN))
        self.head = nn.Parameter(torch.empty(lm.HIDDEN, lm.CHARACTERS))
        self.blocks = nn.ModuleList(Block(make_layer()) for _ in range(lm.BLOCKS))
        self.load_state_dict(
            {
                name: torch.from_numpy(value[experts] if lm.is_expert(name) else value)
                for name, value in lm.initial_values().items()
            }
        )

    def forward(self, text: torch.Tensor, chosen: torch.Tensor | None) -> Outcome:
        """Logits, the imbalance of all blocks, and the rest of each of them."""
        x = self.embedding[text] + self.position
        found = []
        for number, block in enumerate(self.blocks):
            found.append(block(x, None if chosen is None else chosen[number]))
            x = found[-1].out
        _, imbalances, loads, choices, doubts = map(torch.stack, zip(*found, strict=True))
        return Outcome(normalize(x) @ self.head, imbalances.sum(), loads, choices, doubts.max())


def normalize(x: torch.Tensor) -> torch.Tensor:
    return functional.rms_norm(x, x.shape[-1:], eps=1e-6)


def train(
    model: nn.Module,
    data: Iterable[tuple[torch.Tensor, torch.Tensor]],
    synchronize: Callable[[torch.Tensor], torch.Tensor],
    chosen: Iterable[torch.Tensor | None],
) -> tuple[list[float], list[Outcome]]:
    """The loss of each step over the tokens of all ranks, and what the model returned.

    `chosen` has the experts of each token, of each block, of each step, or None.
    """
    optimizer = torch.optim.Adam(model.parameters(), lm.RATE, lm.BETAS, lm.EPSILON)
    losses, outcomes = [], []
    for (text, follows), experts in zip(data, chosen, strict=True):
        found = model(text, experts)
        logits = found.out.flatten(0, 1)
        loss = functional.cross_entropy(logits, follows.flatten(), reduction="sum")
        loss = loss / lm.TOKENS + lm.BALANCE * found.imbalance
        optimizer.zero_grad()
        loss.backward()
        losses.append(synchronize(loss.detach()).item())
        outcomes.append(found._replace(out=None, imbalance=None))
        optimizer.step()
    return losses, outcomes


def on_rank(rank: int, options: argparse.Namespace, folder: str) -> None:
    """One process of the parallel run."""
    torch.set_num_threads(1)
    ranks, device = options.ranks, torch.device(options.device)
    if device.type == "cuda":
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{folder}/store", rank=rank, world_size=ranks,
    )  # fmt: skip
    plan = lm.plan_of(ranks)
    with moe.torch.ExpertParallel(plan, artifact=options.artifact) as ep:
        model = Model(lambda: MoELayer(ep, lm.INNER), ep.experts).to(device)
        # Experts are on one rank each; all else is on every rank.
        shared = [p for name, p in model.named_parameters() if not lm.is_expert(name)]

        def synchronize(loss: torch.Tensor) -> torch.Tensor:
            for parameter in shared:
                dist.all_reduce(parameter.grad)
            dist.all_reduce(loss)
            return loss

        data = [
            [torch.from_numpy(part).chunk(ranks)[rank].to(device) for part in batch]
            for batch in lm.batches(options.steps)
        ]
        losses, outcomes = train(model, data, synchronize, [None] * len(data))
    torch.save([found.chosen.cpu() for found in outcomes], f"{folder}/chosen.{rank}")
    if rank == 0:
        found = losses, [found.load.tolist() for found in outcomes]
        Path(folder, "found.json").write_text(json.dumps(found), encoding="utf-8")
    dist.barrier()
    dist.destroy_process_group()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--artifact", help="the compiled plan, without a compiler")
    parser.add_argument(
        "--json", type=Path, help="write losses and loads here (plot.py draws them)"
    )
    options = parser.parse_args()
    if options.device == "cuda" and torch.cuda.device_count() < options.ranks:
        parser.error(f"expected {options.ranks} GPUs, found {torch.cuda.device_count()}")

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(on_rank, (options, folder), nprocs=options.ranks)
        parallel, load = json.loads(Path(folder, "found.json").read_text(encoding="utf-8"))
        parts = [torch.load(f"{folder}/chosen.{rank}") for rank in range(options.ranks)]
    chosen = [torch.cat(step, 1).to(options.device) for step in zip(*parts, strict=True)]
    plan = lm.plan_of(options.ranks)
    model = Model(lambda: DenseLayer(plan, lm.INNER), range(lm.EXPERTS)).to(options.device)
    data = [
        [torch.from_numpy(part).to(options.device) for part in batch]
        for batch in lm.batches(options.steps)
    ]
    dense, outcomes = train(model, data, lambda loss: loss, chosen)
    result = {
        "framework": "torch", "device": options.device, "ranks": options.ranks,
        "parallel": parallel, "dense": dense, "load": load,
        "doubt": max(found.doubt.item() for found in outcomes),
    }  # fmt: skip
    return lm.conclude(result, options.json)


if __name__ == "__main__":
    sys.exit(main())
