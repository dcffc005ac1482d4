#===- cases.py - the cases of the differential test -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""The cases: fixed ones for what must never be missed, random ones beyond.

Everything follows from a seed; a case does not depend on how many there are.
"""

from __future__ import annotations

import zlib

import numpy as np

from bad_inputs import BAD_INPUTS, build_bad_input
from builder import Builder, Case
from entries import (
    build_alltoallv, build_combine, build_compute, build_deferred,
    build_dispatch, build_gradients, build_helper_twice, build_layers,
    build_padding, build_reuse, build_round_trip, build_two_dispatches,
)
from inputs import EDGE_HIDDEN, LAYOUTS, sample
from oracle import DTYPES

BUILDERS = {
    "dispatch": build_dispatch,
    "combine": build_combine,
    "deferred": build_deferred,
    "round_trip": build_round_trip,
    "reuse": build_reuse,
    "gradients": build_gradients,
    "two_dispatches": build_two_dispatches,
    "helper_twice": build_helper_twice,
    "layers": build_layers,
    "alltoallv": build_alltoallv,
}
RANDOM_KINDS = (
    "dispatch", "combine", "alltoallv", "dispatch", "round_trip", "combine",
    "reuse", "dispatch", "two_dispatches", "deferred", "alltoallv", "dispatch",
    "helper_twice", "bad_input", "layers", "gradients",
)


class Stratified:
    """Choices that go through all options, in an order that the seed sets,
    before any of them comes again."""

    def __init__(self, seed, index):
        self.seed, self.index = seed, index

    def __call__(self, name, options):
        turn, place = divmod(self.index, len(options))
        key = [self.seed, zlib.crc32(name.encode()), turn]
        order = np.random.default_rng(key).permutation(len(options))
        return options[int(order[place])]


def random_case(seed, index) -> Case:
    rng = np.random.default_rng([seed, 1, index])
    pick = Stratified(seed, index)
    kind = pick("kind", RANDOM_KINDS)
    name = f"random_{index}_{kind}"
    if kind == "bad_input":
        bad = Stratified(seed, index // len(RANDOM_KINDS))
        kind = bad("bad_input", tuple(BAD_INPUTS))
        return build_bad_input(f"random_{index}_bad_{kind}", rng, pick, kind)
    builder = Builder(name, rng, sample(rng, pick))
    BUILDERS[kind](builder)
    return builder.case()


def fixed_recipes():
    """(name, builder or bad input, fixed parameters): what must not be missed."""
    for i, dtype in enumerate(DTYPES):
        hidden = EDGE_HIDDEN[i % 4], EDGE_HIDDEN[(i + 1) % 4]
        yield f"dispatch_{dtype}", build_dispatch, dict(
            dtype=dtype, ranks=1 + i, k=1 + i, hidden=hidden[0],
            layout=LAYOUTS[i % 3], routing="uniform", token_mode="dynamic",
        )
        yield f"combine_{dtype}", build_combine, dict(
            dtype=dtype, ranks=8 - i, k=1 + (i + 4) % 8, hidden=hidden[1],
            layout=LAYOUTS[(i + 1) % 3], routing="uniform", weighted=False,
        )
    for i, layout in enumerate(LAYOUTS):
        common = dict(layout=layout)
        some = dict(layout=layout, token_mode="full", routing="uniform")
        yield f"round_trip_{layout}", build_round_trip, dict(
            some, weighted=True, dtype=("f32", "bf16", "f16")[i], bench=3
        )
        yield f"weighted_{layout}", build_combine, dict(
            some, weighted=True, dtype=("bf16", "f8E5M2", "f32")[i]
        )
        yield f"push_{layout}", build_round_trip, dict(
            some, weighted=True, dtype="bf16", bench=3, algorithm="push"
        )
        for algorithm in ("pull", "push"):
            for weighted in (False, True):
                name = f"deferred_{algorithm}_{layout}_weighted_{weighted}"
                yield name, build_deferred, dict(
                    some, weighted=weighted, dtype="bf16", bench=4,
                    algorithm=algorithm,
                )
        yield f"reuse_{layout}", build_reuse, dict(
            some, dtype=("f8E4M3FN", "f8E5M2", "f8E4M3FN")[i],
            scales=("f32", "bf16", "i8")[i],
        )
        yield f"two_dispatches_{layout}", build_two_dispatches, dict(
            some, bench=3
        )
        yield f"helper_twice_{layout}", build_helper_twice, dict(
            some, bench=3
        )
        yield f"compute_{layout}", build_compute, dict(
            some, dtype=("f32", "i32", "f32")[i]
        )
        yield f"empty_{layout}", build_round_trip, dict(
            common, token_mode="all_empty"
        )
        yield f"one_sender_{layout}", build_round_trip, dict(
            common, token_mode="one_rank_only", ranks=4 + i
        )
        yield f"few_experts_{layout}", build_dispatch, dict(
            some, ranks=8, num_experts=3
        )
        yield f"uneven_experts_{layout}", build_dispatch, dict(
            some, ranks=3 + i, num_experts=4 * (3 + i) - 1, k=4
        )
        for routing in ("one_rank", "repeated", "sparse", "none"):
            yield f"{routing}_{layout}", build_round_trip, dict(
                layout=layout, routing=routing, token_mode="dynamic", k=3
            )
        # One expert per rank and one more on some, or several per rank with gaps
        # between their groups.
        for number, experts in enumerate((3, 6)):
            yield f"padding_{layout}_{experts}_experts", build_padding, dict(
                layout=layout, ranks=2 + number, num_experts=experts, k=experts,
                padding="zero", routing="sparse", token_mode="dynamic",
                dtype=("bf16", "f8E4M3FN")[number], scales="f32", t_max=9,
                hidden=(64, 33)[number], alignment=4 if i == 1 else 1,
                capacity="generous", bench=3,
            )
        yield f"padding_alone_{layout}", build_padding, dict(
            layout=layout, ranks=1 + i, num_experts=4, k=4, padding="zero",
            token_mode="all_empty", t_max=5, hidden=16, capacity="generous",
            alignment=8 if i == 1 else 1,
        )
        for weighted in (False, True):
            yield f"rows_{layout}_weighted_{weighted}", build_combine, dict(
                some, weighted=weighted, reduce="none", algorithm=None,
                dtype=("bf16", "f8E5M2", "f32")[i], ranks=2 + i, t_max=7, k=4,
            )
        yield f"reuse_unpadded_{layout}", build_reuse, dict(some, padding="none")
        yield f"gradients_{layout}", build_gradients, dict(
            some, weighted=True, dtype=("f32", "bf16", "i8")[i],
        )
        if layout == "slab":
            continue
        yield f"padding_drop_{layout}", build_padding, dict(
            layout=layout, ranks=3, num_experts=3, k=3, padding="zero",
            routing="one_rank", token_mode="some_empty", t_max=6, hidden=16,
            capacity="drop", dtype="bf16", alignment=8 if i == 1 else 1,
        )
        for capacity in ("exact", "drop"):
            yield f"{capacity}_{layout}", build_reuse, dict(
                layout=layout, routing="one_rank", token_mode="full",
                capacity=capacity, ranks=4, t_max=5,
            )
        yield f"capacity_{layout}", "capacity", dict(layout=layout)
    for capacity in ("default", "exact", "drop"):
        yield f"order_expert_{capacity}", build_reuse, dict(
            layout="rank_major", order="expert", k=1, token_mode="full",
            routing="uniform", capacity=capacity, num_experts=11, ranks=4,
            t_max=12,
        )
        yield f"alltoallv_{capacity}", build_alltoallv, dict(
            capacity=capacity, routing="uniform", ranks=4, t_max=6, bench=3
        )
    for alignment in (1, 2, 16):
        yield f"alignment_{alignment}", build_dispatch, dict(
            layout="expert_major", alignment=alignment, num_experts=14,
            ranks=4, capacity="generous", token_mode="full", k=4,
            routing="uniform",
        )
    # Rows that cross to a rank once: of several experts there or of one, dropped
    # ones, empty ones, and along earlier routes.
    expand = dict(
        layout="expert_major", dispatch_algorithm="expand", dtype="bf16",
        hidden=64, ranks=4, num_experts=15, k=6, t_max=9,
    )
    for routing in ("one_rank", "repeated", "sparse", "uniform"):
        for capacity in ("exact", "drop"):
            yield f"expand_{routing}_{capacity}", build_dispatch, dict(
                expand, routing=routing, capacity=capacity, alignment=4,
                token_mode="dynamic", bench=3,
            )
        yield f"expand_reuse_{routing}", build_reuse, dict(
            expand, routing=routing, dtype="f8E4M3FN", scales="f32",
            token_mode="full", padding="zero", bench=3,
        )
    for token_mode in ("all_empty", "one_rank_only", "static_max"):
        yield f"expand_{token_mode}", build_round_trip, dict(
            expand, token_mode=token_mode, routing="uniform", weighted=True,
        )
    yield "expand_padding", build_padding, dict(
        expand, token_mode="dynamic", routing="sparse", padding="zero",
        capacity="generous", alignment=4, bench=3,
    )
    # Ranks that hold many rows of a token, few, and no more than one each. Only
    # sums of f32 show the order of all additions.
    shapes = (3, 29, 13), (4, 12, 6), (5, 5, 4), (3, 23, 11)
    for i, (ranks, experts, k) in enumerate(shapes):
        for weighted in (False, True):
            for partials in ("f32", "element"):
                for algorithm in ("pull", "push"):
                    name = f"{algorithm}_{partials}_{experts}_experts"
                    yield f"{name}_weighted_{weighted}", build_combine, dict(
                        layout="expert_major", ranks=ranks, num_experts=experts,
                        k=k, routing="uniform", token_mode="full", t_max=9,
                        hidden=64, dtype=("bf16", "f16", "f8E4M3FN", "f32")[i],
                        weighted=weighted, partials=partials, reduce="sum",
                        bench=min(3 * i, 6), algorithm=algorithm,
                    )
    # Sums of one row, of which the token has no other: its bits.
    for k in (1, 4):
        yield f"push_of_rows_{k}", build_combine, dict(
            layout="expert_major", ranks=4, num_experts=9, k=k, hidden=33,
            routing="sparse", token_mode="dynamic", t_max=12, dtype="bf16",
            weighted=False, partials="f32", reduce="sum", algorithm="push",
        )
    for scales in ("f32", "f16", "bf16", "i8"):
        yield f"scales_{scales}", build_dispatch, dict(
            dtype="f8E4M3FN", scales=scales, token_mode="full"
        )
    for algorithm in ("pull", "push"):
        for ranks in (2, 5):
            yield f"layers_{algorithm}_{ranks}_ranks", build_layers, dict(
                ranks=ranks, algorithm=algorithm, token_mode="full",
                routing="uniform", dtype="bf16", hidden=64, t_max=9, k=3,
                num_experts=2 * ranks + 1, bench=3,
            )
    yield "most_experts_per_token", build_round_trip, dict(
        k=32, num_experts=67, ranks=4, routing="uniform", token_mode="full",
        t_max=3, hidden=16,
    )
    yield "more_slots_than_experts", build_round_trip, dict(
        k=8, num_experts=5, ranks=4, routing="repeated", token_mode="full"
    )
    yield "rows_without_tokens", build_combine, dict(
        token_mode="static", t_max=0, capacity="generous", reduce="none",
        algorithm=None,
    )
    yield "static_without_tokens", build_round_trip, dict(
        token_mode="static", t_max=0, capacity="generous"
    )
    yield "larger", build_round_trip, dict(
        layout="rank_major", ranks=8, k=8, num_experts=64, hidden=384,
        dtype="bf16", t_max=48, token_mode="full", routing="skewed", bench=3,
    )
    yield from list_recipes()
    yield from block_recipes()
    for kind in BAD_INPUTS:
        yield f"bad_{kind}", kind, {}


def list_recipes():
    """Dispatches that list the rows of each expert."""
    for layout in ("rank_major", "slab"):
        common = dict(layout=layout, dtype="bf16", hidden=16)
        # One expert per rank, some ranks with one more, and some with none.
        for ranks, experts, k in ((4, 4, 1), (3, 7, 5), (4, 3, 3), (1, 5, 4)):
            for alignment in (1, 4, 128):
                yield f"lists_{layout}_{experts}_experts_{alignment}", (
                    build_dispatch
                ), dict(
                    common, ranks=ranks, num_experts=experts, k=k, t_max=9,
                    list_alignment=alignment, routing="sparse",
                    token_mode="dynamic", capacity="default", bench=2,
                )
        for routing in ("one_rank", "repeated", "one_expert", "none"):
            yield f"lists_{layout}_{routing}", build_dispatch, dict(
                common, ranks=3, num_experts=8, k=4, t_max=40,
                list_alignment=3, routing=routing, token_mode="full",
            )
        for token_mode in ("all_empty", "one_rank_only", "static_max"):
            yield f"lists_{layout}_{token_mode}", build_dispatch, dict(
                common, ranks=5, num_experts=11, k=3, t_max=7,
                list_alignment=2, routing="uniform", token_mode=token_mode,
            )
        yield f"lists_{layout}_no_tokens", build_dispatch, dict(
            common, token_mode="static", t_max=0, capacity="default",
            list_alignment=8,
        )
        yield f"lists_{layout}_padding", build_padding, dict(
            common, ranks=3, num_experts=6, k=6, t_max=9, routing="sparse",
            token_mode="dynamic", padding="zero", capacity="generous",
            dtype="f8E4M3FN", scales="f32", list_alignment=4, bench=3,
        )
    for capacity in ("exact", "drop", "one"):
        yield f"lists_{capacity}", build_dispatch, dict(
            layout="rank_major", ranks=4, num_experts=9, k=4, t_max=9,
            routing="one_rank", token_mode="full", capacity=capacity,
            list_alignment=4, dtype="bf16", hidden=16,
        )
        yield f"lists_order_expert_{capacity}", build_dispatch, dict(
            layout="rank_major", order="expert", ranks=3, num_experts=11, k=1,
            t_max=12, routing="uniform", token_mode="full", capacity=capacity,
            list_alignment=4, dtype="bf16", hidden=16,
        )


def block_recipes():
    """Dispatches that keep their blocks, and what then uses them."""
    for layout in LAYOUTS:
        # Ranks with two experts and with three.
        common = dict(
            layout=layout, keep_blocks=True, dtype="bf16", hidden=64, ranks=3,
            num_experts=7, k=5, t_max=9, bench=2,
        )
        some = dict(common, token_mode="dynamic", capacity="default")
        yield f"blocks_{layout}", build_dispatch, dict(some, routing="sparse")
        yield f"blocks_reuse_{layout}", build_reuse, dict(
            some, routing="sparse", padding="zero",
        )
        yield f"blocks_gradients_{layout}", build_gradients, dict(
            some, routing="uniform", weighted=True,
        )
        yield f"blocks_combine_{layout}", build_combine, dict(
            some, routing="repeated", weighted=True, algorithm=None,
        )
        yield f"blocks_empty_{layout}", build_round_trip, dict(
            common, token_mode="all_empty"
        )
        if layout == "slab":
            continue
        for name, build in (("reuse", build_reuse), ("", build_dispatch)):
            yield f"blocks_drop_{name}_{layout}", build, dict(
                common, routing="one_rank", token_mode="full", capacity="drop",
                padding="zero", alignment=4 if layout == "expert_major" else 1,
            )


def fixed_case(seed, name, recipe, fixed) -> Case:
    rng = np.random.default_rng([seed, 2, zlib.crc32(name.encode())])

    def pick(_, options):
        return options[int(rng.integers(len(options)))]

    name = f"fixed_{name}"
    if isinstance(recipe, str):
        return build_bad_input(name, rng, pick, recipe, **fixed)
    builder = Builder(name, rng, sample(rng, pick, **fixed))
    recipe(builder)
    return builder.case()


def make_cases(seed, count) -> list:
    fixed = [fixed_case(seed, *recipe) for recipe in fixed_recipes()]
    return fixed + [random_case(seed, index) for index in range(count)]


def share_of(cases, seed, share, always=()) -> list:
    """One in `share` of the fixed cases, drawn anew for each seed, those named in
    `always`, and all random ones."""
    def is_drawn(name):
        return zlib.crc32(f"{seed} share {name}".encode()) % share == 0

    return [
        case for case in cases
        if not case.name.startswith("fixed_") or case.name in always
        or is_drawn(case.name)
    ]


def cases_of_messages(cases) -> list:
    """All but faults of what only a combine that pushes looks at: messages do
    not tell push from pull (coll_s6)."""
    return [case for case in cases if "_bad_push" not in case.name]
