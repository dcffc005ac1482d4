# ===- test_elastic.py - DeepEP V2's buffer -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""ElasticBuffer against a reference that knows no exchange."""

import time

import elastic_checks
import pytest
import torch
import torch.distributed as dist
from cases import Sizes, elastic, pair

SIZES = Sizes(ranks=4)
PAIR = Sizes(ranks=2, experts=6)


def on_four(group, name, **options):
    buffer = elastic(dist.group.WORLD, SIZES, **options)
    getattr(elastic_checks, name)(buffer, group.rank, SIZES)
    buffer.destroy()


def on_two(group, name):
    process_group, rank = pair(group)
    buffer = elastic(process_group, PAIR)
    getattr(elastic_checks, name)(buffer, rank, PAIR)
    buffer.destroy()


def rounding_once(group, name):
    on_four(group, name, allow_multiple_reduction=False)


def first_call_of_one_rank(group):
    """Rank 0 refuses what it is given; the others do not wait longer than they were told to."""
    alone = dist.new_group(range(group.size))
    buffer = elastic(alone, SIZES, num_gpu_timeout_secs=8)
    tokens = SIZES.max_tokens + (group.rank == 0)
    x = torch.zeros((tokens, SIZES.hidden), dtype=torch.bfloat16)
    ids = torch.zeros((tokens, 1), dtype=torch.int64)
    begun = time.monotonic()
    with pytest.raises((ValueError, RuntimeError)):
        buffer.dispatch(x, ids, num_experts=SIZES.experts)
    assert time.monotonic() - begun < 60
    dist.barrier()
    buffer.destroy()


def test_first_call_that_one_rank_refuses(processes):
    processes(first_call_of_one_rank)


CHECKS = ("rows", "expanded", "combined", "reused", "overlapped")


@pytest.mark.parametrize("name", CHECKS)
def test_four_ranks(processes, name):
    processes(on_four, name)


@pytest.mark.parametrize("name", ["rows", "combined"])
def test_two_ranks(processes, name):
    processes(on_two, name)


def test_one_rounding(processes):
    """Without multiple reductions partial sums come back in f32."""
    processes(rounding_once, "combined")


def other_defaults(group):
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.inference_mode():
            on_four(group, "rows")
    finally:
        torch.set_default_dtype(torch.float32)


def test_other_defaults(processes):
    """Programs that change torch's defaults, as DeepEP's tests do."""
    processes(other_defaults)
