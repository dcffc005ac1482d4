# ===- test_group.py - ranks that fail, die and hang -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#

import multiprocessing

import pytest

import fake_ranks
from gpu import group


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(group, "UNIT_SECONDS", 10)
    monkeypatch.setattr(group, "GRACE_SECONDS", 10)


def measure(*kinds, seconds=60):
    lines = []
    records, machine = group.measure([{"kind": k} for k in kinds], 2, {}, fake_ranks.serve, seconds, lines.append)
    assert not multiprocessing.active_children()
    return records, machine, lines


def test_all_well():
    records, machine, _ = measure("a", "b")
    assert [r["name"] for r in records] == ["a", "b"]
    assert machine["ranks"] == 2
    # Rank 1 is the slowest.
    assert records[0]["median_us"] == 3.0
    assert records[0]["gb_per_s"] == 1.0
    assert records[0]["correct"] is True


@pytest.mark.parametrize("kind, why", [("raise", "it went wrong"), ("die", "rank 1: ended"),
                                       ("hang", "no answer from ranks [0, 1]")])
def test_a_failure_costs_only_its_unit(kind, why):
    records, _, _ = measure("a", kind, "b")
    assert [r.get("name") for r in records if "failed" not in r] == ["a", kind, "b"]
    failed, = (r for r in records if "failed" in r)
    assert failed["kind"] == kind
    assert why in failed["failed"]


def test_gives_up_after_some_starts(monkeypatch):
    monkeypatch.setattr(group, "MAX_STARTS", 2)
    records, _, _ = measure("raise", "raise", "a")
    assert "ranks failed 2 times" in records[-1]["failed"]


def test_time_is_over():
    records, _, _ = measure("a", seconds=1)
    assert records == [{"kind": "a", "failed": "not run: 1 s are over"}]


def test_a_record_of_one_rank_is_none():
    collector = group.Collector(2)
    collector.add(0, {"name": "a"}, {"times": [1.0], "enqueue": [1.0], "late": 0, "bytes": 1, "ok": True, "note": None})
    assert collector.records() == []


def test_what_is_measured_is_kept_after_each_unit():
    kept = []
    group.measure([{"kind": k} for k in ("a", "raise", "b")], 2, {}, fake_ranks.serve, 60, lambda line: None,
                  lambda records, machine: kept.append(([r.get("name") for r in records], machine["ranks"])))
    assert kept == [(["a"], 2), (["a", "raise", None], 2), (["a", "raise", None, "b"], 2)]
