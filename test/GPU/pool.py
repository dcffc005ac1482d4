#===- pool.py - rank processes that stay alive -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""A pool of rank processes, and groups of its first R ranks.

Starting a process that uses a GPU takes about a second, so the tests start few
and run everything in them. Every command is bounded: a rank that does not
answer in time ends the pool.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection, wait
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Failure(AssertionError):
    """A difference between what was specified and what happened."""


class Answer:
    def __init__(self, message):
        self.kind, *rest = message
        self.seconds = message[-1] if len(message) > 2 else 0.0
        self.value = rest[0] if self.kind == "done" else None
        self.code = rest[0] if self.kind == "status" else None
        self.text = rest[1] if self.kind == "status" else rest[0]

    @property
    def ok(self):
        return self.kind == "done"

    def __str__(self):
        if self.ok:
            return "OK"
        return f"{self.code}: {self.text}" if self.code else str(self.text)


class Hub(threading.Thread):
    """Serves the ranks' all-gathers."""

    def __init__(self, connections):
        super().__init__(daemon=True)
        self.connections = dict(connections)  # rank to connection
        self.size, self.pending = 1, {}

    def run(self):
        ranks = {connection: rank for rank, connection in self.connections.items()}
        while ranks:
            for connection in wait(list(ranks)):
                try:
                    self.serve(ranks[connection], *connection.recv())
                except (EOFError, OSError):
                    del ranks[connection]

    def serve(self, rank, kind, number, data):
        if kind == "join":
            self.size = number
            self.pending.pop(rank, None)
            return
        if kind == "cancel":
            self.pending.pop(rank, None)
            return
        self.pending[rank] = (number, data)
        if len(self.pending) < self.size:
            return
        joined = b"".join(self.pending[r][1] for r in sorted(self.pending))
        for r, (number, _) in self.pending.items():
            try:
                self.connections[r].send((number, joined))
            except OSError:
                pass
        self.pending = {}


class Pool:
    """`prefix` is a command, as of a sanitizer, that starts the processes;
    `environment` is added to theirs, and may be a function of the rank."""

    START_SECONDS = 60

    def __init__(self, settings, size, prefix=(), environment=None):
        self.settings, self.size = settings, size
        self.folder = tempfile.TemporaryDirectory(prefix="moe-ranks-")
        path = os.path.join(self.folder.name, "s")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(2 * size)
        listener.settimeout(self.START_SECONDS)
        of_rank = environment if callable(environment) else lambda _: environment or {}
        self.logs = [
            open(os.path.join(self.folder.name, f"{i}.log"), "w+b")
            for i in range(size)
        ]
        self.processes = [
            subprocess.Popen(
                [*(word.replace("%RANK%", str(i)) for word in prefix),
                 sys.executable, str(HERE / "rank.py"), path, str(i)],
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **of_rank(i)},
                stdin=subprocess.DEVNULL, stdout=self.logs[i],
                stderr=subprocess.STDOUT, start_new_session=True,
            )
            for i in range(size)
        ]
        control, hub = {}, {}
        try:
            for _ in range(2 * size):
                connection = Connection(listener.accept()[0].detach())
                kind, index = connection.recv()
                (control if kind == "control" else hub)[index] = connection
        except (OSError, EOFError):
            self.control = []
            self.kill()
            raise Failure(f"the ranks did not start\n{self.output()}") from None
        finally:
            listener.close()
        self.control = [control[i] for i in range(size)]
        self.pids = [connection.recv()[1] for connection in self.control]
        Hub(hub).start()
        self.alive, self.group = True, 0

    def output(self):
        """What the ranks printed."""
        parts = []
        for i, log in enumerate(self.logs):
            log.flush()
            log.seek(0)
            text = log.read().decode(errors="replace").strip()
            if text:
                parts.append(f"rank {i} printed:\n{text[-2000:]}")
        return "\n".join(parts)

    # --- Commands --------------------------------------------------------- #

    def send(self, rank, name, *args, **kwargs):
        try:
            self.control[rank].send((name, args, kwargs))
        except OSError:
            raise Failure(f"rank {rank} has ended\n{self.output()}") from None

    def collect(self, ranks, seconds, what, may_die=()):
        """The answers of `ranks`; None of one that died and may."""
        answers, left = {}, {self.control[r]: r for r in ranks}
        deadline = time.monotonic() + seconds
        while left:
            ready = wait(list(left), max(0.0, deadline - time.monotonic()))
            if not ready:
                late = sorted(left.values())
                self.kill()
                raise Failure(
                    f"ranks {late} did not answer within {seconds} s to {what}"
                    f"\n{self.output()}"
                )
            for connection in ready:
                rank = left.pop(connection)
                try:
                    answers[rank] = Answer(connection.recv())
                except (EOFError, OSError):
                    if rank not in may_die:
                        self.kill()
                        raise Failure(
                            f"rank {rank} died in {what}\n{self.output()}"
                        ) from None
                    answers[rank] = None
        for rank, answer in answers.items():
            if answer and answer.kind == "broken":
                raise Failure(f"rank {rank}: {what}: {answer.text}")
        return [answers[r] for r in ranks]

    def ask(self, name, per_rank, seconds=30, **kwargs):
        """One command to all ranks of the group; the answers in rank order."""
        ranks = range(len(per_rank))
        for rank in ranks:
            self.send(rank, name, *per_rank[rank], **kwargs)
        return self.collect(ranks, seconds, name)

    def all(self, name, *args, seconds=30, **kwargs):
        """The same command to all ranks of the group, which must succeed."""
        answers = self.ask(name, [args] * self.group, seconds, **kwargs)
        for rank, answer in enumerate(answers):
            if not answer.ok:
                raise Failure(f"rank {rank}: {name} failed: {answer}")
        return [answer.value for answer in answers]

    # --- Groups ----------------------------------------------------------- #

    def join(self, size, timeout=10.0, reserve=0):
        """Makes a group of the first `size` ranks."""
        self.group, s = size, self.settings
        answers = self.ask(
            "join",
            [(s.library, r, size, s.target, timeout, reserve)
             for r in range(size)],
            60,
        )
        for rank, answer in enumerate(answers):
            if not answer.ok:
                raise Failure(f"rank {rank} cannot join: {answer}")
        return [answer.value for answer in answers]

    def leave(self):
        self.all("leave", seconds=60)
        self.group = 0

    # --- The end ---------------------------------------------------------- #

    def kill(self):
        self.alive = False
        for process in self.processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for process in self.processes:
            process.wait()

    def end(self, seconds=60):
        """Ends the ranks in good order; returns their exit codes."""
        for rank in range(self.size):
            try:
                self.control[rank].send(("end", (), {}))
            except OSError:
                pass
        deadline = time.monotonic() + seconds
        codes = []
        for process in self.processes:
            try:
                codes.append(process.wait(max(0.1, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                codes.append(None)
        self.kill()
        return codes

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if not self.alive:
            return
        if kind is not None:
            self.kill()
            return
        codes = self.end()
        if any(codes):
            raise Failure(f"ranks ended with {codes}\n{self.output()}")
