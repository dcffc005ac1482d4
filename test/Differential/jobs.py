#===- jobs.py - cases in jobs of mpirun -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Runs cases with the processes of mpirun as ranks, on this machine or on two
hosts that it stands for (tools/moe-run/tests/two_hosts.py).

Starting a job takes a second or two, so one job runs all cases of as many ranks,
with both schedules, one after the other (member.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import oracle
from harness import (
    Failure, Modules, check_outputs, check_refusals, line_of,
)

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools" / "moe-run" / "tests"))

import two_hosts  # noqa: E402

MEMBER = Path(__file__).resolve().parent / "member.py"
SCHEDULES = ("exact", "padded")
TIMEOUT = 20  # of waits for other ranks
START_SECONDS, CASE_SECONDS = 60, 10


class OneHost:
    """Processes of this machine, whose rows are to travel by MPI all the same."""

    hosts = {os.uname().nodename}
    settings = {"MOE_TRANSPORT": "mpi"}

    @staticmethod
    def why_not():
        return "" if shutil.which("mpirun") else "mpirun is not installed"

    def mpirun(self, ranks):
        return ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to",
                "none", "-n", str(ranks)]

    def close(self):
        pass


class TwoHosts:
    """The first half of the ranks on one host, the others on the other."""

    hosts = set(two_hosts.HOSTS)
    settings = {}
    as_user = os.geteuid() != 0

    @staticmethod
    def why_not():
        return two_hosts.why_not(TwoHosts.as_user)

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="moe-hosts-")
        self.made = two_hosts.TwoHosts(Path(self.folder.name), self.as_user)

    def mpirun(self, ranks):
        return self.made.mpirun(ranks - ranks // 2, ranks // 2)

    def close(self):
        self.made.close()
        self.folder.cleanup()


LAUNCHERS = {"mpi": OneHost, "hosts": TwoHosts}


@dataclass
class Answer:
    """Of a rank, to a call."""

    code: str | None
    text: str

    @property
    def ok(self):
        return self.code is None

    def __str__(self):
        return f"{self.code}: {self.text}" if self.code else self.text


@dataclass
class Step:
    """One case with one schedule, on the ranks of one launcher."""

    case: object
    schedule: str
    folder: Path
    module: str = ""
    text: str = ""
    into: bool = False
    failure: str | None = None  # why it cannot be in the job
    error: oracle.SpecifiedError | None = None
    expected: list = field(default_factory=list)

    @property
    def outputs(self):
        return self.folder / "out"

    def plan(self, work_dir):
        """For member.py."""
        entry = self.case.entry
        inputs = work_dir / "inputs" / self.case.name
        return {
            "module": str(work_dir / self.schedule / f"{self.module}.so"),
            "entry": entry.name,
            "inputs": [f"{inputs}/{arg.name}.{{rank}}.npy" for arg in entry.args],
            "outputs": [f"{self.outputs}/{value.name}.{{rank}}.npy"
                        for value in entry.returned],
            "answer": f"{self.folder}/answer.{{rank}}.json",
            "times": max(1, self.case.bench), "into": self.into,
            "fails": self.error is not None,
        }

    def check(self, output):
        """Raises Failure unless all ranks did as specified."""
        if self.failure:
            raise Failure(self.failure)
        answers = []
        for rank in range(self.case.ranks):
            path = self.folder / f"answer.{rank}.json"
            if not path.is_file():
                raise Failure(f"rank {rank} gave no answer\n{output}")
            answers.append([Answer(**a) for a in json.loads(path.read_text())])
        first = [a[0] for a in answers]
        if self.error:
            # What some ranks have before they learn of it is no result.
            place = f"{self.module}.mlir:{line_of(self.text, self.case)}:"
            check_refusals(self.case, self.error, first, [a[1] for a in answers],
                           place)
            return
        bad = [f"rank {r}: {a}" for r, a in enumerate(first) if not a.ok]
        if bad:
            raise Failure("\n".join(bad))
        check_outputs(self.case, self.expected, self.outputs, self.into)


class Jobs:
    """Runs a job when the first of its cases is asked for.

    `python_dir` is where the package is.
    """

    def __init__(self, bin_dir, python_dir, work_dir, cases, seed):
        self.bin_dir, self.python_dir, self.work_dir = bin_dir, python_dir, work_dir
        self.cases, self.seed = cases, seed
        self.modules = {}
        for schedule in SCHEDULES:
            folder = work_dir / schedule
            folder.mkdir()
            self.modules[schedule] = Modules(bin_dir, folder, cases,
                                             messages=schedule)
        self.made = {}  # launchers by their names
        self.steps = {}  # of jobs that have run
        self.output = {}

    def close(self):
        for launcher in self.made.values():
            launcher.close()

    def check(self, case, launcher, schedule):
        """Raises Failure unless the case does as specified."""
        job = launcher, case.ranks
        if job not in self.steps:
            self.run(*job)
        self.steps[job][case.name, schedule].check(self.output[job])

    # --- One job ------------------------------------------------------------ #

    def prepare(self, case, launcher, schedule):
        folder = self.work_dir / launcher / f"{schedule}-{case.name}"
        step = Step(case, schedule, folder)
        step.outputs.mkdir(parents=True)
        try:
            step.module, step.text = self.modules[schedule].artifact(case)
        except Failure as failure:
            step.failure = str(failure)
            return step
        try:
            step.expected = case.expected(schedule == "exact")
        except oracle.SpecifiedError as error:
            step.error = error
        # Some calls write to memory that the caller gives.
        lot = zlib.crc32(f"{self.seed} {schedule} {case.name}".encode())
        step.into = step.error is None and lot % 3 == 0
        inputs = self.work_dir / "inputs" / case.name
        if not inputs.is_dir():
            inputs.mkdir(parents=True)
            for arg, data in zip(case.entry.args, case.inputs):
                for rank, array in enumerate(data.arrays):
                    np.save(inputs / f"{arg.name}.{rank}.npy", array)
        return step

    def run(self, launcher, ranks):
        """All cases of so many ranks, by schedule and so by module."""
        steps = {
            (case.name, schedule): self.prepare(case, launcher, schedule)
            for schedule in SCHEDULES for case in self.cases
            if case.ranks == ranks
        }
        self.steps[launcher, ranks] = steps
        able = [step for step in steps.values() if not step.failure]
        folder = self.work_dir / launcher
        plan = folder / f"plan{ranks}.json"
        end = folder / f"end{ranks}.{{rank}}.json"
        plan.write_text(json.dumps({
            "timeout": TIMEOUT, "end": str(end),
            "steps": [step.plan(self.work_dir) for step in able],
        }))
        if launcher not in self.made:
            self.made[launcher] = LAUNCHERS[launcher]()
        output = self.launch(launcher, ranks, plan,
                             START_SECONDS + CASE_SECONDS * len(able))
        self.output[launcher, ranks] = output
        self.check_end(launcher, ranks, str(end), able)

    def launch(self, launcher, ranks, plan, seconds):
        """What the job prints. Ends all of it."""
        made = self.made[launcher]
        environment = {
            **os.environ, **made.settings, "PYTHONPATH": str(self.python_dir),
            "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
        }
        log = plan.with_suffix(".log")
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*made.mpirun(ranks), sys.executable, str(MEMBER), str(plan)],
                env=environment, stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT,
            )
            late = ""
            try:
                code = process.wait(seconds)
                late = f"mpirun ended with {code}\n" if code else ""
            except subprocess.TimeoutExpired:
                late = f"mpirun did not end within {seconds} s\n"
                self.end(launcher, process)
        return late + log.read_text(errors="replace")[-4000:]

    def end(self, launcher, process):
        """A job that hangs. mpirun ends its processes, as long as it lives; with
        the hosts all ends that runs there."""
        process.terminate()
        if launcher == "hosts":
            self.made.pop(launcher).close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def check_end(self, launcher, ranks, end, steps):
        """A rank that fails after its last case fails that case, and so does a job
        that was not what it is there for."""
        failure = None
        hosts = set()
        for rank in range(ranks):
            path = Path(end.format(rank=rank))
            if not path.is_file():
                failure = f"rank {rank} did not end in good order"
                break
            where = json.loads(path.read_text())
            hosts.add(where["host"])
            if ranks > 1 and not where["mpi"]:
                failure = f"rank {rank} has not loaded MPI"
        wanted = LAUNCHERS[launcher].hosts
        if not failure and ranks > 1 and hosts != wanted:
            failure = f"expected ranks on {sorted(wanted)}, seen {sorted(hosts)}"
        if failure and steps:
            last = steps[-1]
            last.failure = (f"{last.failure or failure}, after this case\n"
                            f"{self.output[launcher, ranks]}")

