#===- graphs.py - captured launches, replayed with changed inputs -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""One launch is captured per rank; its graph is replayed with other contents of
the inputs, several times each, and all results compared with the oracle."""

from __future__ import annotations

import scenes
from differential import check_results
from pool import Failure, Pool
from report import Skip



def rounds(settings):
    """How many sets of inputs a graph gets, and how often it is replayed with
    each. What takes a GPU microseconds takes the stand-in seconds: there it is
    two, the fewest with which both inputs and replays follow others."""
    return (2, 2) if settings.stand_in else (4, 3)


def capture(pool, settings, key, name, cases, into=False):
    """Per rank, what it saw after each set of inputs. With `into` the graph
    writes to memory that the ranks give."""
    replays = rounds(settings)[1]
    per_rank = [
        (key, name, [scenes.tensors(case, rank) for case in cases], replays, into)
        for rank in range(pool.group)
    ]
    answers = pool.ask("capture", per_rank, 300 if settings.stand_in else 60)
    for rank, answer in enumerate(answers):
        if not answer.ok:
            raise Failure(f"rank {rank}: {answer}")
    return [answer.value for answer in answers]


def check_replays(cases, seen):
    for number, case in enumerate(cases):
        values = []
        for rank, steps in enumerate(seen):
            if steps[number][0] != "done":
                raise Failure(f"inputs {number}, rank {rank}: {steps[number]}")
            values.append(steps[number][1])
        try:
            check_results(case, case.expected(), values)
        except Failure as failure:
            raise Failure(f"inputs {number}: {failure}") from None


def check_error_in_replay(pool, settings, key, good, bad):
    """A replay meets bad input: every rank learns of it, no rank hangs."""
    seen = capture(pool, settings, key, "dispatch_rank_major", [good, bad, good])
    for rank, steps in enumerate(seen):
        if len(steps) != 2 or steps[0][0] != "done" or steps[1][0] != "status":
            raise Failure(f"rank {rank}: {[step[0] for step in steps]}")
    codes = [steps[1][1] for steps in seen]
    if "INVALID_EXPERT" not in codes:
        raise Failure(f"no rank reports the bad expert: {seen}")
    for rank, steps in enumerate(seen):
        if "moe.dispatch" not in steps[1][2]:
            raise Failure(f"rank {rank}: no op in {steps[1]}")
    pool.all("reset")
    # Eager calls work again.
    again = capture(pool, settings, key, "dispatch_rank_major", [good])
    check_replays([good], again)


def run(report, settings, artifacts):
    if settings.target != "cuda":
        raise Skip("graphs are a matter of GPUs")
    for ranks in scenes.group_sizes(settings.gpus):
        for kind in ("graphs", *scenes.PURPOSES):
            run_group(report, settings, artifacts, ranks, kind)
    run_group(report, settings, artifacts, settings.gpus, "cubin")


def check_assembled(settings, path):
    """Kernels that were assembled before are for one kind of chip."""
    if settings.stand_in:
        raise Skip("the stand-in driver interprets PTX, not machine code")
    if settings.capability != 9:
        raise Skip(f"they are for sm_90, and here is sm_{settings.capability}0")
    if b".target sm_" in path.read_bytes():
        raise Failure(f"{path.name} has PTX")


def run_group(report, settings, artifacts, ranks, kind, place=None, environment=None):
    """The scenes of a kind, and with the usual ones "error"."""
    key = f"{kind}{ranks}"
    names, place = [*scenes.MODULES[kind][0]], place or f"graphs/{key}"
    if kind == "graphs":
        names, place = [*names, "error"], f"graphs/{ranks}"
    pool = None
    for name in names:

        def test():
            nonlocal pool
            path = artifacts.path(key)
            if kind == "cubin":
                check_assembled(settings, path)
            scenes.check_purpose(kind, name, path)
            if pool is None or not pool.alive:
                pool = Pool(settings, ranks, environment=environment)
                pool.join(ranks, settings.timeout)
                pool.all("load", key, str(path), seconds=120)
            if name == "error":
                good, bad = (
                    scenes.scene(
                        kind, "dispatch_rank_major", ranks, settings.seed,
                        number,
                    )
                    for number in range(2)
                )
                bad.inputs[1].arrays[ranks - 1][3, 1] = 1000
                check_error_in_replay(pool, settings, key, good, bad)
                return
            cases = [
                scenes.scene(kind, name, ranks, settings.seed, number)
                for number in range(rounds(settings)[0])
            ]
            check_replays(cases, capture(pool, settings, key, name, cases))
            if kind == "graphs":
                given = capture(pool, settings, key, name, cases, into=True)
                check_replays(cases, given)

        if not report.test(f"{place}/{name}", test) and pool:
            if pool.alive:
                pool.kill()

    def end():
        if pool and pool.alive:
            with pool:
                pool.leave()

    if pool:
        report.test(f"{place}/end", end)
