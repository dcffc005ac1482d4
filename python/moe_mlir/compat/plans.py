# ===- plans.py - what the calls of deep_ep exchange -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The exchanges behind :mod:`moe_mlir.compat.deep_ep`.

They depend on nothing but shapes and types, and need no torch: a machine that has a
compiler can make the artifacts of one that has none.

Received rows are handed out from where they arrived, and rows to combine are read from
where the caller's are put, so that each is copied once.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from moe_mlir.exchange import Exchange


def by_rank(
    num_experts: int,
    num_topk: int,
    hidden: int,
    dtype: str,
    max_tokens: int,
    num_scales: int = 0,
    **form: Any,
) -> Exchange:
    """One row per token and rank: `ElasticBuffer.dispatch`, `Buffer.dispatch`.

    `form` has further fields of the plan.
    """
    return Exchange(
        num_experts=num_experts, top_k=num_topk, hidden=hidden, dtype=dtype,
        max_tokens=max_tokens, scales=num_scales, index_dtype="i64",
        symmetric_recv=True, symmetric_y=True, **form,
    )  # fmt: skip


by_expert = functools.partial(by_rank, layout="expert_major", reduce="none")
"""One row per token and expert, both ways: the low-latency calls."""


def again(plan: Exchange) -> Exchange:
    """The plan whose artifact sends other rows along known routes."""
    return dataclasses.replace(plan, gradients=True)


def other_rows(plan: Exchange, hidden: int, dtype: str) -> Exchange:
    """The plan for rows of another kind along the same routes."""
    return dataclasses.replace(plan, hidden=hidden, dtype=dtype, scales=0, combine_dtype=dtype)


def combining(plan: Exchange, dtype: str) -> Exchange:
    """The plan for rows of another type on the way back."""
    return dataclasses.replace(plan, combine_dtype=dtype)


def apart(plan: Exchange) -> Exchange:
    """The plan whose combine adds nothing up."""
    return dataclasses.replace(plan, reduce="none")


def of_counts(num_ranks: int, num_numbers: int) -> Exchange:
    """A row of whole numbers from each rank to each."""
    return Exchange(
        num_experts=num_ranks, top_k=1, hidden=num_numbers, dtype="i32", tokens=num_ranks,
        index_dtype="i64", symmetric_recv=True, symmetric_y=True,
    )  # fmt: skip
