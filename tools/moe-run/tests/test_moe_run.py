# ===- test_moe_run.py - moe-run from outside -----------------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Runs moe-run on artifacts written by hand in C (runtime/tests/artifacts).

MOE_RUN is the program, MOE_TEST_ARTIFACT_DIR the folder of the artifacts.
Every test also checks that nothing is left behind: no process, no temporary
file, no shared memory.
"""

import json
import os
import shutil
import signal
import stat
import subprocess
import time

import ml_dtypes
import numpy as np
import pytest

MOE_RUN = os.environ["MOE_RUN"]
ARTIFACTS = os.environ["MOE_TEST_ARTIFACT_DIR"]
SANITIZE = os.environ.get("MOE_SANITIZE", "")

# The modes of exchange.c.
BEHAVE, FAIL, KILL, LOOP, ORDER, LEAVE, EXIT, SLOW, SEGV = 0, 1, 2, 3, 4, 5, 8, 9, 14


def artifact(name):
    return os.path.join(ARTIFACTS, name + ".so")


def listing(folder):
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()


def processes(marker):
    """Processes whose environment holds the marker."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if marker.encode() in file.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


class Runner:
    """Runs moe-run in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.tmp = folder / "tmp"
        self.tmp.mkdir()
        self.marker = f"MOE_TEST_MARKER={os.getpid()}-{folder.name}"
        self.env = dict(os.environ, TMPDIR=str(self.tmp))
        key, value = self.marker.split("=")
        self.env[key] = value

    def command(self, *args):
        return [MOE_RUN, *map(str, args)]

    def run(self, *args, code=0, prefix=(), program=None):
        command = [*prefix, program or MOE_RUN, *map(str, args)]
        result = subprocess.run(
            command, cwd=self.folder, env=self.env, text=True, timeout=120,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert result.returncode == code, (result.returncode, result.stdout,
                                           result.stderr)
        return result

    def fail(self, *args, code=1, **kwargs):
        """The one line of an error."""
        result = self.run(*args, code=code, **kwargs)
        lines = result.stderr.splitlines()
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("moe-run: error: ")
        return lines[0][len("moe-run: error: "):]

    def usage(self, *args):
        """The first line of a usage error."""
        result = self.run(*args, code=2)
        line = result.stderr.splitlines()[0]
        assert line.startswith("moe-run: error: "), result.stderr
        return line[len("moe-run: error: "):]

    def save(self, name, array):
        np.save(self.folder / name, array)

    def load(self, name):
        return np.load(self.folder / name)

    def exchange(self, mode=BEHAVE, who=1, ranks=4):
        """Inputs of exchange.c, and its arguments."""
        self.save("mode.npy", np.array(mode, np.int64))
        self.save("who.npy", np.array(who, np.int64))
        self.rows = []
        for rank in range(ranks):
            rows = (np.arange(4 * (rank + 1)) + 100 * rank).reshape(-1, 4)
            self.rows.append(rows.astype(np.float32))
            self.save(f"x{rank}.npy", self.rows[-1])
        return [artifact(f"exchange{ranks}"), "--in", "mode.npy", "--in",
                "who.npy", "--in", "x{rank}.npy", "--entry", "gather"]

    def outputs(self):
        return sorted(p.name for p in self.folder.iterdir()
                      if p.name.startswith("y"))


@pytest.fixture
def runner(tmp_path):
    shared_memory = listing("/dev/shm")
    runner = Runner(tmp_path)
    yield runner
    deadline = time.time() + 5
    while processes(runner.marker) and time.time() < deadline:
        time.sleep(0.05)
    assert processes(runner.marker) == []
    assert listing(runner.tmp) == set()
    # vader is Open MPI's own.
    left = {n for n in listing("/dev/shm") - shared_memory
            if not n.startswith("vader_segment")}
    assert left == set()


# ===----------------------------------------------------------------------===#
# What works
# ===----------------------------------------------------------------------===#


def test_gather_on_four_ranks(runner):
    result = runner.run(*runner.exchange(), "--out", "y{rank}.npy")
    assert result.stdout == "" and result.stderr == ""
    for rank in range(4):
        np.testing.assert_array_equal(runner.load(f"y{rank}.npy"),
                                      np.concatenate(runner.rows))
    assert runner.outputs() == [f"y{r}.npy" for r in range(4)]


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


def test_bench_table(runner):
    result = runner.run(*runner.exchange(), "--bench", 3)
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["rank", "min", "median", "max"]
    assert [line.split()[0] for line in lines[1:5]] == list("0123")
    assert lines[5].startswith("slowest rank's median: ")


def test_probe(runner):
    document = json.loads(runner.run("--probe=json").stdout)
    assert document["cpus"] >= 1 and document["gpus"] == 0


def test_help(runner):
    assert runner.run("--help").stdout.startswith("usage: moe-run ")


# ===----------------------------------------------------------------------===#
# Command line
# ===----------------------------------------------------------------------===#


@pytest.mark.parametrize("args, message", [
    ([], "no file given"),
    (["--frobnicate", "a.so"], "unknown option '--frobnicate'"),
    (["-x", "a.so"], "unknown option '-x'"),
    (["a.so", "b.so"], "more than one file: 'a.so' and 'b.so'"),
    (["a.so", "-n"], "-n needs a value"),
    (["a.so", "-n", "0"], "invalid value '0' for -n"),
    (["a.so", "-n", "251"], "invalid value '251' for -n"),
    (["a.so", "-n", "2x"], "invalid value '2x' for -n"),
    (["a.so", "--timeout", "-1"], "invalid value '-1' for --timeout"),
    (["a.so", "--timeout", "nan"], "invalid value 'nan' for --timeout"),
    (["a.so", "--bench=0"], "invalid value '0' for --bench"),
    (["a.so", "--target", "tpu"], "invalid value 'tpu' for --target"),
    (["--probe=xml"], "invalid value 'xml' for --probe"),
])
def test_usage_errors(runner, args, message):
    assert runner.usage(*args) == message


def test_missing_files(runner):
    args = runner.exchange()
    (runner.folder / "x2.npy").unlink()
    assert runner.usage(*args) == "x2.npy: No such file or directory"
    args[0] = "missing.so"
    assert runner.usage(*args) == "missing.so: No such file or directory"


def test_outputs_of_several_ranks_need_several_files(runner):
    args = runner.exchange()
    assert runner.usage(*args, "--out", "y.npy") == (
        "--out y.npy needs {rank}: 4 ranks cannot write to one file")
    assert runner.usage(*args, "--out", "/dev/null{rank}/y") .endswith(
        "No such file or directory")
    args = runner.exchange(ranks=1)
    assert runner.usage(*args, "--out", "/dev/null") == (
        "/dev/null: exists and is not a regular file")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_cuda_is_unavailable(runner):
    assert "unavailable" in runner.fail("--target", "cuda", artifact("local"))


# ===----------------------------------------------------------------------===#
# Bad input
# ===----------------------------------------------------------------------===#


@pytest.mark.parametrize("content, message", [
    (b"", "not a .npy file"),
    (b"this is no array", "not a .npy file"),
    (b"\x93NUMPY\x01\x00\x02\x00{}", "malformed .npy header"),
])
def test_not_npy(runner, content, message):
    args = runner.exchange()
    (runner.folder / "x3.npy").write_bytes(content)
    error = runner.fail(*args, "--out", "y{rank}.npy")
    assert error == f"rank 3: argument 2: x3.npy: {message}"
    assert runner.outputs() == []


def test_truncated_and_oversized(runner):
    args = runner.exchange()
    data = (runner.folder / "x1.npy").read_bytes()
    (runner.folder / "x1.npy").write_bytes(data[:-1])
    error = runner.fail(*args, "--out", "y{rank}.npy")
    assert error == ("rank 1: argument 2: x1.npy: the file is truncated: shape "
                     "[2, 4] of f32 needs 32 bytes of data, the file has 31")
    (runner.folder / "x1.npy").write_bytes(data + b"?")
    assert "x1.npy: the file is too long" in runner.fail(*args)
    assert runner.outputs() == []


@pytest.mark.parametrize("array, message", [
    (np.ones((2, 5), np.float32),
     "expected extent 4 in dimension 1 of f32[?, 4], got [2, 5]"),
    (np.ones(4, np.float32), "expected rank 2 f32[?, 4], got rank 1 [4]"),
    (np.ones((2, 4)), "expected element type f32 ('<f4'), but the file holds "
                      "'<f8'"),
    (np.ones((2, 4), ">f4"), "holds big-endian data ('>f4'); only "
                             "little-endian is read"),
    (np.asfortranarray(np.ones((2, 4), np.float32)),
     "holds a Fortran-order array; save it in C order "
     "(numpy.ascontiguousarray)"),
    (np.ones((2, 4), ml_dtypes.bfloat16),
     "expected element type f32 ('<f4'), but the file holds '<V2'"),
])
def test_wrong_arrays(runner, array, message):
    args = runner.exchange()
    runner.save("x2.npy", array)
    error = runner.fail(*args, "--out", "y{rank}.npy")
    assert error == "rank 2: argument 2: x2.npy: " + message
    assert runner.outputs() == []


def test_wrong_number_of_files(runner):
    args = runner.exchange()
    assert runner.fail(*args[:-4], "--entry", "gather") == (
        "rank 0: entry 'gather' has 3 arguments, but --in is given 2 times")
    assert runner.fail(*args, "--out", "y{rank}.npy", "--out",
                       "z{rank}.npy") == (
        "rank 0: entry 'gather' has 1 results, but --out is given 2 times")


def test_entries_by_name(runner):
    args = runner.exchange()[:-2]
    assert runner.fail(*args) == (
        f"rank 0: {args[0]}: which entry to run has to be named; there are "
        "'gather' and 'twice'")
    assert "no entry is named 'layer'" in runner.fail(*args, "--entry", "layer")


@pytest.mark.parametrize("name, message", [
    ("bad-abi", "the artifact has ABI version 2, this runtime understands "
                "version 1"),
    ("bad-target", "the artifact is for target 'cuda:sm_90', which the host "
                   "backend cannot run"),
    ("bad-cpu", "unknown CPU level 'x86-64-v9'"),
    ("bad-symbol", "the manifest names entry 'f', but the symbol moe_entry_g "
                   "is missing"),
    ("bad-manifest", "malformed manifest: not a JSON text"),
    ("no-manifest", "not an artifact: it has no symbol moe_artifact_manifest"),
    ("bad-import", "undefined symbol: moert_function_of_the_future"),
])
@pytest.mark.parametrize("ranks", [(), ("-n", 2)])
def test_broken_artifacts(runner, name, message, ranks):
    error = runner.fail(*ranks, artifact(name))
    assert name + ".so" in error and message in error


def test_not_a_shared_object(runner):
    (runner.folder / "a.so").write_text("text")
    assert "a.so: cannot load the artifact" in runner.fail("a.so")
    (runner.folder / "d.so").mkdir()
    assert runner.fail("d.so") == "d.so: not a regular file"


def test_wrong_number_of_ranks(runner):
    args = runner.exchange()
    assert runner.fail("-n", 3, *args) == (
        f"rank 0: {args[0]}: the artifact is for 4 ranks, but the group has 3")


# ===----------------------------------------------------------------------===#
# Ranks that misbehave
# ===----------------------------------------------------------------------===#


def test_failing_rank_is_reported_once(runner):
    error = runner.fail(*runner.exchange(FAIL, who=2), "--out", "y{rank}.npy")
    assert error == (
        "rank 2: test.gather at exchange.c:1:1, phase 'put': invalid expert: "
        "expert id: expected at most 7, seen 12")
    assert runner.outputs() == []


@pytest.mark.parametrize("mode, how", [
    (KILL, "killed by signal 9 (Killed)"),
    (SEGV, "killed by signal 11 (Segmentation fault)"),
    (EXIT, "ended early with exit code 0"),
])
def test_rank_that_dies(runner, mode, how):
    if mode == SEGV and SANITIZE:
        how = "ended early with exit code"
    begin = time.time()
    result = runner.run(*runner.exchange(mode, who=3), "--out", "y{rank}.npy",
                        code=1)
    lines = [line for line in result.stderr.splitlines()
             if line.startswith("moe-run: error: ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"moe-run: error: rank 3: {how}")
    # What another rank saw of it.
    assert "test.gather at exchange.c:1:1" in lines[0]
    # Long before the time-out of 20 s.
    assert time.time() - begin < 15
    assert runner.outputs() == []


def test_rank_that_never_arrives(runner):
    error = runner.fail(*runner.exchange(LOOP, who=0), "--out", "y{rank}.npy",
                        "--timeout", "3")
    assert ("test.gather at exchange.c:1:1, phase 'complete': timed out after "
            "3 s waiting for rank 0: expected signal 1, seen 0; rank 0 was "
            "last seen in test.gather at exchange.c:1:1, phase 'put'") in error
    assert runner.outputs() == []


def test_rank_that_is_late(runner):
    runner.run(*runner.exchange(SLOW), "--out", "y{rank}.npy")
    assert len(runner.outputs()) == 4


@pytest.mark.parametrize("mode, entry, parts", [
    (ORDER, "twice", ["exchange.c:1:1", "exchange.c:2:2"]),
    (LEAVE, "gather", ["rank 1 has ended the call of entry 'gather'"]),
])
def test_different_collectives(runner, mode, entry, parts):
    args = runner.exchange(mode)
    args[-1] = entry
    error = runner.fail(*args, "--out", "y{rank}.npy")
    assert "ranks call different collectives" in error
    for part in ["rank 1", "test.gather", *parts]:
        assert part in error
    assert runner.outputs() == []


def test_different_entries(runner):
    args = runner.exchange(ranks=2)
    shutil.copy(artifact("exchange2"), runner.folder / "entry.so")
    args[0] = "entry.so"
    # One rank's manifest has the names of the entries swapped.
    data = (runner.folder / "entry.so").read_bytes()
    swapped = (data.replace(b'"name": "gather"', b'"name": "TWICE_"')
               .replace(b'"name": "twice"', b'"name": "other"')
               .replace(b'"name": "TWICE_"', b'"name": "second"'))
    assert swapped != data
    (runner.folder / "a0.so").write_bytes(data)
    (runner.folder / "a1.so").write_bytes(swapped)
    (runner.folder / "names.txt").write_text("")
    args[0] = "a{rank}.so"
    assert "no entry is named 'gather'" in runner.fail(*args)


def test_different_artifacts(runner):
    args = runner.exchange()
    for rank in range(4):
        name = "exchange4-other" if rank == 2 else "exchange4"
        shutil.copy(artifact(name), runner.folder / f"a{rank}.so")
    args[0] = "a{rank}.so"
    error = runner.fail(*args, "--out", "y{rank}.npy")
    assert "ranks do different things" in error
    assert "hash other" in error and "hash exchange" in error
    assert runner.outputs() == []


def test_output_that_cannot_be_written(runner):
    args = runner.exchange()
    (runner.folder / "out2").mkdir()
    for rank in (0, 1, 3):
        (runner.folder / f"out{rank}").mkdir()
    # A name too long only for the temporary name.
    name = "y" * 250
    error = runner.fail(*args, "--out", "out{rank}/" + name)
    assert "cannot write out" in error and "File name too long" in error
    for rank in range(4):
        assert listing(runner.folder / f"out{rank}") == set()


# ===----------------------------------------------------------------------===#
# Being killed
# ===----------------------------------------------------------------------===#


def start_looping(runner):
    """A run that goes on until it is killed."""
    process = subprocess.Popen(
        runner.command(*runner.exchange(LOOP), "--timeout", "1000", "--out",
                       "y{rank}.npy"),
        cwd=runner.folder, env=runner.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.time() + 30
    while len(processes(runner.marker)) < 5 and time.time() < deadline:
        time.sleep(0.02)
    assert len(processes(runner.marker)) == 5
    time.sleep(0.2)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt(runner, number):
    process = start_looping(runner)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert stderr.startswith(
        f"moe-run: error: interrupted by signal {int(number)}")
    assert runner.outputs() == []


def test_ranks_die_with_moe_run(runner):
    process = start_looping(runner)
    process.kill()
    process.communicate(timeout=30)
    # The fixture checks that all ranks are gone.
    assert process.returncode == -signal.SIGKILL
    assert runner.outputs() == []


def test_rank_killed_from_outside(runner):
    process = start_looping(runner)
    victim = [pid for pid in processes(runner.marker) if pid != process.pid][0]
    os.kill(victim, signal.SIGKILL)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "killed by signal 9" in stderr


# ===----------------------------------------------------------------------===#
# Modules
# ===----------------------------------------------------------------------===#


def with_compiler(runner, script):
    """A copy of moe-run with a moe-compile beside it."""
    folder = runner.folder / "bin"
    folder.mkdir()
    shutil.copy(MOE_RUN, folder / "moe-run")
    if script is not None:
        (folder / "moe-compile").write_text("#!/bin/sh\n" + script)
        (folder / "moe-compile").chmod(0o755)
    return str(folder / "moe-run")


def test_mlir_file_is_compiled_first(runner):
    # Not the real compiler, but one with its command line.
    program = with_compiler(runner, f"""
[ "$#" = 5 ] && [ "$1" = m.mlir ] && [ "$2" = --target ] && [ "$3" = host ] \
  && [ "$4" = -o ] && echo "m.mlir:1:1: remark: hello" >&2 \
  && cp {artifact("exchange4")} "$5"
""")
    (runner.folder / "m.mlir").write_text("module {}")
    args = runner.exchange()
    args[0] = "m.mlir"
    result = runner.run(*args, "--out", "y{rank}.npy", program=program)
    assert result.stderr == "m.mlir:1:1: remark: hello\n"
    assert len(runner.outputs()) == 4
    # A run that fails leaves no temporary file either (see the fixture).
    args = runner.exchange(FAIL)
    args[0] = "m.mlir"
    assert "expert id" in runner.run(*args, program=program, code=1).stderr


def test_mlir_file_that_does_not_compile(runner):
    program = with_compiler(
        runner, 'echo "m.mlir:3:5: error: expected x" >&2; exit 1')
    (runner.folder / "m.mlir").write_text("module {}")
    result = runner.run("m.mlir", program=program, code=1)
    assert result.stderr.splitlines() == [
        "m.mlir:3:5: error: expected x",
        "moe-run: error: m.mlir: moe-compile failed (exit code 1)"]


def test_mlir_file_without_a_compiler(runner):
    program = with_compiler(runner, None)
    (runner.folder / "m.mlir").write_text("module {}")
    error = runner.fail("m.mlir", program=program)
    assert error.startswith("m.mlir: a .mlir file needs moe-compile beside "
                            "moe-run")


def test_interrupt_while_compiling(runner):
    program = with_compiler(runner, "sleep 100 & wait")
    (runner.folder / "m.mlir").write_text("module {}")
    process = subprocess.Popen(
        [program, "m.mlir"], cwd=runner.folder, env=runner.env, text=True,
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        start_new_session=True)
    deadline = time.time() + 10
    while listing(runner.tmp) == set() and time.time() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    process.terminate()
    process.wait(timeout=10)
    # The fake compiler's own child is not moe-run's to kill.
    os.killpg(process.pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "interrupted by signal 15" in stderr


def test_copy_runs_elsewhere(runner):
    """The program needs no library of the project, nor libstdc++."""
    if SANITIZE:
        pytest.skip("sanitized programs need the sanitizer's libraries")
    out = subprocess.run(["ldd", MOE_RUN], text=True, check=True,
                         stdout=subprocess.PIPE).stdout
    libraries = {line.split()[0].split("/")[-1] for line in out.splitlines()}
    assert libraries <= {"linux-vdso.so.1", "libm.so.6", "libc.so.6",
                         "ld-linux-x86-64.so.2"}, libraries
    assert "libm.so.6" in libraries


# ===----------------------------------------------------------------------===#
# MPI
# ===----------------------------------------------------------------------===#


def mpirun(runner, ranks):
    program = shutil.which("mpirun")
    if not program:
        pytest.skip("mpirun is not installed")
    plugin = os.path.join(os.path.dirname(MOE_RUN), "../lib",
                          "libmoe_bootstrap_mpi.so")
    if not os.path.exists(plugin):
        pytest.skip("the MPI plug-in was not built")
    if SANITIZE:
        pytest.skip("Open MPI is not sanitized")
    # Open MPI keeps its session folder in TMPDIR, and removes it at the end.
    return [program, "--allow-run-as-root", "--oversubscribe", "-n",
            str(ranks), "--mca", "btl", "self,vader", "--mca",
            "btl_vader_single_copy_mechanism", "none"]


def mpi_errors(result):
    return [line for line in result.stderr.splitlines()
            if line.startswith("moe-run: error: ")]


def test_mpi_job(runner):
    prefix = mpirun(runner, 4)
    result = runner.run(*runner.exchange(), "--out", "y{rank}.npy", "--json",
                        prefix=prefix)
    assert len(json.loads(result.stdout)["per_rank"]) == 4
    for rank in range(4):
        np.testing.assert_array_equal(runner.load(f"y{rank}.npy"),
                                      np.concatenate(runner.rows))
    assert len(runner.outputs()) == 4


def test_mpi_job_that_fails(runner):
    prefix = mpirun(runner, 4)
    result = runner.run(*runner.exchange(FAIL, who=2), "--out", "y{rank}.npy",
                        prefix=prefix, code=1)
    assert mpi_errors(result) == [
        "moe-run: error: rank 2: test.gather at exchange.c:1:1, phase 'put': "
        "invalid expert: expert id: expected at most 7, seen 12"]
    assert runner.outputs() == []


def test_mpi_job_with_bad_input(runner):
    prefix = mpirun(runner, 4)
    args = runner.exchange()
    (runner.folder / "x3.npy").write_bytes(b"nothing")
    result = runner.run(*args, "--out", "y{rank}.npy", prefix=prefix, code=1)
    assert mpi_errors(result) == [
        "moe-run: error: rank 3: argument 2: x3.npy: not a .npy file"]
    assert runner.outputs() == []


def test_mpi_job_whose_rank_dies(runner):
    prefix = mpirun(runner, 4)
    command = [*prefix, MOE_RUN,
               *runner.exchange(KILL, who=1), "--out", "y{rank}.npy"]
    result = subprocess.run(command, cwd=runner.folder, env=runner.env,
                            text=True, timeout=60, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)
    assert result.returncode != 0
    assert runner.outputs() == []


def test_mpi_job_of_the_wrong_size(runner):
    prefix = mpirun(runner, 3)
    args = runner.exchange()
    result = runner.run(*args, prefix=prefix, code=1)
    assert len(mpi_errors(result)) == 1
    assert "the artifact is for 4 ranks, but the group has 3" in result.stderr
    result = runner.run("-n", 4, *args, prefix=prefix, code=2)
    assert "-n 4, but the MPI job has 3 processes" in result.stderr
