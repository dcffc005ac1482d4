#===- test_kept_blocks.py - blocks that are not those of the rows -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Kernels that take `blocks` which do not belong to their rows (coll_s10): an error
that says so, and no access past a buffer. Without exact messages, or on the host,
blocks are not read, and results are those of the rows."""

from __future__ import annotations

import numpy as np
import pytest

from cases import fixed_case
from entries import build_combine
from harness import ERROR_SECONDS, Modules, Run
from kernels import Kernels
from oracle import INVALID_COUNT, SpecifiedError
from test_differential import bin_dir

LAYOUTS = ("rank_major", "expert_major", "slab")


def make_case(request, layout):
    return fixed_case(
        request.config.option.moe_seed, f"kept_{layout}", build_combine,
        dict(
            layout=layout, keep_blocks=True, dtype="bf16", hidden=64, ranks=3,
            num_experts=7, k=4, t_max=9, routing="uniform", token_mode="full",
            capacity="default", weighted=True, algorithm=None, bench=0,
            kernel="blocks = 2, threads = 64",
        ),
    )


def arrays_of(case, name):
    (argument,) = (i for i, v in enumerate(case.entry.args) if v.name == name)
    return case.inputs[argument].arrays


def row_of_another_rank(case):
    """An entry of send_row names a row that its rank has for another sender."""
    blocks = arrays_of(case, "peer_blocks")
    for rank, rows in enumerate(arrays_of(case, "send_row")):
        if case.params.layout == "expert_major":
            continue
        for token, slot in zip(*np.nonzero(rows >= 0)):
            first, count = blocks[rank][0, slot, 0]
            other = first - 1 if first > 0 else first + count
            if other < arrays_of(case, "y")[rank].shape[0]:
                rows[token, slot] = other
                return [int(other)], [rank, int(slot)]
    # Of an expert: one that comes after all rows of the sender.
    rows, rank = arrays_of(case, "send_row")[0], 0
    token, slot = (int(n[0]) for n in np.nonzero(rows >= 0))
    rows[token, slot] = arrays_of(case, "y")[0].shape[0] - 1
    return [int(rows[token, slot])], list(range(case.ranks))


def blocks_past_the_capacity(case):
    blocks = arrays_of(case, "peer_blocks")[1]
    capacity = arrays_of(case, "y")[0].shape[0]
    blocks[1, 0, 0] = capacity, 3
    return [capacity + 3], [0, 1]


def more_rows_than_messages(case):
    """Blocks that agree with the capacity, but not with the messages."""
    blocks = arrays_of(case, "peer_blocks")[2]
    capacity = arrays_of(case, "y")[0].shape[0]
    blocks[0, ..., 0], blocks[0, ..., 1] = 0, capacity
    return [blocks[0, ..., 1].sum()], [2]


def no_blocks(case):
    """What a dispatch without exact messages keeps."""
    for name in ("peer_blocks", "peer_rows"):
        for array in arrays_of(case, name):
            array[...] = -1
    return [-1], list(range(case.ranks))


def rows_past_the_capacity(case):
    """Of a slab or rank-major combine: messages of rows that `y` does not have."""
    rows = arrays_of(case, "peer_rows")[0]
    rows[2, 1] = arrays_of(case, "y")[0].shape[0]
    rows[3, 1] = 1
    return [int(rows[2, 1]) + 1], [0, 1]


FAULTS = (
    row_of_another_rank, blocks_past_the_capacity, more_rows_than_messages,
    no_blocks, rows_past_the_capacity,
)


# Rows of experts are sent from a box, which is as large as messages say.
FAULTS_OF_LAYOUTS = [
    (layout, fault) for layout in LAYOUTS for fault in FAULTS
    if layout != "expert_major" or fault is not rows_past_the_capacity
]


@pytest.mark.parametrize(
    "layout,fault", FAULTS_OF_LAYOUTS,
    ids=[f"{fault.__name__}-{layout}" for layout, fault in FAULTS_OF_LAYOUTS],
)
def test_coll_s10_bad_blocks_are_an_error(layout, fault, request, tmp_path):
    seed = request.config.option.moe_seed
    case = make_case(request, layout)
    seen, ranks = fault(case)
    kernels = Kernels(bin_dir(), seed)
    modules = Modules(
        bin_dir(), tmp_path, [case], kernels=kernels, seed=seed, messages="exact"
    )
    run = Run(modules, case)
    run.execute(ERROR_SECONDS)
    run.check_error(SpecifiedError(INVALID_COUNT, seen, None, ranks))


@pytest.mark.parametrize("messages", (None, "padded"))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_coll_s10_blocks_are_not_read(layout, messages, request, tmp_path):
    seed = request.config.option.moe_seed
    case = make_case(request, layout)
    no_blocks(case)
    modules = Modules(
        bin_dir(), tmp_path, [case], kernels=Kernels(bin_dir(), seed), seed=seed,
        messages=messages,
    )
    Run(modules, case).check()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_coll_s10_the_host_reads_none(layout, request, tmp_path):
    seed = request.config.option.moe_seed
    case = make_case(request, layout)
    no_blocks(case)
    modules = Modules(bin_dir(), tmp_path, [case], seed=seed, messages="exact")
    Run(modules, case).check()
