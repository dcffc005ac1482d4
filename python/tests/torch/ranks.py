# ===- ranks.py - two processes that run what tests ask for -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Processes of torch.distributed that run functions of test modules.

Importing torch takes seconds, so the processes are started once and serve all tests. A
function is named by its module and name, and gets the group of its rank; what it returns
or raises comes back.

A rank that fails leaves the others waiting for it inside a collective, so one failure ends
the processes of a pool. The test that failed says what every rank was doing, and the next
test gets new processes.
"""

from __future__ import annotations

import contextlib
import datetime
import faulthandler
import importlib
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import signal
import sys
import time
import traceback

# Until all ranks have answered, and what the others get after one has failed. The longest
# test compiles for 100 s of CPU, on a machine that runs other tests meanwhile.
SECONDS = 600
SECONDS_AFTER_A_FAILURE = 10
# Collectives of gloo end before the pool gives up, so that a rank can say which one hung.
COLLECTIVE_SECONDS = 210
# How many tests may run out of time before all others fail at once, so that a suite
# reports what it saw instead of being ended by its own limit.
MAX_TIMEOUTS = 2


def _serve(rank, size, folder, connection):
    trace = (folder / f"rank-{rank}").open("w")
    faulthandler.register(signal.SIGUSR1, file=trace)
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import torch
    import torch.distributed as dist

    import moe_mlir as moe

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=size,
        timeout=datetime.timedelta(seconds=COLLECTIVE_SECONDS),
    )  # fmt: skip
    while True:
        call = connection.recv()
        if call is None:
            break
        module, name, arguments = call
        try:
            function = getattr(importlib.import_module(module), name)
            with moe.Group.from_torch() as group:
                connection.send((True, function(group, *arguments)))
        except BaseException:
            connection.send((False, traceback.format_exc()))
    dist.destroy_process_group()


def forking(*modules):
    """A context whose processes have imported these modules once, together."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    return context


class Pool:
    """Processes that are connected by gloo.

    Parameters
    ----------
    size
        The number of ranks.
    folder
        An existing folder for their store and for the stacks of ranks that hang.
    context
        How processes are started; as new ones of Python if there is none.
    seconds
        How long a test may take.
    """

    def __init__(self, size, folder, context=None, seconds=SECONDS):
        self.size = size
        self.folder = folder
        self.seconds = seconds
        self.context = context or multiprocessing.get_context("spawn")
        self.generation, self.timeouts = 0, 0
        self.connections, self.processes = [], []

    def start(self):
        """Start the ranks, in a folder of their own: a store serves one group."""
        self.generation += 1
        self.current = self.folder / str(self.generation)
        self.current.mkdir()
        for rank in range(self.size):
            here, there = self.context.Pipe()
            process = self.context.Process(
                target=_serve, args=(rank, self.size, self.current, there), daemon=True,
                name=f"rank {rank}",
            )  # fmt: skip
            process.start()
            there.close()
            self.connections.append(here)
            self.processes.append(process)

    def run(self, function, *arguments):
        """What the ranks return, in rank order."""
        if self.timeouts == MAX_TIMEOUTS:
            raise TimeoutError(f"not run: {MAX_TIMEOUTS} earlier tests ran out of time")
        if not self.processes:
            self.start()
        for connection in self.connections:
            # A process that has ended is reported by what is read from it.
            with contextlib.suppress(BrokenPipeError):
                connection.send((function.__module__, function.__name__, arguments))
        results, errors = self._answers()
        if errors or len(results) < self.size:
            self.timeouts += not errors
            for rank in range(self.size):
                if rank not in results and rank not in errors:
                    errors[rank] = self._stack(rank)
            self.kill()
            raise AssertionError(
                "\n".join(f"rank {rank}: {text}" for rank, text in sorted(errors.items()))
            )
        return [results[rank] for rank in range(self.size)]

    def _answers(self):
        """What ranks have returned and what they have raised, until all have or time is up."""
        results, errors = {}, {}
        waiting = {connection: rank for rank, connection in enumerate(self.connections)}
        deadline = time.monotonic() + self.seconds
        while waiting:
            left = deadline - time.monotonic()
            ready = multiprocessing.connection.wait(list(waiting), max(left, 0))
            if not ready:
                break
            for connection in ready:
                rank = waiting.pop(connection)
                try:
                    is_done, value = connection.recv()
                except EOFError:
                    is_done, value = False, self._ending(rank)
                (results if is_done else errors)[rank] = value
            if errors:
                deadline = min(deadline, time.monotonic() + SECONDS_AFTER_A_FAILURE)
        return results, errors

    def _ending(self, rank):
        """How a process ended that has not answered."""
        self.processes[rank].join(SECONDS_AFTER_A_FAILURE)
        return f"ended with exit status {self.processes[rank].exitcode}"

    def _stack(self, rank):
        """What a process was doing when it was out of time."""
        trace = self.current / f"rank-{rank}"
        # A process that has not come as far as _serve has no file and would be ended.
        if not trace.exists():
            return f"has not begun within {self.seconds} s"
        os.kill(self.processes[rank].pid, signal.SIGUSR1)
        stack, end = "", time.monotonic() + 30
        while time.monotonic() < end:
            time.sleep(1)
            before, stack = stack, trace.read_text("utf-8")
            if stack and stack == before:
                break
        return f"has not answered; it was at\n{stack}"

    def kill(self):
        """End the processes at once; the next call of `run` starts others."""
        for process in self.processes:
            process.kill()
        self._forget()

    def _forget(self):
        for connection, process in zip(self.connections, self.processes, strict=True):
            process.join()
            connection.close()
        self.connections, self.processes = [], []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for connection in self.connections:
            with contextlib.suppress(BrokenPipeError):
                connection.send(None)
        for process in self.processes:
            process.join(20)
            process.kill()
        self._forget()
