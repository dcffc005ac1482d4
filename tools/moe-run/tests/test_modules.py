# ===- test_modules.py - modules that are compiled first -------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Modules compiled by the moe-compile beside moe-run; copies that run elsewhere."""

import os
import shutil
import signal
import subprocess

import pytest

from job_runs import wait_until
from support import MOE_RUN, SANITIZE, FAIL, artifact, listing, mpirun


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
        "moe-run: error: m.mlir: moe-compile failed (exit code 1):",
        "m.mlir:3:5: error: expected x"]


def test_processes_of_a_job_say_once_what_the_compiler_says(runner):
    # Each of them compiles, and one of them speaks.
    program = with_compiler(runner, """
echo "m.mlir:1:1: remark: hello" >&2
grep -q right "$1" && exec cp %s "$5"
for line in 1 2 3; do echo "m.mlir:$line:5: error: expected x" >&2; done
exit 1
""" % artifact("exchange4"))
    args = runner.exchange()
    args[0] = "m.mlir"
    (runner.folder / "m.mlir").write_text("wrong")
    said = runner.run(*args, program=program, prefix=mpirun(4),
                      code=1).stderr.splitlines()
    first = said.index("moe-run: error: m.mlir: moe-compile failed (exit code 1):")
    assert said[first + 1:first + 5] == [
        "m.mlir:1:1: remark: hello",
        *(f"m.mlir:{line}:5: error: expected x" for line in (1, 2, 3))]
    assert sum("expected x" in line for line in said) == 3
    (runner.folder / "m.mlir").write_text("right")
    result = runner.run(*args, "--out", "y{rank}.npy", program=program,
                        prefix=mpirun(4))
    assert result.stderr.splitlines() == ["m.mlir:1:1: remark: hello"]
    assert len(runner.outputs()) == 4


def test_mlir_file_without_a_compiler(runner):
    program = with_compiler(runner, None)
    (runner.folder / "m.mlir").write_text("module {}")
    error = runner.fail("m.mlir", program=program)
    assert error.startswith("m.mlir: a .mlir file needs moe-compile beside "
                            "moe-run")


def test_place_of_the_temporary_folder(runner):
    program = with_compiler(runner, "exit 1")
    (runner.folder / "m.mlir").write_text("module {}")
    runner.env["TMPDIR"] = "/missing"
    assert runner.fail("m.mlir", program=program) == (
        "cannot make a temporary folder in /missing (TMPDIR names the place for "
        "it): No such file or directory")


def test_mlir_file_that_is_a_pipe(runner):
    program = with_compiler(runner, 'exec cat "$1"')
    os.mkfifo(runner.folder / "m.mlir")
    assert runner.fail("m.mlir", program=program) == "m.mlir: not a regular file"


def test_mlir_file_of_each_rank(runner):
    program = with_compiler(runner, "exit 1")
    for rank in range(2):
        (runner.folder / f"m{rank}.mlir").write_text("module {}")
    assert runner.fail("-n", 2, "m{rank}.mlir", program=program) == (
        "m{rank}.mlir: a .mlir file is compiled once for all ranks, so its path "
        "cannot have {rank}")


def test_interrupt_while_compiling(runner):
    program = with_compiler(runner, f"sleep 100 & : > {runner.folder}/started; wait")
    (runner.folder / "m.mlir").write_text("module {}")
    process = subprocess.Popen(
        [program, "m.mlir"], cwd=runner.folder, env=runner.env, text=True,
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        start_new_session=True)
    wait_until(lambda: (runner.folder / "started").exists())
    process.terminate()
    process.wait(timeout=60)
    # The fake compiler's own child is not moe-run's to kill.
    os.killpg(process.pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "interrupted by signal 15" in stderr


def test_copy_runs_elsewhere(runner):
    """The program needs the C library and GCC's support library, which every
    system has; no library of the project, nor libstdc++."""
    if SANITIZE:
        pytest.skip("sanitized programs need the sanitizer's libraries")
    out = subprocess.run(["ldd", MOE_RUN], text=True, check=True,
                         stdout=subprocess.PIPE).stdout
    libraries = {line.split()[0].split("/")[-1] for line in out.splitlines()}
    assert libraries <= {"linux-vdso.so.1", "libm.so.6", "libc.so.6",
                         "libgcc_s.so.1", "ld-linux-x86-64.so.2"}, libraries
    assert "libm.so.6" in libraries
