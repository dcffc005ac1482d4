#===- scenes.py - modules and inputs of the tests on GPUs -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Modules whose inputs change from call to call, beside the cases of the
differential test: built from its parts, so that its oracle knows the results.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Differential"))

from artifacts import with_options  # noqa: E402
from entries import (  # noqa: E402
    Builder, build_compute, build_dispatch, build_reuse, build_round_trip,
)
from inputs import LAYOUTS, Params, random_bits  # noqa: E402
from oracle import DTYPES  # noqa: E402
from program import Alltoallv, module_text  # noqa: E402



def group_sizes(gpus):
    """As many ranks as GPUs, and twice as many, which share them."""
    return gpus, 2 * gpus


def build_exchange(b):
    """An alltoallv whose shapes do not depend on its counts."""
    p, rng = b.p, b.rng
    rows = p.ranks * p.t_max
    counts = rng.integers(0, p.t_max + 1, (p.ranks, p.ranks)).astype(np.int32)
    send = b.arg(
        "send", p.dtype, (rows, p.hidden),
        [random_bits(rng, DTYPES[p.dtype], (rows, p.hidden))
         for _ in range(p.ranks)],
    )
    numbers = b.arg("counts", "i32", (p.ranks,), list(counts))
    op = b.entry.add(Alltoallv(send, numbers, rows, "error"))
    b.returns(*op.results)


def build_own_experts(b):
    """A dispatch with room for one sender's tokens; each rank keeps its own."""
    p = b.p
    x = b.x()
    idx, w = b.routing()
    for rank, array in enumerate(b.data(idx).arrays):
        array[...] = -1
        array[:, 0] = rank  # one expert per rank
    attrs = p.dispatch_attrs(capacity=p.t_max)
    d = b.dispatch("", attrs, x, idx, w)
    b.returns(*d.results)


# Name to builder and changes of the parameters.
GRAPH_SCENES = {
    **{
        f"dispatch_{layout}": (build_dispatch, dict(layout=layout))
        for layout in LAYOUTS
    },
    **{
        f"round_trip_{layout}": (build_round_trip, dict(layout=layout))
        for layout in LAYOUTS
    },
    "weighted": (build_round_trip, dict(layout="expert_major", weighted=True)),
    "round_trip_f8": (build_round_trip, dict(dtype="f8E4M3FN", hidden=33)),
    "reuse": (build_reuse, dict(dtype="f8E5M2", scales="f32")),
    "compute": (build_compute, dict(dtype="f32")),
    "long_rows": (build_round_trip, dict(hidden=7168, t_max=9)),
    "alltoallv": (build_exchange, dict(dtype="f32")),
}
FAULT_SCENES = {
    "send": (build_dispatch, {}),
    "other": (build_exchange, {}),
    "tight": (build_own_experts, {}),
}
# One block, whose two subgroups share the counting out; one waits for ranks.
FEW_THREADS = ["--blocks=1", "--threads=64", "--transfer=stores"]
FEW_SCENES = {
    "many": (build_dispatch, dict(layout="slab", t_max=200, hidden=64)),
}
CUBIN = ["--gpu-format=cubin"]
CUBIN_SCENES = {
    name: GRAPH_SCENES[name]
    for name in ("dispatch_rank_major", "round_trip_slab", "alltoallv")
}


def scene(kind, name, ranks, seed, number):
    """A case; its entry depends on name and ranks alone, its inputs on all."""
    build, changes = {**GRAPH_SCENES, **FAULT_SCENES, **FEW_SCENES}[name]
    values = dict(
        ranks=ranks, layout="rank_major", order="token", dtype="bf16",
        hidden=256, k=3, num_experts=2 * ranks + 1, idx_dtype="i32",
        token_mode="static", t_max=24, routing="uniform", capacity="default",
        alignment=1, scales=None, weighted=False, algorithm=None, bench=0,
    )
    if kind in ("faults", "few"):
        values["num_experts"] = ranks
        values["k"] = min(2, ranks)
    params = Params(**{**values, **changes})
    rng = np.random.default_rng([seed, ranks, zlib.crc32(name.encode()), number])
    if name == "reuse":  # the width of the scales is part of the types
        rng_width = np.random.default_rng(ranks)
        width = int(rng_width.integers(1, 6))
        builder = Builder(name, rng, params)
        builder.scales = lambda s="s": builder.rows(
            s, params.scales, random_bits, width
        )
    else:
        builder = Builder(name, rng, params)
    build(builder)
    return builder.case()


def modules(sizes):
    """{key: text} of all of them, for groups of these sizes."""
    texts = {}
    for kind, scenes, options in (
        ("graphs", GRAPH_SCENES, []), ("faults", FAULT_SCENES, []),
        ("few", FEW_SCENES, FEW_THREADS), ("cubin", CUBIN_SCENES, CUBIN),
    ):
        for ranks in sizes:
            entries = [scene(kind, name, ranks, 0, 0).entry for name in scenes]
            text = module_text(ranks, entries)
            texts[f"{kind}{ranks}"] = (
                with_options(text, options) if options else text
            )
    return texts


def tensors(case, rank):
    """A rank's inputs as (dtype, shape, bytes)."""
    return [
        (arg.type.dtype, data.arrays[rank].shape, data.arrays[rank].tobytes())
        for arg, data in zip(case.entry.args, case.inputs)
    ]


def array(tensor):
    dtype, shape, data = tensor
    return np.frombuffer(data, DTYPES[dtype]).reshape(shape)
