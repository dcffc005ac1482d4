# ===- fault_injection.py - faults at random times ---------------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Runs of moe-run and of mpirun that meet one fault, drawn by lot: processes
that are killed, stopped or continued at random times, ranks that misbehave,
full disks, limits of file sizes, closed descriptors, damaged and mixed
artifacts. Each run has to end in time with at most one error, and leave nothing
behind; it fails without outputs, or succeeds with all of them.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np

from support import (
    BEHAVE, EXIT, FAIL, KILL, LEAVE, LOOP, MOE_RUN, ORDER, SEGV, SLOW, STOP,
    Runner, artifact, errors, mpirun, processes)

RANKS = 4
TIMEOUT = 2
# Waits for a rank follow each other: loading, its call, its end; and mpirun
# takes some seconds. Far less than forever is what counts.
LONGEST = 45


def process_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def preload(runner: Runner, fault: str) -> None:
    runner.env.update(MOE_FAULT=fault, LD_PRELOAD=artifact("fault"))


class Injection:
    """One run with its fault.

    Attributes
    ----------
    text : str
        What was drawn, for messages.
    may_succeed : bool
        The fault may come too late, or do no harm.
    is_heard : bool
        Standard error is open, so a failure has to be explained.
    """

    def __init__(self, runner: Runner, lot: random.Random) -> None:
        self.runner = runner
        self.lot = lot
        self.launcher = lot.choice(["moe-run", "mpirun"])
        self.may_succeed = True
        self.is_heard = True
        # It cannot finish what it is in the midst of, nor say anything.
        self.ends_host = False
        self.sent: list[tuple[str, signal.Signals, float]] = []
        self.limit: int | None = None
        self.streams: dict[str, object] = {}
        kinds = [self.send_signals, self.send_signals, self.send_signals,
                 self.misbehave, self.meet_fault, self.meet_fault,
                 self.limit_files, self.close_streams, self.damage,
                 self.mix, self.bad_input]
        self.args = runner.exchange(ranks=RANKS)
        self.args += ["--out", "y{rank}.npy"]
        kind = lot.choice(kinds)
        self.text = f"{self.launcher}: {kind()}"
        if lot.random() < 0.3:
            for rank in range(RANKS):
                (runner.folder / f"y{rank}.npy").write_text("older")

    # What can happen ------------------------------------------------------

    def send_signals(self) -> str:
        """Signals from outside to some process at some time."""
        lot = self.lot
        victims = ["moe-rank-0", "moe-rank-1", "moe-rank-3", "moe-run",
                   "launcher", "all"]
        names = ["SIGKILL", "SIGSTOP", "SIGTERM", "SIGINT", "SIGHUP", "PAUSE"]
        mode = lot.choice([BEHAVE, SLOW, LOOP])
        self.args[2] = "mode.npy"
        self.runner.save("mode.npy", np.array(mode, np.int64))
        if lot.random() < 0.5:
            # A slow call takes 0.3 s.
            self.args += ["--bench", str(lot.choice(
                [3, 10 if mode == SLOW else 300]))]
        victim, name = lot.choice(victims), lot.choice(names)
        at = lot.choice([0.0, 0.02, 0.1, 0.3, 1.0]) * lot.random() * 2
        if name == "PAUSE":
            self.sent = [(victim, signal.SIGSTOP, at),
                         (victim, signal.SIGCONT, at + 4 * lot.random())]
        else:
            self.sent = [(victim, signal.Signals[name], at)]
        self.ends_host = name == "SIGKILL" and not victim.startswith("moe-rank")
        return f"{name} to {victim} after {at:.3f} s, mode {mode}"

    def misbehave(self) -> str:
        """The entry does, on one rank."""
        mode = self.lot.choice([FAIL, KILL, LOOP, ORDER, LEAVE, EXIT, SEGV,
                                STOP])
        who = self.lot.randrange(RANKS)
        self.runner.save("mode.npy", np.array(mode, np.int64))
        self.runner.save("who.npy", np.array(who, np.int64))
        self.may_succeed = mode == ORDER
        return f"mode {mode} of rank {who}"

    def meet_fault(self) -> str:
        """A fault at some call of some process."""
        lot = self.lot
        process = lot.choice(["moe-rank-0", "moe-rank-2", "moe-run"])
        if process == "moe-run" and self.launcher == "mpirun":
            process = f"moe-run@{lot.randrange(RANKS)}"
        function = lot.choice(["sendmsg", "sendmsg", "write", "output", "dlopen",
                               "linkat", "renameat2", "bind", "tmpfile"])
        action = lot.choice(["kill", "stop", "exit", "28", "12", "5"])
        # Whoever stops moe-run itself, and nobody else is there, has to
        # continue it.
        if process == "moe-run" and action == "stop":
            action = "kill"
        fault = f"{process} {function} {lot.randint(1, 12)} {action}"
        preload(self.runner, fault)
        self.ends_host = (process.startswith("moe-run") and
                          action in ("kill", "exit"))
        # Under mpirun the others speak.
        self.is_heard = not (self.ends_host and process == "moe-run")
        return fault

    def limit_files(self) -> str:
        """A limit of file sizes, as a full disk is for outputs."""
        self.limit = self.lot.choice([0, 100, 4096, 1 << 20, 1 << 22])
        return f"files of up to {self.limit} bytes"

    def close_streams(self) -> str:
        """Standard output or error that cannot be written."""
        if self.lot.random() < 0.7:
            self.args.append(self.lot.choice(["--json", "--bench=2"]))
        stream = self.lot.choice(["stdout", "stderr"])
        how = self.lot.choice(["full", "closed", "broken"])
        self.streams = {stream: how}
        if self.lot.random() < 0.5:
            return f"{stream} is {how}, and " + self.misbehave_heard(stream)
        return f"{stream} is {how}"

    def misbehave_heard(self, stream: str) -> str:
        text = self.misbehave()
        self.is_heard = stream != "stderr"
        return text

    def damage(self) -> str:
        """An artifact that is no good on one rank, or on all."""
        data = bytearray(Path(self.args[0]).read_bytes())
        kind = self.lot.choice(["cut", "flip", "empty"])
        if kind == "cut":
            data = data[:self.lot.randrange(len(data))]
        elif kind == "flip":
            # In the header, which the loader checks.
            data[self.lot.randrange(64)] ^= 1 << self.lot.randrange(8)
        else:
            data = bytearray()
        where = self.lot.choice([None, *range(RANKS)])
        for rank in range(RANKS):
            path = self.runner.folder / f"a{rank}.so"
            if where in (None, rank):
                path.write_bytes(data)
            else:
                shutil.copy(self.args[0], path)
        self.args[0] = "a{rank}.so"
        return f"artifact {kind} on {'all' if where is None else where}"

    def mix(self) -> str:
        """Other artifacts on one rank, or misbehaving ones on all."""
        if self.lot.random() < 0.5:
            odd = self.lot.randrange(RANKS)
            for rank in range(RANKS):
                name = "exchange4-other" if rank == odd else "exchange4"
                shutil.copy(artifact(name), self.runner.folder / f"a{rank}.so")
            self.args[0] = "a{rank}.so"
            self.may_succeed = False
            return f"another artifact on rank {odd}"
        when = self.lot.choice(["CONSTRUCTOR", "DESTRUCTOR"])
        who = self.lot.choice(["moe-run", "moe-rank-0", "moe-rank-3", "*"])
        what = self.lot.choice(["kill", "crash", "hang", "stop", "exit"])
        # A stopped process that looks into the artifact is one that hangs.
        self.runner.env[f"MOE_{when}"] = f"{who} {what}"
        self.args = [artifact("hostile"), "--in", "x{rank}.npy", "--out",
                     "y{rank}.npy"]
        if self.launcher == "moe-run":
            self.args += ["-n", str(RANKS)]
        self.may_succeed = when == "DESTRUCTOR" and who == "moe-run"
        return f"{when.lower()} of {who}: {what}"

    def bad_input(self) -> str:
        """Input of one rank that is missing or damaged."""
        path = self.runner.folder / f"x{self.lot.randrange(RANKS)}.npy"
        kind = self.lot.choice(["missing", "cut", "flip", "folder"])
        data = bytearray(path.read_bytes())
        path.unlink()
        if kind == "cut":
            path.write_bytes(data[:self.lot.randrange(len(data))])
        elif kind == "flip":
            data[self.lot.randrange(len(data))] ^= 1 << self.lot.randrange(8)
            path.write_bytes(data)
        elif kind == "folder":
            path.mkdir()
        # A bit of the data does no harm.
        self.may_succeed = kind == "flip"
        return f"{path.name} {kind}"

    # The run -------------------------------------------------------------

    def open_streams(self) -> dict[str, object]:
        opened: dict[str, object] = {
            "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        for name, how in self.streams.items():
            if how == "full":
                opened[name] = open("/dev/full", "w")
            elif how == "broken":
                read_end, write_end = os.pipe()
                os.close(read_end)
                opened[name] = os.fdopen(write_end, "w")
        return opened

    def before_exec(self) -> None:
        if self.limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit,) * 2)
        for name, how in self.streams.items():
            if how == "closed":
                os.close({"stdout": 1, "stderr": 2}[name])

    def victims(self, name: str, launcher: int) -> list[int]:
        if name == "launcher":
            return [launcher]
        found = processes(self.runner.marker)
        if name == "all":
            return found
        named = sorted(pid for pid in found if process_name(pid) == name)
        return [self.lot.choice(named)] if named else []

    def run(self) -> None:
        """Runs it, and asserts what has to hold."""
        command = [MOE_RUN, *map(str, self.args), "--timeout", str(TIMEOUT)]
        if self.launcher == "mpirun":
            command = [*mpirun(RANKS), *command]
        older = {name for name in self.runner.outputs()}
        streams = self.open_streams()
        with subprocess.Popen(command, cwd=self.runner.folder,
                              env=self.runner.env, text=True, errors="replace",
                              preexec_fn=self.before_exec, **streams) as process:
            begin = time.time()
            touched = set()
            for victim, number, at in self.sent:
                time.sleep(max(0.0, begin + at - time.time()))
                # The same ones are continued that were stopped.
                chosen = (touched if number == signal.SIGCONT else
                          self.victims(victim, process.pid))
                for pid in set(chosen):
                    touched.add(pid)
                    try:
                        os.kill(pid, number)
                    except ProcessLookupError:
                        pass
            # What was stopped for good and has nobody to miss it: the user
            # continues it.
            unmissed = (self.sent and self.sent[0][1] == signal.SIGSTOP and
                        (self.sent[0][0] in ("launcher", "all") or
                         self.launcher == "moe-run" and
                         self.sent[0][0] == "moe-run"))
            if unmissed:
                time.sleep(TIMEOUT * 1.5)
                for pid in touched:
                    try:
                        os.kill(pid, signal.SIGCONT)
                    except ProcessLookupError:
                        pass
            loops = (self.runner.load("mode.npy") == LOOP and self.args[0] ==
                     artifact(f"exchange{RANKS}"))
            longest = LONGEST if not loops else LONGEST + 10
            try:
                stdout, stderr = process.communicate(timeout=longest)
            except subprocess.TimeoutExpired:
                if self.launcher == "mpirun" and self.continue_last(touched):
                    stdout, stderr = process.communicate(timeout=longest)
            if process.returncode is None:
                alive = {pid: process_name(pid)
                         for pid in processes(self.runner.marker)}
                for pid in alive:
                    os.kill(pid, signal.SIGKILL)
                process.communicate()
                raise AssertionError(f"{self.text}: does not end; still there "
                                     f"are {alive}")
        for stream in streams.values():
            if hasattr(stream, "close"):
                stream.close()
        self.check(process.returncode, stdout or "", stderr or "", older)

    def continue_last(self, touched: set[int]) -> bool:
        """Whether all that is left of the job is what was stopped, when its
        part was done already and nobody missed it; it is continued then, as
        its user would do."""
        left = {pid for pid in processes(self.runner.marker)
                if process_name(pid) != "mpirun"}
        if not left or not left <= touched:
            return False
        for pid in left:
            os.kill(pid, signal.SIGCONT)
        return True

    def check(self, code: int, stdout: str, stderr: str,
              older: set[str]) -> None:
        what = f"{self.text}: exit code {code}, {stderr!r}"
        deadline = time.time() + 60
        while processes(self.runner.marker) and time.time() < deadline:
            time.sleep(0.02)
        assert processes(self.runner.marker) == [], what
        folder = self.runner.folder
        outputs = self.runner.outputs()
        new = [name for name in outputs
               if name not in older or (folder / name).read_bytes() != b"older"]
        if not self.ends_host:
            assert len(new) in (0, RANKS), what
            left = [n for n in os.listdir(folder) if n.startswith(".moe-run")]
            assert left == [], what
        for name in new:
            np.load(folder / name)
        found = errors(stderr)
        assert len(found) <= 1, what
        if code == 0:
            assert self.may_succeed, what
            assert len(new) == RANKS and found == [], what
            return
        # Whoever is killed cannot speak, nor can one whose launcher is gone;
        # mpirun speaks for itself when it is told to end.
        silent = (not self.is_heard or "stderr" in self.streams or
                  code == -signal.SIGKILL or
                  any(victim in ("launcher", "all") or
                      victim == "moe-run" and number == signal.SIGKILL
                      for victim, number, _ in self.sent) or
                  any(number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
                      for _, number, _ in self.sent))
        if not silent:
            assert len(found) == 1, what
        # Outputs that are there although the run failed have been said to be.
        if new and found and not self.ends_host:
            assert "the outputs are written" in found[0], what
