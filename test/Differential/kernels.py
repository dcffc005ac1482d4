#===- kernels.py - kernels of the CUDA target on fibers of a CPU -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Shapes and schedules of kernels, from the seed; docs/Testing.md says what they
find and what not."""

from __future__ import annotations

import random
from pathlib import Path

from cases import fixed_case, make_cases
from entries import (
    build_alltoallv, build_combine, build_dispatch, build_reuse, build_round_trip,
)


def kernel_recipes():
    """What only the size of a case brings about in a kernel."""
    full = dict(token_mode="full", routing="uniform")
    # Rows of all slots of a token that do not fit into stages as a whole.
    for weighted in (False, True):
        yield f"parts_weighted_{weighted}", build_round_trip, dict(
            full, layout="expert_major", k=32, num_experts=40, ranks=2, t_max=5,
            hidden=4096, dtype="f32", weighted=weighted,
        )
    # Numbers of experts that do not fit into the memory of a block.
    yield "many_experts", build_round_trip, dict(
        full, layout="expert_major", k=4, num_experts=2100, ranks=4, t_max=9,
        hidden=16, dtype="bf16",
    )
    yield "many_ordered_experts", build_reuse, dict(
        full, layout="rank_major", order="expert", k=1, num_experts=2100,
        ranks=3, t_max=9, hidden=16, dtype="bf16",
    )
    # More tokens than threads, and rings of stages that go round many times.
    for i, layout in enumerate(("rank_major", "slab", "expert_major")):
        yield f"long_{layout}", build_round_trip, dict(
            full, layout=layout, k=4, num_experts=16, ranks=4, t_max=200,
            hidden=64, dtype="bf16", weighted=i > 0, bench=3 * (i % 2),
        )
    # Tables that do not fit shared memory beside stages.
    for layout in ("rank_major", "slab"):
        yield f"large_tables_{layout}", build_dispatch, dict(
            full, layout=layout, k=1, num_experts=3, ranks=2, t_max=22000,
            hidden=8, dtype="bf16",
            kernel="blocks = 2, threads = 64, transfer = bulk",
        )
    # Rows of several columns for a lane, of tokens with more slots than rows; in
    # blocks of many threads not all slots move at a time.
    for ranks, threads in ((2, 96), (4, 96), (5, 544)):
        for weighted in (False, True):
            name = f"columns_{ranks}_ranks_{threads}_threads_weighted_{weighted}"
            yield name, build_combine, dict(
                token_mode="full", routing="sparse", layout="rank_major", k=4,
                num_experts=20, ranks=ranks, t_max=7, hidden=4104,
                dtype="bf16", weighted=weighted,
                kernel=f"blocks = 2, threads = {threads}",
            )
    # Rows that are put into slots: by shares, by subgroups that then add, more of
    # them than there are subgroups, and in more slots than a subgroup has lanes.
    for layout in ("rank_major", "slab"):
        push = dict(full, algorithm="push", layout=layout, dtype="bf16", bench=2)
        for team, threads in ((1, 32), (2, 128), (4, 384)):
            yield f"push_{layout}_{threads}_threads", build_round_trip, dict(
                push, k=4, num_experts=20, ranks=4, t_max=7, hidden=4104,
                weighted=team > 1,
                kernel=f"blocks = 2, threads = {threads}, team = {team}",
            )
        yield f"push_long_{layout}", build_round_trip, dict(
            push, k=4, num_experts=16, ranks=3, t_max=200, hidden=64,
            weighted=False,
        )
        yield f"push_many_ranks_{layout}", build_round_trip, dict(
            push, k=12, num_experts=80, ranks=40, t_max=3, hidden=16,
            weighted=True,
        )
    # Rows that are expanded where they arrive: by shares, by subgroups that put
    # first, with bits and with numbers for the experts, more shares than there
    # are subgroups, and from more ranks than a subgroup has lanes.
    expand = dict(
        layout="expert_major", dispatch_algorithm="expand", dtype="bf16", bench=2,
        routing="uniform",
    )
    for team, threads in ((1, 32), (2, 128), (4, 384)):
        for mode in ("full", "dynamic"):
            yield f"expand_{threads}_threads_{mode}", build_round_trip, dict(
                expand, k=4, num_experts=20, ranks=4, t_max=7, hidden=4104,
                token_mode=mode, weighted=team > 1,
                kernel=f"blocks = 2, threads = {threads}, team = {team}",
            )
    for name, experts in (("marks", 16), ("tables", 1100)):
        for team in (1, 2):
            yield f"expand_long_{name}_team_{team}", build_reuse, dict(
                expand, k=6, num_experts=experts, ranks=3, t_max=120, hidden=64,
                token_mode="dynamic",
                kernel=f"blocks = 3, threads = 128, team = {team}",
            )
    yield "expand_many_ranks", build_round_trip, dict(
        expand, k=12, num_experts=80, ranks=40, t_max=3, hidden=16,
        token_mode="dynamic", weighted=True,
    )
    # Sums that are put: by shares, of more rows than a subgroup adds at a time,
    # and where most ranks have no row of a token.
    by_expert = dict(
        full, algorithm="push", layout="expert_major", dtype="bf16", reduce="sum"
    )
    for partials in ("f32", "element"):
        for team, threads in ((1, 32), (2, 128), (4, 384)):
            yield f"push_{partials}_{threads}_threads", build_round_trip, dict(
                by_expert, k=4, num_experts=11, ranks=3, t_max=7, hidden=4104,
                weighted=team > 1, partials=partials, bench=2,
                kernel=f"blocks = 2, threads = {threads}, team = {team}",
            )
        yield f"push_{partials}_long", build_round_trip, dict(
            by_expert, k=11, num_experts=24, ranks=2, t_max=120, hidden=64,
            weighted=partials == "f32", partials=partials, bench=2,
        )
        yield f"push_{partials}_many_ranks", build_round_trip, dict(
            by_expert, k=5, num_experts=50, ranks=40, t_max=9, hidden=16,
            weighted=True, partials=partials,
            kernel="blocks = 1, threads = 64",
        )
    # Short rows, of which a subgroup moves many at a time, and some alone.
    for capacity in ("exact", "drop"):
        yield f"rows_together_{capacity}", build_alltoallv, dict(
            capacity=capacity, routing="uniform", ranks=3, t_max=300,
            hidden=64, dtype="bf16", token_mode="full", bench=2,
        )
        # Very short ones, which move in pieces of several sizes.
        yield f"short_rows_{capacity}", build_alltoallv, dict(
            capacity=capacity, routing="uniform", ranks=2, t_max=1500,
            hidden=2, dtype="bf16", token_mode="full", bench=2,
        )
        # Long rows, which move in pieces.
        yield f"pieces_of_rows_{capacity}", build_alltoallv, dict(
            capacity=capacity, routing="uniform", ranks=3, t_max=20,
            hidden=8192, dtype="bf16", token_mode="full", bench=2,
        )
    # Lists of rows: in several parts for each block, for more experts than have
    # tables or masks in shared memory, and of more senders than a subgroup has
    # lanes.
    for layout in ("rank_major", "slab"):
        lists = dict(
            layout=layout, routing="uniform", token_mode="dynamic", dtype="bf16",
            hidden=16, bench=2,
        )
        for ranks, experts, threads in ((4, 16, 128), (3, 3, 352), (2, 9, 32)):
            yield f"lists_long_{layout}_{threads}_threads", build_dispatch, dict(
                lists, ranks=ranks, num_experts=experts, k=3, t_max=200,
                list_alignment=16, capacity="default",
                kernel=f"blocks = 3, threads = {threads}",
            )
        # The masks lie where the bulk copies had their stages.
        yield f"lists_bulk_{layout}", build_dispatch, dict(
            lists, ranks=3, num_experts=11, k=4, t_max=40, list_alignment=4,
            capacity="default",
            kernel="blocks = 2, threads = 64, transfer = bulk",
        )
        for experts in (2100, 8300):
            yield f"lists_{experts}_experts_{layout}", build_dispatch, dict(
                lists, ranks=2, num_experts=experts, k=4, t_max=40,
                list_alignment=2, capacity="default",
                kernel="blocks = 2, threads = 64",
            )
        yield f"lists_many_ranks_{layout}", build_dispatch, dict(
            lists, ranks=40, num_experts=90, k=12, t_max=9, list_alignment=4,
            capacity="default", kernel="blocks = 2, threads = 64",
        )
    # Blocks of more ranks than a subgroup has lanes, and of more experts than fit
    # shared memory.
    for layout in ("rank_major", "expert_major", "slab"):
        yield f"blocks_many_ranks_{layout}", build_reuse, dict(
            layout=layout, keep_blocks=True, routing="uniform", ranks=40, k=12,
            num_experts=80, t_max=3, hidden=16, token_mode="full", dtype="bf16",
            kernel="blocks = 2, threads = 64",
        )
    yield "blocks_many_experts", build_round_trip, dict(
        layout="expert_major", keep_blocks=True, routing="uniform", ranks=2, k=4,
        num_experts=2100, t_max=40, hidden=16, token_mode="dynamic",
        dtype="bf16", weighted=True, kernel="blocks = 2, threads = 64",
    )
    # Bad input of dispatches with lists: nothing is written past them.
    for kind in ("expert_high", "capacity", "tokens"):
        for layout in ("rank_major", "slab")[: 1 + (kind != "capacity")]:
            yield f"bad_lists_{kind}_{layout}", kind, dict(
                layout=layout, ranks=3, k=3, num_experts=7, t_max=40, hidden=16,
                list_alignment=4, kernel="blocks = 2, threads = 64",
            )
    # Bad input of dispatches that expand: nobody waits for rows that never come.
    for kind in ("expert_high", "reuse_row", "capacity", "tokens"):
        yield f"bad_expand_{kind}", kind, dict(
            layout="expert_major", dispatch_algorithm="expand", ranks=3, k=3,
            num_experts=7, t_max=10, hidden=16, kernel="blocks = 2, threads = 64",
        )
    # An id that is no expert, where other blocks have the token.
    for layout in ("rank_major", "expert_major"):
        yield f"bad_expert_{layout}", "expert_high", dict(
            full, layout=layout, k=2, num_experts=4, ranks=2, t_max=10,
            hidden=16,
        )
    # More ranks than a subgroup has lanes.
    yield "many_ranks", build_alltoallv, dict(
        capacity="exact", routing="uniform", ranks=40, t_max=2, hidden=16,
        dtype="bf16", token_mode="full", bench=2,
    )
    # And so more slots, of which tokens have some on either side of the lanes.
    for layout in ("rank_major", "slab"):
        yield f"many_ranks_{layout}", build_round_trip, dict(
            full, layout=layout, k=12, num_experts=80, ranks=40, t_max=3,
            hidden=16, dtype="bf16", weighted=True, bench=2,
        )
        # Most ranks have no row of a token, and some more experts than others.
        yield f"few_rows_{layout}", build_round_trip, dict(
            full, layout=layout, k=3, num_experts=29, ranks=11, t_max=9,
            hidden=16, dtype="bf16", weighted=True, bench=2,
        )


def make_kernel_cases(seed, count):
    """The usual cases, and those of the recipes."""
    cases = make_cases(seed, count)
    return cases + [
        fixed_case(
            seed, f"kernel_{name}", build, {"algorithm": "pull", **fixed}
        )
        for name, build, fixed in kernel_recipes()
    ]


def shape_options(lot):
    """A shape for the kernels of a module: options of moe-compile."""
    threads = lot.choice((32, 32, 64, 64, 128, 256, 352))
    options = [f"--blocks={lot.randint(1, 5)}", f"--threads={threads}"]
    if lot.random() < 0.6:
        # With many stages a combine brings several tokens at a time.
        stages = lot.choice((2, 2, 3, 4, 9, 15, None))
        return options + ["--transfer=bulk"] + (
            [f"--stages={stages}"] if stages else []
        )
    teams = [team for team in (1, 2, 4) if team <= threads // 32]
    return options + ["--transfer=stores", f"--team={lot.choice(teams)}"]


class Kernels:
    """How modules are compiled and run when fibers execute their kernels."""

    # Few cases per module: each module has a shape of its own.
    cases_per_module = 4

    def __init__(self, bin_dir: Path, seed: int, late=False):
        self.settings = ["MOE_FIBER_LATE=1"] if late else []
        self.library = bin_dir.parent / "lib" / "libmoe_fibers.so"
        self.seed = seed
        if not self.library.is_file():
            raise FileNotFoundError(f"{self.library} (ninja moe_fibers)")

    def compile_options(self, module):
        lot = random.Random(f"{self.seed} {module}")
        # LLVM's optimizations for a CPU are half of the time of such a module, and
        # not what runs on a GPU: they are used to see that nothing relies on -O0.
        level = lot.choice((0, 0, 0, 3))
        return ["--kernels=fibers", f"-O{level}", *shape_options(lot)]

    def run_prefix(self, case):
        schedule = random.Random(f"{self.seed} {case.name}").randrange(2**32)
        return [
            "env", f"LD_PRELOAD={self.library}", f"MOE_FIBER_SEED={schedule}",
            *self.settings,
        ]
