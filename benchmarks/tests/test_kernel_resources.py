# ===- test_kernel_resources.py - tables and complaints -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What kernel_resources.py makes of figures. The figures themselves are tested by
test/Target/moe-compile-cuda-spills.test, where there is a ptxas."""

import sys
from dataclasses import replace

import kernel_resources as resources

RECORD = resources.Record("slab", "dispatch", "", ranks=8, experts=256, tokens=128, blocks=132, threads=512,
                          registers=100, spill_bytes=0, local_bytes=0, shared_bytes=1234, symmetric_bytes=14_760_000)


def test_what_does_not_fit():
    assert RECORD.problems == []
    assert replace(RECORD, spill_bytes=24, local_bytes=8).problems == ["24 bytes spilled, 8 bytes of local memory"]
    assert replace(RECORD, local_bytes=8).problems == ["0 bytes spilled, 8 bytes of local memory"]
    assert replace(RECORD, registers=128).problems == []
    assert replace(RECORD, registers=129).problems == ["129 registers in each of 512 threads"]
    assert replace(RECORD, shared_bytes=240_000).problems == ["240000 bytes of shared memory"]


def test_table():
    records = [replace(RECORD, layout=layout, ranks=ranks, tokens=tokens, registers=ranks + tokens // 128)
               for layout in ("slab", "rank_major") for ranks in (8, 16) for tokens in (4096, 128)]
    records.append(replace(RECORD, ranks=72, experts=288, spill_bytes=24))
    records.append(replace(RECORD, entry="combine", algorithm="push", registers=7))
    # Of no interest beside the other combine.
    records.append(replace(RECORD, entry="combine_deferred", algorithm="push"))
    assert resources.table(records, "registers").splitlines() == [
        "| R = | 8 | 16 | 72, 288 experts |",
        "| --- | --- | --- | --- |",
        "| slab: dispatch | 9 / 40 | 17 / 48 | 100 (24 bytes spilled) |",
        "| rank_major: dispatch | 9 / 40 | 17 / 48 |  |",
        "| slab: combine (push) | 7 |  |  |",
    ]
    # Rows that are alike are one.
    assert resources.table(records, "shared").splitlines()[3:] == [
        "| rank_major: dispatch | 1,234 / 1,234 | 1,234 / 1,234 |  |",
        "| slab: combine (push) | 1,234 |  |  |",
    ]
    assert resources.table(records[:8], "symmetric").splitlines()[2:] == [
        "| slab, rank_major: dispatch | 14.8 MB / 14.8 MB | 14.8 MB / 14.8 MB |",
    ]


def test_memory():
    assert [resources.memory(size) for size in (8, 999, 4672, 98_760, 529_000_000, 16_900_000_000)] == [
        "8 B", "999 B", "4.67 kB", "98.8 kB", "529 MB", "16.9 GB"]


def test_without_ptxas(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kernel_resources.py", "check", "--ptxas", str(tmp_path / "none")])
    assert resources.main() == 0
    assert capsys.readouterr().out == f"kernel_resources.py: skipped: no ptxas at {tmp_path / 'none'}\n"
