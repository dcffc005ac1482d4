# ===- support.py - runs moe-run in a folder of its own --------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Runs moe-run on artifacts written by hand in C (runtime/tests/artifacts).

MOE_RUN is the program, MOE_TEST_ARTIFACT_DIR the folder of the artifacts.
"""

import os
import shutil
import subprocess

import numpy as np
import pytest

# Tests run in folders of their own.
MOE_RUN = os.path.abspath(os.environ["MOE_RUN"])
ARTIFACTS = os.path.abspath(os.environ["MOE_TEST_ARTIFACT_DIR"])
SANITIZE = os.environ.get("MOE_SANITIZE", "")

# The modes of exchange.c.
BEHAVE, FAIL, KILL, LOOP, ORDER, LEAVE, EXIT, SLOW, SEGV = 0, 1, 2, 3, 4, 5, 8, 9, 14
STOP = 17

# What moe-run needs no more than: mpirun is told to use shared memory alone.
MPIRUN_OPTIONS = ["--allow-run-as-root", "--oversubscribe"]


def artifact(name):
    return os.path.join(ARTIFACTS, name + ".so")


LAUNCHER_PREFIXES = ("OMPI_", "MV2_", "PMI_", "PMIX_", "MPI_LOCAL", "SLURM_")


def without_launcher(environment):
    """Without what the launcher of this very test has set."""
    return {name: value for name, value in environment.items()
            if not name.startswith(LAUNCHER_PREFIXES)
            and name != "ENVIRONMENT"}


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


def mpirun(ranks):
    """The beginning of a command that starts a job of that many processes."""
    program = shutil.which("mpirun")
    if not program:
        pytest.skip("mpirun is not installed")
    # Open MPI keeps its session folder in TMPDIR, and removes it at the end.
    return [program, *MPIRUN_OPTIONS, "-n", str(ranks)]


def errors(text):
    """moe-run's own errors in what a job has written to standard error."""
    start = "moe-run: error: "
    return [line[len(start):] for line in text.splitlines()
            if line.startswith(start)]


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
            command, cwd=self.folder, env=self.env, text=True, timeout=600,
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
