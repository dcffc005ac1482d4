#===- messages.py - ops that exchange messages by NCCL -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Ops whose ranks exchange messages by NCCL: cases of test/Differential, with the
exact schedule and the padded one, and captured graphs with the padded one. Each
rank has a GPU of its own, since NCCL needs that; where there is one GPU, each of two
ranks has a host of its own, as NCCL sees it."""

from __future__ import annotations

import numpy as np

import differential
import graphs
import scenes
from artifacts import with_options
from cases import cases_of_messages, make_cases
from harness import group_cases
from pool import Failure, Pool
from program import module_text

SCHEDULES = ("exact", "padded")
RANDOM_CASES = 40  # of any number of ranks, of which most have too many
SOCKETS = {"NCCL_NET": "Socket", "NCCL_SOCKET_IFNAME": "lo"}


def num_ranks(gpus):
    return max(gpus, 2)


def environments(gpus, library):
    """What is added to the environment of each rank."""

    def of_rank(rank):
        own = {"MOE_NCCL_LIBRARY": library} if library else {}
        if gpus < 2:
            own.update(SOCKETS, NCCL_HOSTID=f"host{rank}", MOE_HOSTID=f"host{rank}")
        return own

    return of_rank


def case_members(gpus, seed, count):
    """{key: cases} of groups that have a GPU, or a host, for each rank."""
    cases = cases_of_messages(make_cases(seed, min(count, RANDOM_CASES)))
    groups = group_cases([case for case in cases if case.ranks <= num_ranks(gpus)], most=6)
    return {f"messages{gpus}_{key}": group for key, group in groups.items()}


def modules(gpus, seed, count):
    """{key: text}; the modules of cases take the schedules in turn."""
    texts = scenes.modules((num_ranks(gpus),), scenes.KINDS_OF_MESSAGES)
    for number, (key, group) in enumerate(sorted(case_members(gpus, seed, count).items())):
        texts[key] = with_options(
            module_text(group[0].ranks, [case.entry for case in group]),
            ["--transport=messages", f"--schedule={SCHEDULES[number % 2]}"],
        )
    return texts


# --- Messages that are too short --------------------------------------------- #


def keep_rows(name, case, rows):
    """Leaves no more than `rows` rows for any pair of ranks."""
    if name == "alltoallv":
        for counts in case.inputs[1].arrays:
            counts[...] = np.minimum(counts, rows)
    else:  # expert ids, or rows, of each token
        for entries in case.inputs[1].arrays:
            entries[rows // entries.shape[1]:] = -1


def fill_rows(name, case):
    """The last rank has more for the first one."""
    inputs = case.inputs[1].arrays[-1]
    if name == "alltoallv":
        inputs[...] = [scenes.ROOM + 1, *[0] * (len(inputs) - 1)]
    elif name == "combine":
        inputs[...] = -1
        inputs[: scenes.ROOM + 1, 0] = np.arange(scenes.ROOM + 1)
    else:
        inputs[...] = -1
        inputs[: scenes.ROOM + 1, 0] = 0


def check_overflow(pool, key, name, settings):
    """In a replay more rows come than a message has room for: every rank learns
    of it, and none hangs."""
    good, bad = (
        scenes.scene("tight", name, pool.group, settings.seed, number)
        for number in range(2)
    )
    for case in (good, bad):
        keep_rows(name, case, scenes.ROOM)
    fill_rows(name, bad)
    seen = graphs.capture(pool, settings, key, name, [good, bad, good])
    graphs.check_replays([good], [steps[:1] for steps in seen])
    for rank, steps in enumerate(seen):
        if len(steps) != 2 or steps[1][0] != "status":
            raise Failure(f"rank {rank}: {[step[0] for step in steps]}")
    codes = [steps[1][1] for steps in seen]
    if "CAPACITY_EXCEEDED" not in codes:
        raise Failure(f"no rank reports too many rows: {seen}")
    text = seen[codes.index("CAPACITY_EXCEEDED")][1][2]
    if f"{scenes.ROOM + 1}" not in text or "pair capacity" not in text:
        raise Failure(f"an error that does not say how many: {text}")
    pool.all("reset")
    graphs.check_replays([good], graphs.capture(pool, settings, key, name, [good]))


def run_overflows(report, settings, artifacts, environment):
    ranks, pool = num_ranks(settings.gpus), None
    key = f"tight{ranks}"
    for name in scenes.TIGHT_SCENES:

        def test():
            nonlocal pool
            if pool is None or not pool.alive:
                pool = Pool(settings, ranks, environment=environment)
                pool.join(ranks, settings.timeout)
                pool.all("load", key, str(artifacts.path(key)), seconds=120)
            check_overflow(pool, key, name, settings)

        if not report.test(f"nccl/overflow/{name}", test) and pool and pool.alive:
            pool.kill()
    if pool and pool.alive:
        with pool:
            pool.leave()


def run(report, settings, artifacts, library):
    environment, ranks = environments(settings.gpus, library), num_ranks(settings.gpus)
    members = case_members(settings.gpus, settings.seed, settings.cases)
    session = differential.Session(settings, ranks, environment)
    differential.run_cases(
        report, settings, artifacts, members, session, "nccl/differential"
    )
    graphs.run_group(
        report, settings, artifacts, ranks, "padded", "nccl/graphs", environment
    )
    run_overflows(report, settings, artifacts, environment)
