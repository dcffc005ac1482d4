# ===- test_faults.py - ranks that misbehave, and being killed -------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Ranks that fail, die, hang or differ, and signals from outside."""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
import tty

import pytest

from job_runs import full_pipe, wait_until
from support import (
    SANITIZE, FAIL, KILL, LOOP, ORDER, LEAVE, EXIT, SLOW, SEGV, artifact,
    listing, processes)


def test_failing_rank_is_reported_once(runner):
    error = runner.fail(*runner.exchange(FAIL, who=2), "--out", "y{rank}.npy")
    assert error == (
        "rank 2: test.gather at exchange.c:1:1, phase 'put': invalid expert: "
        "expert id of token 3, slot 1: expected -1 to 7, seen 12")
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
                        "--timeout", 1000, code=1)
    lines = [line for line in result.stderr.splitlines()
             if line.startswith("moe-run: error: ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"moe-run: error: rank 3: {how}")
    # What another rank saw of it.
    assert "test.gather at exchange.c:1:1" in lines[0]
    # Long before the time-out.
    assert time.time() - begin < 120
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
    args[0] = "a{rank}.so"
    error = runner.fail(*args)
    assert "ranks load different artifacts: a0.so on rank 0 and a1.so" in error
    assert "differ in entries[0].name ('gather' and 'second')" in error


def test_different_artifacts(runner):
    args = runner.exchange()
    for rank in range(4):
        name = "exchange4-other" if rank == 2 else "exchange4"
        shutil.copy(artifact(name), runner.folder / f"a{rank}.so")
    args[0] = "a{rank}.so"
    error = runner.fail(*args, "--out", "y{rank}.npy")
    assert "ranks load different artifacts: " in error
    assert "differ in hash ('exchange' and 'other')" in error
    assert runner.outputs() == []


def test_output_that_cannot_be_written(runner):
    args = runner.exchange()
    (runner.folder / "out2").mkdir()
    for rank in (0, 1, 3):
        (runner.folder / f"out{rank}").mkdir()
    error = runner.fail(*args, "--out", "out{rank}/" + "y" * 256)
    assert error.startswith("rank 0: cannot write out0/yyy")
    assert error.endswith("y: File name too long")
    # A temporary name is no longer than this one.
    runner.run(*args, "--out", "out{rank}/" + "y" * 255)
    (runner.folder / "out2" / ("y" * 255)).unlink()
    (runner.folder / "out2").rmdir()
    assert runner.usage(*args, "--out", "out{rank}/y") == (
        "out2/: No such file or directory")
    (runner.folder / "out2").mkdir()
    for rank in (0, 1, 3):
        (runner.folder / f"out{rank}" / ("y" * 255)).unlink()
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_while_nobody_reads_the_report(runner, number):
    args = runner.exchange()
    (runner.folder / "y0.npy").write_text("older")
    with full_pipe() as stdout:
        process = subprocess.Popen(
            runner.command(*args, "--out", "y{rank}.npy", "--json"),
            cwd=runner.folder, env=runner.env, text=True, stdout=stdout,
            stderr=subprocess.PIPE)
        # All have their names before the report is printed.
        wait_until(lambda: len(runner.outputs()) == 4)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert stderr.startswith(f"moe-run: error: interrupted by signal {int(number)}")
    assert runner.outputs() == ["y0.npy"]
    assert (runner.folder / "y0.npy").read_text() == "older"


def test_report_that_is_read_late(runner):
    args = runner.exchange()
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with open(reading, "rb") as late:
        os.set_blocking(writing, False)
        filled = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                filled += os.write(writing, bytes(4096))
        os.set_blocking(writing, True)
        process = subprocess.Popen(
            runner.command(*args, "--out", "y{rank}.npy", "--json", "--bench", 500),
            cwd=runner.folder, env=runner.env, stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
        wait_until(lambda: len(runner.outputs()) == 4)
        assert process.poll() is None
        text = late.read()[filled:]
        assert process.wait(timeout=60) == 0
    assert len(json.loads(text)["per_rank"][3]["calls"]["all_ns"]) == 500
    assert len(runner.outputs()) == 4


def test_standard_output_that_cannot_be_written(runner):
    """No pipe with room ever comes of the end of one that is for reading."""
    reading, writing = os.pipe()
    try:
        result = subprocess.run(
            runner.command(*runner.exchange(), "--out", "y{rank}.npy", "--json"),
            cwd=runner.folder, env=runner.env, stdout=reading, timeout=60,
            stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(reading)
        os.close(writing)
    assert result.returncode == 1
    assert "cannot write to standard output: Bad file descriptor" in result.stderr
    assert runner.outputs() == []


def test_terminal_of_another_kind(runner):
    """What is open as /dev/ptmx is another terminal when it is opened again."""
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        result = subprocess.run(
            runner.command(*runner.exchange(), "--json"), cwd=runner.folder,
            env=runner.env, stdout=master, timeout=60, check=False)
        assert result.returncode == 0
        assert select.select([slave], [], [], 10)[0]
        assert os.read(slave, 1) == b"{"
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("what", ["usage", "rank"])
def test_error_that_nobody_reads(runner, what):
    args = runner.exchange(FAIL) if what == "rank" else ["--frobnicate"]
    with full_pipe() as stderr:
        process = subprocess.Popen(
            runner.command(*args), cwd=runner.folder, env=runner.env,
            stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            assert process.wait(timeout=60) == (1 if what == "rank" else 2)
        finally:
            process.kill()


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
