# ===- test_groups.py - groups of threads -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Groups whose ranks are threads, and what they load."""

import contextlib
import dataclasses
import os
import signal
import threading
import time
import types

import numpy as np
import pytest
from exchanges import rotated

from moe_mlir.runtime import Code, Group, MoEError, run_local

F32 = np.float32


def test_results_in_rank_order(by_hand):
    assert run_local(4, rotated, by_hand) == [[(r - 1) % 4] * 4 for r in range(4)]
    assert run_local(1, lambda group, a, b: (group.size, a, b), 2, 3) == [(1, 2, 3)]


def test_groups_of_threads_by_hand(by_hand):
    groups = Group.local(2)
    assert [(g.rank, g.size, g.device, g.target) for g in groups] == [
        (0, 2, "cpu", "host"),
        (1, 2, "cpu", "host"),
    ]
    results = [None, None]

    def run(rank):
        results[rank] = rotated(groups[rank], by_hand)

    threads = [threading.Thread(target=run, args=(r,)) for r in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[1.0] * 4, [0.0] * 4]
    for group in groups:
        group.close()


def test_error_of_one_rank_ends_the_others(by_hand):
    begun = time.monotonic()

    def main(group):
        entry = group.load(by_hand / "exchange3.so")["rotate"]
        entry(np.zeros((1, 4), F32))
        if group.rank == 1:
            raise ValueError("no such expert")
        for _ in range(1000):
            entry(np.zeros((1, 4), F32))

    with pytest.raises(ValueError, match="no such expert") as error:
        run_local(3, main, timeout=30)
    assert time.monotonic() - begun < 20
    first, *others = error.value.__notes__
    assert first == "raised by rank 1 in run_local"
    for rank, note in zip((0, 2), others, strict=True):
        assert note.startswith(f"rank {rank} then raised MoEError: rank {rank}: ")
        assert "rank 1: ValueError: no such expert" in note


class NoText(Exception):
    def __str__(self):
        return self.args[1]


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """Takes no notes."""

    number: int


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (ValueError("shard-\udcff.npy"), "rank 1: ValueError: shard-\\udcff.npy"),
        (NoText("x"), "rank 1: NoText, whose text cannot be had: its __str__ raised IndexError"),
        (Frozen(3), "rank 1: Frozen: 3"),
    ],
)
def test_error_whose_text_cannot_be_told(by_hand, raised, told):
    """The others end with it, and it is what run_local raises."""
    heard = []

    def main(group):
        entry = group.load(by_hand / "exchange2.so")["rotate"]
        if group.rank == 1:
            raise raised
        with pytest.raises(MoEError) as error:
            entry(np.zeros((1, 4), F32))
        heard.append(error.value)

    with pytest.raises(type(raised)) as error:
        run_local(2, main, timeout=30)
    assert error.value is raised
    assert heard[0].code == Code.PEER_FAILED
    assert told in heard[0].message


def test_errors_whose_text_cannot_be_noted():
    def main(group):
        raise NoText(group.rank)

    with pytest.raises(NoText) as error:
        run_local(2, main)
    assert error.value.__notes__ == [
        "raised by rank 0 in run_local",
        "rank 1 then raised NoText, whose text cannot be had: its __str__ raised IndexError",
    ]


def test_a_group_that_cannot_be_told_keeps_the_error(monkeypatch):
    (group,) = Group.local(1)

    def fail(self, message):
        raise RuntimeError("not told")

    monkeypatch.setattr(Group, "fail", fail)
    with pytest.raises(KeyError, match="7"), group:
        raise KeyError(7)
    assert group.is_closed


def test_fail_with_any_text(by_hand):
    def main(group):
        if group.rank == 1:
            group.fail("file \udcff")
            return ""
        with pytest.raises(MoEError) as error:
            rotated(group, by_hand)
        return error.value.message

    assert "rank 1: file \\udcff" in run_local(2, main, timeout=30)[0]


def test_several_errors_of_their_own():
    def main(group):
        raise KeyError(group.rank)

    with pytest.raises(KeyError) as error:
        run_local(3, main)
    assert error.value.args == (0,)
    assert error.value.__notes__ == [
        "raised by rank 0 in run_local",
        "rank 1 then raised KeyError: 1",
        "rank 2 then raised KeyError: 2",
    ]


def test_interruption_ends_the_ranks(by_hand):
    """A signal's exception in the main thread does not wait for their time-out."""
    begun = time.monotonic()

    def main(group):
        if group.rank == 0:
            os.kill(os.getpid(), signal.SIGINT)
            # Until the main thread has told the group.
            deadline = time.monotonic() + 30
            while group.failed_rank is None and time.monotonic() < deadline:
                time.sleep(0.01)
        rotated(group, by_hand)

    # A test that runs in the background may have inherited that it is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_local(2, main, timeout=60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - begun < 25
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rank ")]


def test_a_rank_that_leaves_early(by_hand):
    def main(group):
        if group.rank == 1:
            return None
        with pytest.raises(MoEError) as error:
            rotated(group, by_hand)
        return error.value

    error = run_local(2, main, timeout=10)[0]
    assert error.code == Code.PEER_FAILED
    assert "rank 1 has left the group" in error.message
    assert error.peer == 1


def test_an_exception_in_a_group_tells_the_others(by_hand):
    groups = Group.local(2, timeout=20)

    def other():
        with pytest.raises(MoEError) as error:
            rotated(groups[1], by_hand)
        errors.append(error.value)

    errors: list[MoEError] = []
    thread = threading.Thread(target=other)
    thread.start()
    with contextlib.suppress(ZeroDivisionError), groups[0]:
        _ = 1 / 0
    thread.join()
    groups[1].close()
    assert errors[0].code == Code.PEER_FAILED
    assert "rank 0: ZeroDivisionError: division by zero" in errors[0].message
    assert errors[0].origin == 0


def test_time_outs_and_check(by_hand):
    def main(group):
        rotated(group, by_hand)
        group.check()
        group.synchronize()
        phases = {(t.op, t.phase): t for t in group.timings()}
        timing = phases["test.rotate", "rotate"]
        assert timing.calls == 1
        assert 0 <= timing.seconds < 60
        assert timing.location == "exchange.c:3:3"
        group.clear_timings()
        return sum(t.calls for t in group.timings())

    assert run_local(2, main) == [0, 0]


# Artifacts from objects


class Plan:
    """As Exchange: built for a number of ranks."""

    def __init__(self, folder):
        self.folder = folder
        self.built = []

    def build(self, ranks, target, *, variant=""):
        self.built.append((ranks, target, variant))
        data = (self.folder / f"exchange{ranks}{variant}.so").read_bytes()
        return types.SimpleNamespace(data=data)


class BoundPlan(Plan):
    def bind(self, loaded):
        return ("bound", sorted(loaded))


def test_what_can_be_loaded(by_hand):
    path = by_hand / "exchange2.so"
    names = ["gather", "rotate", "rotate_times", "twice"]
    plan, bound = Plan(by_hand), BoundPlan(by_hand)

    def main(group):
        data = path.read_bytes()
        for source in (path, str(path), data, bytearray(data), memoryview(data)):
            assert sorted(group.load(source)) == names
        assert sorted(group.load(types.SimpleNamespace(data=data), name="mine.so")) == names
        loaded = group.load(plan)
        assert len(loaded) == 4
        assert loaded.manifest["ranks"] == 2
        group.load(plan)
        return group.load(bound)

    assert run_local(2, main) == [("bound", names)] * 2
    # Once for all ranks of the process.
    assert plan.built == [(2, "host", "")]


def test_options_of_what_is_built(by_hand):
    plan = Plan(by_hand)
    run_local(4, lambda group: group.load(plan, variant="-other") and None)
    assert plan.built == [(4, "host", "-other")]
