# ===- group.py - starts ranks and collects what they measure -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The parent of the ranks. It tells them what to measure, and starts new ones
when they fail or take too long, so that one bad measurement costs only itself."""

import multiprocessing
import multiprocessing.connection
import os
import tempfile
import time

from . import report, stats

START_SECONDS = 90
UNIT_SECONDS = 60
# For the other ranks to notice that one has failed.
GRACE_SECONDS = 12
MAX_STARTS = 6


class RanksFailed(Exception):
    pass


class Ranks:
    """Processes of one start."""

    def __init__(self, ranks, config, serve):
        context = multiprocessing.get_context("spawn")
        handle, store = tempfile.mkstemp(prefix="gpu-exchange-")
        os.close(handle)
        os.unlink(store)
        self.store = store
        config = {**config, "rendezvous": f"file://{store}"}
        self.connections, self.processes = [], []
        for rank in range(ranks):
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(rank, ranks, config, there), daemon=True)
            process.start()
            there.close()
            self.connections.append(here)
            self.processes.append(process)

    def collect(self, last, seconds, on_record=None):
        """Reads messages until each rank has sent one of kind `last`. Returns
        their contents, or raises RanksFailed."""
        deadline = time.monotonic() + seconds
        open_ranks = dict(zip(self.connections, range(len(self.connections))))
        contents, problems = [None] * len(open_ranks), []
        while open_ranks:
            ready = multiprocessing.connection.wait(list(open_ranks), max(0, deadline - time.monotonic()))
            if not ready:
                missing = sorted(open_ranks.values())
                problems.append(f"no answer from ranks {missing} within {seconds} s")
                break
            for connection in ready:
                rank = open_ranks[connection]
                try:
                    kind, key, content = connection.recv()
                except (EOFError, OSError):
                    del open_ranks[connection]
                    if not any(p.startswith(f"rank {rank}:") for p in problems):
                        problems.append(f"rank {rank}: ended")
                    continue
                if kind == "record":
                    on_record(rank, key, content)
                elif kind == "error":
                    problems.append(content)
                    deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
                elif kind == last:
                    contents[rank] = content
                    del open_ranks[connection]
        if problems:
            raise RanksFailed("\n".join(problems))
        return contents

    def stop(self):
        for connection in self.connections:
            try:
                connection.send(None)
            except OSError:
                pass
        for process in self.processes:
            process.join(2)
            if process.is_alive():
                process.kill()
                process.join(10)
        for connection in self.connections:
            connection.close()
        if os.path.exists(self.store):
            os.unlink(self.store)


class Collector:
    """Brings together what ranks sent for the same key, in order."""

    def __init__(self, ranks):
        self.ranks, self.by_key = ranks, {}

    def add(self, rank, key, content):
        name = tuple(sorted(key.items(), key=str))
        self.by_key.setdefault(name, (key, [None] * self.ranks))[1][rank] = content

    def records(self):
        """Those that all ranks measured."""
        return [stats.merge(key, parts) for key, parts in self.by_key.values() if None not in parts]


def measure(units, ranks, config, serve, seconds, log=print, keep=lambda records, machine: None):
    """Runs the units; returns (records, description of the machine). `keep` is
    called with those there are after each unit."""
    end = time.monotonic() + seconds
    unit_seconds = config.get("unit_seconds", UNIT_SECONDS)
    records, machine, group, starts = [], {}, None, 0

    def failed(unit, why):
        records.append({**unit, "failed": why})
        log(f"  failed: {report.short(why)}")

    try:
        for unit in units:
            left = end - time.monotonic()
            if left < 5:
                failed(unit, f"not run: {seconds} s are over")
                continue
            if group is None:
                if starts == MAX_STARTS:
                    failed(unit, f"not run: ranks failed {MAX_STARTS} times")
                    continue
                starts += 1
                group = Ranks(ranks, config, serve)
                try:
                    machine = group.collect("ready", START_SECONDS)[0]
                except RanksFailed as error:
                    failed(unit, f"ranks did not start: {error}")
                    group.stop()
                    group = None
                    continue
            log(" ".join(f"{k}={v}" for k, v in unit.items()))
            collector = Collector(ranks)
            for connection in group.connections:
                connection.send(unit)
            try:
                group.collect("done", min(unit_seconds, max(left, 5)), collector.add)
                records += collector.records()
            except (RanksFailed, OSError) as error:
                records += collector.records()
                failed(unit, str(error))
                group.stop()
                group = None
            keep(records, machine)
    finally:
        if group is not None:
            group.stop()
    return records, machine
