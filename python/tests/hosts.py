# ===- hosts.py - what groups of several hosts do -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What ranks of several hosts do, for groups of MPI and of torch.

Each function is called by all ranks of a group. The hosts may be one machine, of
which MOE_HOSTID makes several.
"""

from __future__ import annotations

import numpy as np

import moe_mlir as moe
from moe_mlir.runtime import Code

PLAN = moe.Exchange(
    num_experts=8, top_k=2, hidden=16, dtype="f32", max_tokens=6, layout="expert_major",
    combine_weights=True, padding="zero",
)  # fmt: skip


def expect(condition: bool, *seen: object) -> None:
    """An assertion that says what was seen, in processes without pytest."""
    if not condition:
        raise AssertionError(*seen)


def refused(call, *arguments, **options) -> moe.MoEError:
    try:
        call(*arguments, **options)
    except moe.MoEError as error:
        return error
    raise AssertionError("nothing was raised")


def exchanges(group: moe.Group, **options: object) -> None:
    """Dispatches and combines; expert e multiplies rows by e + 1, so sums are exact."""
    ep = group.load(PLAN, **options)
    expect(ep.loaded.manifest["transport"] == "messages", ep.loaded.manifest)
    random = np.random.default_rng(group.rank)
    for tokens in (6, group.rank, 6):
        x = random.integers(-8, 8, (tokens, 16)).astype(np.float32)
        idx = np.argsort(random.random((tokens, 8)))[:, :2].astype(np.int32)
        weights = random.choice([0.25, 0.5, 2.0], (tokens, 2)).astype(np.float32)
        recv = ep.dispatch(x, idx, weights)
        ids = np.asarray(recv.topk_idx)
        y = np.asarray(recv.x) * (ids + 1)[:, None].astype(np.float32)
        out = np.asarray(ep.combine(y, recv.handle, recv.topk_weights))
        factor = (weights * (idx + 1)).sum(axis=1)
        np.testing.assert_array_equal(out, x * factor[:, None])
    group.check()


def refuses_shared_memory(group: moe.Group, remedy: str) -> None:
    """What needs memory that all ranks share is refused, and the hosts are named."""
    hosts = [f"{name} (ranks {' and '.join(map(str, r))})" for name, r in group.hosts.items()]
    hosts = " and ".join(hosts)
    error = refused(group.load, PLAN, transport="direct")
    expect(error.cause == Code.UNAVAILABLE, error)
    expect(
        f"in the artifact ranks reach each other's memory, but the group has 2 hosts, {hosts}; "
        f"compile the module with {remedy}" in error.message,
        error,
    )
    expect((error.expected, error.seen) == ("one host", hosts), error)
    # An artifact that is refused leaves the group usable once it is reset.
    group.reset()
    error = refused(group.empty, (4,), "f32")
    expect(f"needs ranks that share memory, but the group has 2 hosts, {hosts}" in str(error))
