#===- moe_run.py - the program moe-run -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Runs moe-run, and says what is wrong with how it ended."""

from __future__ import annotations

import os
import re
import subprocess

import numpy as np

import scenes
from pool import Failure

# Every command may take so long.
ANSWER_SECONDS = 100


def run_tool(settings, args, environment, seconds=ANSWER_SECONDS):
    try:
        return subprocess.run(
            [str(settings.bin / "moe-run"), *args], cwd=settings.work,
            env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=seconds, check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"moe-run did not end within {seconds} s") from None


def one_error(result, *words):
    errors = [
        line for line in result.stderr.splitlines()
        if line.startswith("moe-run: error: ")
    ]
    if result.returncode != 1 or len(errors) != 1:
        raise Failure(f"exit code {result.returncode}\n{result.stderr[:4000]}")
    for word in words:
        if not re.search(word, errors[0]):
            raise Failure(f"no /{word}/ in: {errors[0]}")


def send_arguments(settings, artifacts, ranks, folder):
    """moe-run's arguments for the entry `send`."""
    case = scenes.scene("faults", "send", ranks, settings.seed, 0)
    folder.mkdir(exist_ok=True)
    args = ["-n", str(ranks), "--target", settings.target]
    args += [str(artifacts.path(f"faults{ranks}")), "--entry", "send"]
    for arg, data in zip(case.entry.args, case.inputs):
        args += ["--in", f"{folder}/{arg.name}.{{rank}}.npy"]
        for rank, values in enumerate(data.arrays):
            np.save(folder / f"{arg.name}.{rank}.npy", values)
    return args


def children(parent):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                # "pid (name) state ppid ..."; a name may hold anything.
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(pid))
    return sorted(found)
