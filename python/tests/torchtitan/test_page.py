# ===- test_page.py - the program of docs/Torchtitan.md -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The Python of docs/Torchtitan.md runs on two processes, as torchrun starts them."""

import os
import pathlib
import re
import runpy
import socket
import sys
import time

import titan  # noqa: F401 # what it puts right on a machine without GPUs

PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "Torchtitan.md"
SECONDS = 400


def run(program, rank, port):
    """A rank, as torchrun starts it."""
    said = os.open(f"{program}.{rank}", os.O_CREAT | os.O_WRONLY)
    os.dup2(said, sys.stdout.fileno())
    os.dup2(said, sys.stderr.fileno())
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="localhost", MASTER_PORT=port
    )
    runpy.run_path(program, run_name="__main__")


def test_program(context, tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    program = tmp_path / "layer.py"
    program.write_text(code)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    started = [
        context.Process(target=run, args=(str(program), rank, port), daemon=True)
        for rank in range(2)
    ]
    for process in started:
        process.start()
    deadline = time.monotonic() + SECONDS
    for process in started:
        process.join(max(deadline - time.monotonic(), 0))
    # What one rank says may be that it has waited for the other.
    said = [(tmp_path / f"layer.py.{rank}").read_text("utf-8") for rank in range(2)]
    assert [process.exitcode for process in started] == [0, 0], "\n".join(said)
