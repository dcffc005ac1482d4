# ===- test_results.py - what works ----------------------------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Right input: results, files, tables."""

import json
import os
import resource
import subprocess

import ml_dtypes
import numpy as np
import pytest

from support import SANITIZE, artifact


def test_gather_on_four_ranks(runner):
    result = runner.run(*runner.exchange(), "--out", "y{rank}.npy")
    assert result.stdout == "" and result.stderr == ""
    for rank in range(4):
        np.testing.assert_array_equal(runner.load(f"y{rank}.npy"),
                                      np.concatenate(runner.rows))
    assert runner.outputs() == [f"y{r}.npy" for r in range(4)]


@pytest.mark.parametrize("entry", ["gather", "twice", "rotate"])
def test_results_in_memory_that_is_given(runner, entry):
    """The artifact says the shape of one of them before the call, and asks for
    the memory of two."""
    args = runner.exchange()
    expected = [np.concatenate(runner.rows)] * 4
    if entry == "rotate":
        # As many rows as a rank sends, of the rank before it.
        for rank in range(4):
            runner.rows[rank] = np.full((3, 4), rank, np.float32)
            runner.save(f"x{rank}.npy", runner.rows[rank])
        args = [args[0], "--in", "x{rank}.npy"]
        expected = [runner.rows[(rank + 3) % 4] for rank in range(4)]
    else:
        args = args[:-2]
    runner.run(*args, "--entry", entry, "--into", "--bench", "3", "--out",
               "y{rank}.npy")
    for rank in range(4):
        np.testing.assert_array_equal(runner.load(f"y{rank}.npy"),
                                      expected[rank])


@pytest.mark.parametrize("ranks", [1, 2, 3, 8, 64])
def test_number_of_ranks_comes_from_the_artifact(runner, ranks):
    args = runner.exchange(ranks=ranks)
    for rank in range(ranks):
        rows = np.full((2, 4), rank, np.float32)
        runner.save(f"x{rank}.npy", rows)
    runner.run(*args, "--out", "y{rank}.npy", "--timeout", "60")
    expected = np.repeat(np.arange(ranks, dtype=np.float32), 2)
    for rank in range(ranks):
        np.testing.assert_array_equal(
            runner.load(f"y{rank}.npy"), np.tile(expected[:, None], (1, 4)))


DTYPES = {
    "f64": np.float64, "f32": np.float32, "f16": np.float16,
    "bf16": ml_dtypes.bfloat16, "f8E4M3FN": ml_dtypes.float8_e4m3fn,
    "f8E5M2": ml_dtypes.float8_e5m2, "i64": np.int64, "i32": np.int32,
    "i16": np.int16, "i8": np.int8, "i1": np.bool_,
}


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(3, 5), (0, 4), (1000, 1), (1, 123456)])
def test_files_are_those_of_numpy_to_the_byte(runner, name, shape):
    seed = int.from_bytes(os.urandom(4), "little")
    print("seed", seed)
    bits = np.random.default_rng(seed).integers(
        0, 256, (*shape, np.dtype(DTYPES[name]).itemsize), np.uint8)
    if name == "i1":
        bits %= 2
    # NaN payloads included.
    array = bits.view(DTYPES[name]).reshape(shape)
    runner.save("x.npy", array)
    runner.run(artifact("local"), "--entry", "copy_" + name, "--in", "x.npy",
               "--out", "y.npy")
    assert ((runner.folder / "y.npy").read_bytes() ==
            (runner.folder / "x.npy").read_bytes())


def test_scalar_and_strided_results(runner):
    runner.save("x.npy", np.float64(4.5))
    runner.run(artifact("local"), "--entry", "scalar", "--in", "x.npy",
               "--out", "y.npy")
    assert runner.load("y.npy") == 9.0 and runner.load("y.npy").shape == ()
    matrix = np.arange(12, dtype=np.float32).reshape(4, 3)
    runner.save("x.npy", matrix)
    runner.run(artifact("local"), "--entry", "column", "--in", "x.npy",
               "--out", "y.npy")
    np.testing.assert_array_equal(runner.load("y.npy"), matrix[:, 2:])


def test_entry_that_does_not_communicate_on_three_ranks(runner):
    for rank in range(3):
        runner.save(f"x{rank}.npy", np.full((2, 2), rank, np.float32))
    runner.run("-n", 3, artifact("local"), "--entry", "copy_f32", "--in",
               "x{rank}.npy", "--out", "y{rank}.npy")
    assert runner.load("y2.npy")[0, 0] == 2


def test_fewer_outputs_than_results(runner):
    runner.save("x.npy", np.ones((1, 1), np.float32))
    runner.run(artifact("local"), "--entry", "many", "--in", "x.npy")
    runner.run(artifact("local"), "--entry", "many", "--in", "x.npy",
               "--out", "y.npy")
    assert runner.outputs() == ["y.npy"]


def test_outputs_replace_older_files(runner):
    runner.save("x.npy", np.ones((1, 1), np.float32))
    (runner.folder / "y.npy").write_text("old")
    runner.run(artifact("local"), "--entry", "copy_f32", "--in", "x.npy",
               "--out", "y.npy")
    assert runner.load("y.npy") == 1


def test_json_document(runner):
    args = runner.exchange()
    result = runner.run(*args, "--out", "y{rank}.npy", "--json", "--bench", 5,
                        "--warmup", 1)
    document = json.loads(result.stdout)
    assert document["artifact"]["hash"] == "exchange"
    assert document["artifact"]["symm_bytes"] == 300000
    assert document["entry"] == "gather"
    assert document["ranks"] == 4 and document["backend"] == "host"
    assert document["warmup"] == 1 and document["bench"] == 5
    assert [r["rank"] for r in document["per_rank"]] == [0, 1, 2, 3]
    for report in document["per_rank"]:
        calls = report["calls"]
        assert calls["count"] == 5 == len(calls["all_ns"])
        assert 0 < calls["min_ns"] <= calls["median_ns"] <= calls["max_ns"]
        assert calls["median_ns"] <= document["slowest_median_ns"]
        phases = {(t["op"], t["location"], t["phase"]): t
                  for t in report["timings"]}
        assert set(phases) == {("test.gather", "exchange.c:1:1", phase)
                               for phase in ("begin", "put", "complete")}
        assert all(t["calls"] == 5 and t["ns"] > 0 for t in phases.values())
        total = sum(t["ns"] for t in phases.values()) + report["compute_ns"]
        assert total <= sum(calls["all_ns"])
        rank = report["rank"]
        assert report["outputs"] == [{"dtype": "f32", "shape": [10, 4],
                                      "path": f"y{rank}.npy"}]


@pytest.mark.parametrize("option", [("--json",), ("--bench", 3), ("--help",)])
def test_a_report_that_cannot_be_written_is_an_error(runner, option):
    (runner.folder / "y0.npy").write_text("older")
    command = runner.command(*runner.exchange(), "--out", "y{rank}.npy", *option)
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=runner.folder, env=runner.env,
                              stdout=full, stderr=subprocess.PIPE, text=True,
                              timeout=60)
    assert done.stderr == ("moe-run: error: cannot write to standard output: "
                           "No space left on device\n")
    assert done.returncode == 1
    # No outputs either, and those of before are there again.
    assert runner.outputs() == ["y0.npy"]
    assert (runner.folder / "y0.npy").read_text() == "older"


def test_bench_table(runner):
    result = runner.run(*runner.exchange(), "--bench", 3)
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["rank", "min", "median", "max"]
    assert [line.split()[0] for line in lines[1:5]] == list("0123")
    assert lines[5].startswith("slowest rank's median: ")


def test_probe(runner):
    document = json.loads(runner.run("--probe=json").stdout)
    assert document["cpus"] >= 1
    if "no_gpus_because" in document:
        assert document["gpus"] == 0
    else:
        assert document["gpus"] == len(document["gpu_names"]) >= 1


def test_help(runner):
    assert runner.run("--help").stdout.startswith("usage: moe-run ")


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_descriptors_are_not_taken_for_streams(runner, closed):
    """No file or socket of the run becomes descriptor 0, 1 or 2."""
    command = runner.command(*runner.exchange(), "--out", "y{rank}.npy")
    streams = {0: "stdin", 1: "stdout", 2: "stderr"}
    kwargs = {streams[fd]: subprocess.PIPE for fd in (1, 2) if fd not in closed}

    def close():
        for fd in closed:
            os.close(fd)

    done = subprocess.run(command, cwd=runner.folder, env=runner.env, text=True,
                          timeout=60, preexec_fn=close, **kwargs)
    assert done.returncode == 0
    assert len(runner.outputs()) == 4
    done = subprocess.run([*command, "--json"], cwd=runner.folder,
                          env=runner.env, text=True, timeout=60,
                          preexec_fn=close, **kwargs)
    assert done.returncode == (1 if 1 in closed else 0)
    if closed == (1,):
        assert done.stderr == ("moe-run: error: cannot write to standard "
                               "output: Bad file descriptor\n")


def test_a_reader_that_goes_is_an_error(runner):
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        runner.command(*runner.exchange(), "--json"), cwd=runner.folder,
        env=runner.env, text=True, timeout=60, stdout=write_end,
        stderr=subprocess.PIPE)
    os.close(write_end)
    assert done.stderr == ("moe-run: error: cannot write to standard output: "
                           "Broken pipe\n")
    assert done.returncode == 1


@pytest.mark.skipif(bool(SANITIZE), reason="sanitizers reserve addresses")
def test_a_rank_without_memory_is_an_error(runner):
    """Nothing of moe-run's own process ends with the rank."""
    path = runner.folder / "x0.npy"
    args = runner.exchange(ranks=1)
    np.lib.format.open_memmap(path, "w+", np.float32, (1 << 26, 4)).flush()

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))

    done = subprocess.run(
        runner.command(*args, "--symm-reserve", "2M"), cwd=runner.folder,
        env=runner.env, text=True, timeout=60, preexec_fn=limit,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    path.unlink()
    assert done.returncode == 1
    assert done.stderr.startswith("moe-run: error: rank 0: ")
    assert "memory" in done.stderr and done.stderr.count("\n") == 1
