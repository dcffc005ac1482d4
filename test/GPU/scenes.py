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

import itertools
import re
import sys
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Differential"))

from artifacts import with_options  # noqa: E402
from builder import Builder  # noqa: E402
from entries import (  # noqa: E402
    build_combine, build_compute, build_dispatch, build_gradients,
    build_padding, build_reuse, build_round_trip,
)
from inputs import LAYOUTS, Params, random_bits  # noqa: E402
from moe_ops import Alltoallv  # noqa: E402
from oracle import DTYPES  # noqa: E402
from pool import Failure  # noqa: E402
from program import module_text  # noqa: E402



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
    # Rows that a replay leaves empty had tokens in the one before.
    **{
        f"padding_{layout}": (build_padding, dict(
            layout=layout, padding="zero", routing="sparse", t_max=6, hidden=64,
            alignment=4 if layout == "expert_major" else 1,
        ))
        for layout in LAYOUTS
    },
    **{
        f"gradients_{layout}": (build_gradients, dict(
            layout=layout, weighted=True, t_max=6, hidden=64,
        ))
        for layout in LAYOUTS
    },
    # Lists that are longer or shorter in one replay than in the one before.
    **{
        f"lists_{layout}": (build_dispatch, dict(
            layout=layout, k=4, t_max=12, hidden=64, list_alignment=4,
        ))
        for layout in ("rank_major", "slab")
    },
    # Rows that cross to a rank once, and are copied there.
    **{
        f"expand_{name}": (build, dict(
            layout="expert_major", dispatch_algorithm="expand", k=4,
            **{"t_max": 12, **changes},
        ))
        for name, build, changes in (
            ("dispatch", build_dispatch, {}),
            ("round_trip", build_round_trip, dict(weighted=True)),
            ("reuse", build_reuse, dict(hidden=320)),
            ("padding", build_padding, dict(
                padding="zero", routing="sparse", alignment=4, hidden=64, t_max=6,
            )),
        )
    },
    "weighted": (build_round_trip, dict(layout="expert_major", weighted=True)),
    "partials": (build_round_trip, dict(
        layout="expert_major", weighted=True, partials="element", k=4,
    )),
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
    "back": (build_combine, dict(layout="slab", algorithm="push")),
    "expand": (build_dispatch, dict(
        layout="expert_major", dispatch_algorithm="expand", num_experts=8, k=4,
    )),
    "asked": (build_combine, dict(layout="expert_major", algorithm="push")),
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

# What kernels do, as words that stand for nothing else in their PTX.
FETCHES, PUTS = ["cp.async.bulk.shared"], ["cp.async.bulk.global"]
POSTS, TAKES = ["st.relaxed.gpu.global", "symm_collect"], ["atom.global.add"]
COPIES = ["ld.global.L1::no_allocate"]
ASKS = ["st.relaxed.sys.global"]
MEETS = ["symm_wait_for_grid"]
# What scenes are there for: what each of their kernels, in turn, has to do.
# Where keys are experts, blocks meet instead of posting masks.
PURPOSES = {
    "bulk": {
        "dispatch_rank_major": [FETCHES + PUTS + POSTS],
        "dispatch_expert_major": [FETCHES + PUTS],
        "dispatch_slab": [FETCHES + PUTS + POSTS],
        "round_trip_rank_major": [FETCHES + PUTS + POSTS, FETCHES],
        "round_trip_expert_major": [FETCHES + PUTS, FETCHES],
        "weighted": [FETCHES + PUTS, FETCHES],
    },
    "tickets": {
        "round_trip_rank_major": [POSTS + TAKES, TAKES],
        "round_trip_slab": [POSTS + TAKES, TAKES],
        "round_trip_expert_major": [TAKES, TAKES],
        "weighted": [TAKES, TAKES],
    },
    "push": {
        "round_trip_rank_major": [POSTS + TAKES, TAKES],
        "round_trip_slab": [POSTS + TAKES, TAKES],
        "round_trip_f8": [POSTS + TAKES, TAKES],
        "round_trip_expert_major": [TAKES, TAKES + ASKS],
        "weighted": [TAKES, TAKES + ASKS],
        "partials": [TAKES, TAKES + ASKS],
    },
    "lists": {
        "lists_rank_major": [POSTS + MEETS],
        "lists_slab": [POSTS + MEETS],
    },
    "expand": {
        "expand_dispatch": [COPIES + TAKES],
        "expand_round_trip": [COPIES + TAKES, TAKES],
    },
}


def for_purposes(kind, **changes):
    """Scenes, changed so that their kernels do what they are there for."""
    return {
        name: (GRAPH_SCENES[name][0], {**GRAPH_SCENES[name][1], **changes})
        for name in PURPOSES[kind]
    }


# More tokens than threads, or blocks would not post masks. Rings of stages go
# round several times; in a combine two teams add, whose subgroups have columns
# each.
BULK = ["--blocks=4", "--threads=224", "--transfer=bulk", "--stages=4"]
BULK_SCENES = for_purposes("bulk", t_max=240, hidden=640)
# And more shares of tokens than subgroups, or these would not take tickets.
TICKETS = ["--blocks=4", "--threads=64", "--transfer=stores", "--team=2"]
TICKET_SCENES = for_purposes("tickets", t_max=200)
# Combines that put rows, some subgroups first and some not, and add what comes.
PUSH = ["--blocks=4", "--threads=128", "--team=2"]
PUSH_SCENES = for_purposes("push", algorithm="push", t_max=200)

# Dispatches half of whose subgroups copy what comes.
EXPAND = ["--blocks=4", "--threads=128", "--transfer=stores", "--team=2"]
EXPAND_SCENES = for_purposes("expand", t_max=200)

# Dispatches whose blocks share out the rows that they list, and meet twice.
LISTS = ["--blocks=4", "--threads=128"]
LISTS_SCENES = for_purposes("lists", t_max=200)

# Messages of fixed length, which need no CPU and so can be captured.
PADDED = ["--transport=messages", "--schedule=padded"]
PADDED_SCENES = {
    name: GRAPH_SCENES[name]
    for name in GRAPH_SCENES
    if name not in ("long_rows", "compute", "round_trip_slab", "gradients_slab")
}
# With room for some of the rows.
ROOM = 8
TIGHT = [*PADDED, f"--pair-capacity={ROOM}"]
TIGHT_SCENES = {
    "dispatch_rank_major": GRAPH_SCENES["dispatch_rank_major"],
    "dispatch_expert_major": GRAPH_SCENES["dispatch_expert_major"],
    "combine": (build_combine, dict(layout="rank_major")),
    "alltoallv": GRAPH_SCENES["alltoallv"],
}
KINDS_OF_MESSAGES = ("padded", "tight")

# Kind of modules to its scenes and options.
MODULES = {
    "graphs": (GRAPH_SCENES, []),
    "bulk": (BULK_SCENES, BULK),
    "tickets": (TICKET_SCENES, TICKETS),
    "push": (PUSH_SCENES, PUSH),
    "expand": (EXPAND_SCENES, EXPAND),
    "lists": (LISTS_SCENES, LISTS),
    "faults": (FAULT_SCENES, []),
    "few": (FEW_SCENES, FEW_THREADS),
    "cubin": (CUBIN_SCENES, CUBIN),
    "padded": (PADDED_SCENES, PADDED),
    "tight": (TIGHT_SCENES, TIGHT),
}


def scene(kind, name, ranks, seed, number):
    """A case; its entry depends on kind, name and ranks alone, its inputs on
    all."""
    build, changes = MODULES[kind][0][name]
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


def modules(sizes, kinds=None):
    """{key: text} of those of `kinds`, or of all that put rows, for groups of
    these sizes."""
    texts = {}
    for kind in kinds or [kind for kind in MODULES if kind not in KINDS_OF_MESSAGES]:
        scenes, options = MODULES[kind]
        for ranks in sizes:
            entries = [scene(kind, name, ranks, 0, 0).entry for name in scenes]
            text = module_text(ranks, entries)
            texts[f"{kind}{ranks}"] = (
                with_options(text, options) if options else text
            )
    return texts


def find_kernels(text, name):
    """The PTX of the kernels of a function's ops, in order: those that signal
    other ranks. The others copy received rows out of symmetric memory."""
    kernels = re.findall(
        rf"^\.visible \.entry {name}_kernel(?:_\d+)?\((.*?)^}}", text,
        re.MULTILINE | re.DOTALL,
    )
    return [kernel for kernel in kernels if "st.release.sys.global" in kernel]


def lacks(kernel, words):
    return [word for word in words if word not in kernel]


def check_purpose(kind, name, path):
    """Fails when a scene's kernels do not do what it is there for, because the
    compiler has come to choose something else.

    A scene's ops, a dispatch and perhaps a combine, have kernels of the scene's
    name, unless other scenes have equal ops: these share one of the op's name.
    """
    if kind not in PURPOSES:
        return
    wanted = PURPOSES[kind][name]
    text = path.read_bytes().decode("latin-1")
    own = find_kernels(text, name)
    shared = [
        find_kernels(text, rf"moe_{op}(?:_\d+)?") for op in ("dispatch", "combine")
    ]
    # Which of the ops have the kernels of their own is not written anywhere.
    for places in itertools.combinations(range(len(wanted)), len(own)):
        kernels = dict(zip(places, own))
        if all(
            any(
                not lacks(kernel, words)
                for kernel in ([kernels[i]] if i in kernels else shared[i])
            )
            for i, words in enumerate(wanted)
        ):
            return
    raise Failure(
        f"{path.name}: the {len(own)} kernels of {name} and the shared ones, "
        f"{[len(kernels) for kernels in shared]}, do not have {wanted}"
    )


def tensors(case, rank):
    """A rank's inputs as (dtype, shape, bytes)."""
    return [
        (arg.type.dtype, data.arrays[rank].shape, data.arrays[rank].tobytes())
        for arg, data in zip(case.entry.args, case.inputs)
    ]


def array(tensor):
    dtype, shape, data = tensor
    return np.frombuffer(data, DTYPES[dtype]).reshape(shape)
