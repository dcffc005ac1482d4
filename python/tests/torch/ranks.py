# ===- ranks.py - two processes that run what tests ask for -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Processes of torch.distributed that run functions of test modules.

Importing torch takes seconds, so they are started once. A function is named by its
module and name, and gets the group of its rank; what it returns or raises comes back.
"""

from __future__ import annotations

import importlib
import multiprocessing
import pathlib
import sys
import traceback

SECONDS = 120


def _serve(rank, size, store, connection):
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import torch
    import torch.distributed as dist

    import moe_mlir as moe

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
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
    def __init__(self, size, store, context=None):
        context = context or multiprocessing.get_context("spawn")
        self.connections, self.processes = [], []
        for rank in range(size):
            here, there = context.Pipe()
            process = context.Process(
                target=_serve, args=(rank, size, store, there), daemon=True, name=f"rank {rank}"
            )
            process.start()
            there.close()
            self.connections.append(here)
            self.processes.append(process)

    def run(self, function, *arguments):
        """What the ranks return, in rank order."""
        for connection in self.connections:
            connection.send((function.__module__, function.__name__, arguments))
        results, errors = [], []
        for rank, connection in enumerate(self.connections):
            if not connection.poll(SECONDS):
                raise TimeoutError(f"rank {rank} has not answered within {SECONDS} s")
            is_done, value = connection.recv()
            (results if is_done else errors).append(value if is_done else f"rank {rank}: {value}")
        assert not errors, "\n".join(errors)
        return results

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for connection in self.connections:
            connection.send(None)
        for process in self.processes:
            process.join(20)
            if process.is_alive():
                process.kill()
                process.join()
