# ===- test_store.py - ranks that meet by a store of torch -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The all-gather by a store, which process groups of NCCL alone use. Ranks are threads."""

from __future__ import annotations

import datetime
import threading

import pytest
import torch.distributed as dist

from moe_mlir.runtime import gather


def stores(kind, tmp_path, ranks):
    if kind == "hash":
        return [dist.HashStore()] * ranks
    if kind == "file":
        return [dist.FileStore(str(tmp_path / "store"), ranks) for _ in range(ranks)]
    made = dist.TCPStore("127.0.0.1", 0, None, True, datetime.timedelta(seconds=20), False)
    joined = [
        dist.TCPStore("127.0.0.1", made.port, None, False, datetime.timedelta(seconds=20), False)
        for _ in range(ranks - 1)
    ]
    return [dist.PrefixStore("group", store) for store in (made, *joined)]


@pytest.mark.parametrize("kind", ["hash", "file", "tcp"])
def test_bytes_of_all_ranks(kind, tmp_path):
    ranks, calls = 3, 6
    made = stores(kind, tmp_path, ranks)
    found = {}

    def run(rank):
        every = gather.of_store(made[rank], rank, ranks, "test/0")
        found[rank] = [every(bytes([rank, 0, call]), 20.0) for call in range(calls)]

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [bytes([0, 0, call, 1, 0, call, 2, 0, call]) for call in range(calls)]
    assert found == dict.fromkeys(range(ranks), expected)
    # Calls that all ranks have left behind keep nothing.
    assert not made[0].check(["test/0/0/0"])
    assert made[0].check([f"test/0/{calls - 1}/0"])


def test_absent_ranks_are_named():
    every = gather.of_store(dist.HashStore(), 1, 4, "test/0")
    with pytest.raises(TimeoutError, match=r"rank 1 has waited 0.5 s for rank 0, 2, 3, which"):
        every(b"x", 0.5)
