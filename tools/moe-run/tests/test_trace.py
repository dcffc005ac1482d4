# ===- test_trace.py - the file of --trace --------------------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The trace of a run: bars of all ranks on one time line, and the file's own
faults.
"""

import json
import subprocess

import pytest

from support import FAIL, MOE_RUN, SANITIZE, mpirun

RANKS = 4
BENCH = 3


def bars(events, category, rank):
    """Bars of one kind of one rank, in the order in which they began."""
    found = [e for e in events if e.get("cat") == category and e["pid"] == rank]
    return sorted(found, key=lambda e: e["ts"])


def check(document, calls):
    """What holds for every trace of the entry `gather` on the host."""
    assert document["displayTimeUnit"] == "ns"
    assert document["otherData"] == {"entry": "gather", "dropped": 0}
    events = document["traceEvents"]
    assert {e["ph"] for e in events} == {"X", "M"}
    names = {e["pid"]: e["args"]["name"] for e in events if e["ph"] == "M"}
    assert names == {rank: f"rank {rank}" for rank in range(RANKS)}
    assert min(e["ts"] for e in events if e["ph"] == "X") == 0
    for rank in range(RANKS):
        whole = bars(events, "call", rank)
        assert [e["name"] for e in whole] == ["gather"] * calls
        assert [e["args"]["call"] for e in whole] == list(range(calls))
        ops = bars(events, "op", rank)
        assert [e["name"] for e in ops] == ["test.gather"] * calls
        phases = bars(events, "phase", rank)
        # Bars of one kind do not overlap, and lie within one of the kind above.
        for inner, outer in ((ops, whole), (phases, whole)):
            last = 0.0
            for bar in inner:
                assert bar["ts"] >= last - 1e-3
                last = bar["ts"] + bar["dur"]
                assert any(o["ts"] - 1e-3 <= bar["ts"] and
                           last <= o["ts"] + o["dur"] + 1e-3 for o in outer)
        inside = [e for e in phases if "args" in e]
        assert {e["args"]["op"] for e in inside} == {"test.gather"}
        assert {e["name"] for e in phases} - {e["name"] for e in inside} == {"compute"}
        # The bar of an op is as long as its phases.
        spent = sum(e["dur"] for e in inside)
        assert spent == pytest.approx(sum(e["dur"] for e in ops), rel=1e-6, abs=0.01)


def test_all_ranks_are_on_one_time_line(runner):
    args = runner.exchange()
    runner.run(*args, "--bench", BENCH, "--trace", "trace.json")
    document = json.loads((runner.folder / "trace.json").read_text())
    check(document, BENCH)
    # All ranks wait for the last to come, so no call ends before all began.
    events = document["traceEvents"]
    for call in range(BENCH):
        whole = [bars(events, "call", rank)[call] for rank in range(RANKS)]
        assert max(e["ts"] for e in whole) <= min(e["ts"] + e["dur"] for e in whole)


def test_a_job_of_mpirun_has_one_file(runner):
    if SANITIZE:
        pytest.skip("Open MPI is not sanitized")
    command = [*mpirun(RANKS), MOE_RUN, *runner.exchange(), "--trace", "trace.json",
               "--out", "y{rank}.npy"]
    done = subprocess.run(command, cwd=runner.folder, env=runner.env, text=True,
                          timeout=60, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    check(json.loads((runner.folder / "trace.json").read_text()), 1)
    assert runner.outputs() == [f"y{rank}.npy" for rank in range(RANKS)]


def test_results_are_what_they_are_without(runner):
    args = runner.exchange()
    runner.run(*args, "--out", "y{rank}.npy")
    before = [(runner.folder / name).read_bytes() for name in runner.outputs()]
    runner.run(*args, "--out", "y{rank}.npy", "--trace", "trace.json")
    after = [(runner.folder / name).read_bytes() for name in runner.outputs()]
    assert before == after and len(after) == RANKS


def test_a_run_that_fails_leaves_the_older_file(runner):
    (runner.folder / "trace.json").write_text("older")
    runner.fail(*runner.exchange(FAIL), "--trace", "trace.json")
    assert (runner.folder / "trace.json").read_text() == "older"


def test_a_full_disk_is_an_error(runner):
    # The other ranks wait while rank 0 makes a text of millions of characters, which
    # takes long under a sanitizer.
    error = runner.fail(*runner.exchange(), "--bench", 2500, "--trace", "trace.json",
                        "--timeout", 120, prefix=("prlimit", "--fsize=4194304"))
    assert error == ("cannot write trace.json: files of this process may have 4194304 "
                     "bytes at most; raise that limit (ulimit -f)")
    assert not (runner.folder / "trace.json").exists()


def test_more_events_than_there_is_room_for_are_counted(runner):
    if SANITIZE:
        pytest.skip("as many calls take minutes under a sanitizer")
    # There is room for 65536 on each rank.
    runner.run(*runner.exchange(), "--bench", 13500, "--trace", "trace.json")
    document = json.loads((runner.folder / "trace.json").read_text())
    assert document["otherData"]["dropped"] > 0
    for rank in range(RANKS):
        assert len(bars(document["traceEvents"], "phase", rank)) == 65536


@pytest.mark.parametrize("options, message", [
    (("--trace=",), "invalid value '' for --trace"),
    (("--trace", "no/such/trace.json"), "no/such/: No such file or directory"),
    (("--trace", "."), ".: exists and is not a regular file"),
    (("--trace", "y{rank}.npy", "--out", "y{rank}.npy"),
     "--trace y{rank}.npy is the file of an --out"),
])
def test_usage(runner, options, message):
    assert runner.usage(*runner.exchange(), *options) == message
