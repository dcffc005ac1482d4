# ===- shapes.py - what is measured -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Model shapes, and the list of things to measure."""

import dataclasses
import re
from pathlib import Path

from .peers import PEERS

ROOT = Path(__file__).resolve().parents[2]
TOKENS = (16, 128, 1024, 4096, 8192)
LAYOUTS = ("rank_major", "expert_major", "slab")
# Blocks per kernel; 0 leaves the number to the compiler.
BLOCKS = (0, 8, 16, 24, 32, 132)
# The hand-written slab kernels look at all tokens before each token.
SLAB_TOKENS = 1024
MIB = 1 << 20
# Of alltoallv: bytes per peer and per row.
EXCHANGE_BYTES = (64 * MIB, 8 * MIB, 1 * MIB)
EXCHANGE_ROW = 16384
QUICK_MODEL = "deepseek_v3"
KINDS = ("links", "alltoall", "nccl", "hand", "ours", "messages", "package", *PEERS)
# Exchanges by messages, by the name of the variant: how messages are sized (moe-compile
# --schedule), and whether the dispatch keeps where its rows lie, for its combine.
KEPT = "exact, blocks kept"
MESSAGES = {"exact": ("exact", False), KEPT: ("exact", True), "padded": ("padded", False)}
# A dispatch and its combine, measured as one operation.
PAIR = "dispatch_and_combine"
# Places that the lists of a dispatch are aligned to: rows of a block of a grouped GEMM.
LIST_ALIGNMENT = 128
# What the ops of an exchange of ours say beside their layout, by the name of the variant.
# None is what the compiler chooses.
VARIANTS = {
    "rank_major": {None: ("", ""), "listed": (f"list_alignment = {LIST_ALIGNMENT} : i64", "")},
    "slab": {None: ("", ""), "listed": (f"list_alignment = {LIST_ALIGNMENT} : i64", "")},
    "expert_major": {
        None: ("", ""),
        "rounded": ("", "partials = #moe.partials<element>"),
        "once_per_rank": ("algorithm = #moe.dispatch_algorithm<expand>", "algorithm = #moe.algorithm<push>"),
        "once_per_rank_rounded": ("algorithm = #moe.dispatch_algorithm<expand>",
                                  "algorithm = #moe.algorithm<push>, partials = #moe.partials<element>"),
    },
}
# A dispatch that lists the rows of each expert; its combine is that of the layout.
LISTED = "listed"
# Those whose sums are compared with room for the sums of ranks, which are rounded too.
ROUNDED_PARTIALS = ("rounded", "once_per_rank_rounded")
# Tokens of the exchange that is called from C and from Python.
PACKAGE_TOKENS = 128


@dataclasses.dataclass(frozen=True)
class Model:
    name: str
    experts: int
    top_k: int
    hidden: int


SMALLEST = Model("smallest", experts=8, top_k=2, hidden=32)

DISPATCH = re.compile(
    r"moe\.dispatch.*?num_experts = (\d+).*?\(tensor<[\d?]+x(\d+)x\w+>,\s*tensor<[\d?]+x(\d+)x",
    re.DOTALL)


def parse_model(name, text):
    found = DISPATCH.search(text)
    if not found:
        raise ValueError(f"{name}: no moe.dispatch with num_experts found")
    experts, hidden, top_k = map(int, found.groups())
    return Model(name, experts, top_k, hidden)


def models(folder=ROOT / "examples" / "models"):
    """The shapes of the examples, the one of the quick run first."""
    found = [parse_model(f.stem, f.read_text()) for f in sorted(folder.glob("*.mlir"))]
    return sorted(found, key=lambda m: m.name != QUICK_MODEL)


def find(name):
    """A model by its name; the smallest one is for tests."""
    return next(m for m in (*models(), SMALLEST) if m.name == name)


def choose_models(names, quick):
    """Those of `names`; without names all, or the one of the quick run."""
    every = models()
    unknown = set(names) - {m.name for m in every}
    if unknown:
        raise ValueError(f"no such model: {', '.join(sorted(unknown))}; there are {', '.join(m.name for m in every)}")
    if names:
        return [m for m in every if m.name in names]
    return every[:1] if quick else every


def list_places(rows, top_k, local):
    """Places of the lists of `rows` rows, for `local` experts (dispatch_s15)."""
    entries = rows * min(top_k, local)
    most = entries + min(local, entries) * (LIST_ALIGNMENT - 1)
    return most - most % LIST_ALIGNMENT


def effort(tokens):
    """How often an exchange is measured. A call of few tokens takes some
    microseconds, and the clock of the GPU and the way to memory change them by
    several percent from one sample to the next."""
    few = tokens <= SLAB_TOKENS
    return {"samples": 41 if few else 15, "graph_calls": 20 if few else 5}


def plan(chosen_models, kinds=KINDS, tokens_of_run=TOKENS):
    """Units of work, the most telling first. A unit names its kind and
    what it depends on; ranks do all measurements of a unit in one go."""
    units = [{"kind": "links"}]
    units += [{"kind": "alltoall", "bytes": b} for b in EXCHANGE_BYTES]
    for model in chosen_models:
        for tokens in sorted(tokens_of_run, key=lambda t: t not in (4096, 128, 16)):
            shape = {"model": model.name, "tokens": tokens}
            units.append({"kind": "nccl", **shape})
            units.append({"kind": "hand", "layout": "rank_major", **shape})
            if tokens <= SLAB_TOKENS:
                units.append({"kind": "hand", "layout": "slab", **shape})
            units += [{"kind": "ours", "layout": layout, **shape} for layout in LAYOUTS]
            units += [{"kind": kind, **shape} for kind, peer in PEERS.items()
                      if peer.max_tokens is None or tokens <= peer.max_tokens]
            units.append({"kind": "messages", **shape})
            if tokens == PACKAGE_TOKENS:
                units.append({"kind": "package", **shape})
    return [u for u in units if u["kind"] in kinds]
