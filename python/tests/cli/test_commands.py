# ===- test_commands.py - python -m moe_mlir -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The commands as a user runs them, on the host and on the driver that interprets
PTX.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import moe_mlir
from moe_mlir.commands import ceiling, driver, info, programs
from moe_mlir.commands.programs import CommandError

STANDIN = os.environ.get("MOE_STANDIN_DRIVER_DIR", "")
standin = pytest.mark.skipif(
    not STANDIN, reason="MOE_STANDIN_DRIVER_DIR names no driver that interprets PTX"
)


def command(*arguments, code=0, gpus=False, folder=None):
    """What a command prints; its error when it is to fail."""
    environment = dict(os.environ)
    environment["PATH"] = f"{environment['MOE_BIN_DIR']}:{environment['PATH']}"
    if gpus:
        environment["LD_LIBRARY_PATH"] = STANDIN
    done = subprocess.run(
        [sys.executable, "-m", "moe_mlir", *map(str, arguments)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


# --- info ------------------------------------------------------------------- #


def test_info_names_versions_and_programs():
    facts = json.loads(command("info", "--json"))
    assert facts["version"] == moe_mlir.__version__
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["packages"]["numpy"] == np.__version__
    assert Path(facts["programs"]["moe-run"]).name == "moe-run"
    assert os.access(facts["programs"]["moe-compile"], os.X_OK)
    lines = dict(line.split(None, 1) for line in command("info").splitlines())
    assert lines["moe-mlir"] == f"{facts['version']} in {facts['package']}"
    assert lines["moe-run"] == facts["programs"]["moe-run"]


@standin
def test_info_names_gpus_and_peers():
    facts = json.loads(command("info", "--json", gpus=True))["cuda"]
    assert facts["found"]
    assert {gpu["chip"] for gpu in facts["gpus"]} == {"sm_90"}
    count = len(facts["gpus"])
    assert facts["peer_access"] == [[True] * count] * count
    text = command("info", gpus=True)
    assert "peer access     between all\n" in text
    assert "GPU 0           stand-in, sm_90, 4 multiprocessors, 64 GiB\n" in text


@standin
def test_info_names_version_and_file_of_nccl(monkeypatch):
    file = Path(STANDIN).parent / "nccl" / "libnccl.so.2"
    monkeypatch.setenv("MOE_NCCL_LIBRARY", str(file))
    assert f"NCCL            2.28.9 in {file.resolve()}\n" in command("info", gpus=True)


def test_info_says_what_is_missing(monkeypatch):
    def no_library(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(driver.ctypes, "CDLL", no_library)
    monkeypatch.setitem(sys.modules, "moe_mlir.compiler", None)
    facts = info.collect()
    text = info.text(facts)
    assert "CUDA driver     not found (libcuda.so.1: cannot open shared object file)\n" in text
    assert "NCCL            not found (libnccl.so.2: not found, nor in a package " in text
    assert not facts["compiler"]["found"] and facts["compiler"]["reason"]
    assert "GPU" not in text and "peer access" not in text


def test_peers_that_do_not_reach_each_other_are_named():
    assert info._peers([[True, False], [True, True]]) == "not from 0 to 1"


@pytest.mark.parametrize(("number", "version"), [(22809, "2.28.9"), (2804, "2.8.4")])
def test_numbers_of_nccl_are_versions(monkeypatch, number, version):
    class Library:
        @staticmethod
        def ncclGetVersion(out):
            out._obj.value = number
            return 0

    monkeypatch.setattr(driver.ctypes, "CDLL", lambda name: Library)
    assert driver.nccl() == (version, "libnccl.so.2")


# --- bench ------------------------------------------------------------------ #

SMALL = ("-n", 2, "--tokens", 16, "--hidden", 64, "--experts", 8, "--top-k", 2, "--calls", 3)


@pytest.mark.parametrize("target", ["host", pytest.param("cuda", marks=standin)])
def test_bench_compares_with_copies(target):
    found = json.loads(
        command("bench", *SMALL, "--target", target, "--json", gpus=target == "cuda")
    )
    # Two choices of eight for each of 16 tokens, seed 1: counted here again.
    generator = np.random.default_rng(1)
    rows = 0
    for rank in range(2):
        generator.integers(0, 0x7F80, (16, 64), np.uint16)
        chosen = np.argpartition(generator.random((16, 8)), 1, axis=1)[:, :2]
        rows += int((chosen // 4 != rank).any(1).sum())
    assert found["rows_that_leave"] == rows / 2
    assert found["bytes_that_leave"] == found["rows_that_leave"] * 128
    assert found["ceiling_gb_per_s"] > 0
    assert set(found["results"]) == {"dispatch", "combine"}
    for figures in found["results"].values():
        speed = found["bytes_that_leave"] / figures["median_us"] / 1e3
        assert figures["gb_per_s"] == pytest.approx(speed)
        share = figures["gb_per_s"] / found["ceiling_gb_per_s"]
        assert figures["share_of_ceiling"] == pytest.approx(share)


def test_bench_prints_a_table():
    lines = command("bench", *SMALL).splitlines()
    assert lines[0].startswith("2 ranks, target host: Exchange(num_experts=8, top_k=2, hidden=64,")
    assert "leave a rank" in lines[1]
    assert lines[3].split() == ["median", "us", "GB/s", "a", "rank", "share"]
    assert [line.split()[0] for line in lines[4:]] == ["dispatch", "combine"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--calls", 0), "expected at least 1 call, got 0"),
        (("-n", 0), "expected ranks to be from 1 to 65536, got 0"),
        (
            ("--layout", "rows"),
            "expected layout to be one of rank_major, expert_major, slab, got 'rows'",
        ),
        (
            ("--target", "cuda"),
            "no CUDA driver: libcuda.so.1: cannot open shared object file: No such file or "
            "directory",
        ),
    ],
)
def test_bench_says_what_it_cannot_do(options, message):
    if options[1] == "cuda":
        try:
            driver.Driver()
        except driver.DriverError as error:
            assert "libcuda.so.1" in str(error)
        else:
            pytest.skip("this machine has a CUDA driver")
    error = command("bench", *SMALL, *options, code=1)
    assert error.startswith("moe_mlir: error: ")
    assert message in error and len(error.splitlines()) == 1


def test_ceiling_of_the_host_grows_with_nothing_but_time():
    """Bytes per time: a clock that is twice as slow halves it."""
    ticks = iter(range(10**6))

    class Clock:
        @staticmethod
        def perf_counter():
            return next(ticks) * 1e-3

    real = ceiling.time
    try:
        ceiling.time = Clock
        assert ceiling.host(1, 1 << 20) == pytest.approx(ceiling.HOST_BYTES / 1e-3 / 1e9)
    finally:
        ceiling.time = real


# --- trace ------------------------------------------------------------------ #


def names(folder):
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    return {(event["pid"], event["name"]) for event in events if event["ph"] == "X"}


def test_trace_of_random_tokens(tmp_path):
    printed = command("trace", "-n", 2, "--tokens", 16, "--hidden", 64, folder=tmp_path)
    assert printed.startswith("trace.json: ") and printed.endswith(
        " bars; open it with https://ui.perfetto.dev or chrome://tracing\n"
    )
    found = names(tmp_path)
    for rank in range(2):
        assert {(rank, "dispatch"), (rank, "moe.dispatch"), (rank, "put")} <= found


@standin
def test_trace_of_gpus_has_calls_alone(tmp_path):
    options = ("-n", 2, "--tokens", 4, "--hidden", 64, "--calls", 2, "--target", "cuda")
    command("trace", *options, folder=tmp_path, gpus=True)
    assert names(tmp_path) == {(0, "dispatch"), (1, "dispatch")}
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    ranks = {e["args"]["name"] for e in events if e["ph"] == "M"}
    assert ranks == {"rank 0 (stand-in)", "rank 1 (stand-in)"}


def test_trace_of_a_module_hands_options_to_moe_run(tmp_path):
    module = tmp_path / "local.mlir"
    module.write_text(
        "func.func @twice(%x: tensor<4xf32>) -> tensor<4xf32> {\n"
        "  %y = arith.addf %x, %x : tensor<4xf32>\n"
        "  return %y : tensor<4xf32>\n}\n"
    )
    np.save(tmp_path / "x.npy", np.arange(4, dtype=np.float32))
    command(
        "trace",
        "-o",
        "trace.json",
        "local.mlir",
        "-n",
        3,
        "--in",
        "x.npy",
        "--bench",
        2,
        "--out",
        "y.{rank}.npy",
        folder=tmp_path,
    )
    assert names(tmp_path) == {(r, n) for r in range(3) for n in ("twice", "compute")}
    assert np.load(tmp_path / "y.2.npy").tolist() == [0, 2, 4, 6]


def test_trace_of_a_failing_run_says_why(tmp_path):
    error = command("trace", "missing.so", folder=tmp_path, code=1)
    assert error == "moe-run: error: missing.so: No such file or directory\n"
    (tmp_path / "wrong.mlir").write_text("func.func @f() { return 1 }\n")
    error = command("trace", "wrong.mlir", folder=tmp_path, code=1)
    assert error.startswith("moe_mlir: error: wrong.mlir:1:")
    assert not (tmp_path / "trace.json").exists()


# --- programs --------------------------------------------------------------- #


def test_a_program_that_is_nowhere_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "folders", lambda: [tmp_path / "bin"])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError) as caught:
        programs.need("moe-run")
    assert str(caught.value) == (
        f"expected the program moe-run in PATH or one of: {tmp_path}/bin; found none. The wheel "
        "has it; a build tree has it after `ninja -C build`"
    )


def test_a_program_that_does_not_end_is_given_up():
    with pytest.raises(CommandError) as caught:
        programs.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.2)
    assert str(caught.value) == f"{Path(sys.executable).name} did not end within 0.2 s"


def test_unknown_commands_are_usage_errors():
    assert "invalid choice: 'run'" in command("run", code=2)
