#===- faults.py - bad input, missing ranks, dying ranks -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Every fault ends in an error on every rank, never in a hang, and leaves
processes that can go on or end in good order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time

import numpy as np

import scenes
from differential import call, check_results
from moe_run import ANSWER_SECONDS, children, send_arguments
from pool import Failure, Pool
from report import Skip

GiB = 1 << 30


def patience(settings):
    """Seconds for waits that are in vain. Good calls come before and after them, and
    a processor takes seconds for what takes a GPU microseconds."""
    return 2.0 if settings.target == "cuda" and not settings.stand_in else 8.0


class Group:
    """A pool whose ranks have called everything of a module once."""

    def __init__(self, settings, artifacts, ranks, timeout=None, reserve=0,
                 environment=None, kind="faults"):
        self.settings, self.ranks, self.kind = settings, ranks, kind
        self.key = f"{kind}{ranks}"
        self.pool = Pool(settings, ranks, environment=environment)
        self.pool.join(
            ranks, settings.timeout if timeout is None else timeout, reserve
        )
        self.pool.all("load", self.key, str(artifacts.path(self.key)), seconds=120)
        self.number = 0
        for name in scenes.FEW_SCENES if kind == "few" else scenes.FAULT_SCENES:
            self.check_good(name)

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        if kind is None and self.pool.alive:
            self.pool.leave()
        self.pool.__exit__(kind, *rest)

    def case(self, name):
        self.number += 1
        return scenes.scene(
            self.kind, name, self.ranks, self.settings.seed, self.number
        )

    def check_good(self, name="send", way="host"):
        case = self.case(name)
        answers = call(self.pool, self.key, case, way, ANSWER_SECONDS)
        for rank, answer in enumerate(answers):
            if not answer.ok:
                raise Failure(f"{name}: rank {rank}: {answer}")
        check_results(case, case.expected(), [a.value for a in answers])

    def start(self, rank, case, times=1, **more):
        self.pool.send(
            rank, "call", self.key, case.entry.name,
            scenes.tensors(case, rank), times, **more,
        )

    def collect(self, ranks, what, **more):
        return dict(zip(
            ranks, self.pool.collect(ranks, ANSWER_SECONDS, what, **more)
        ))


def expect(answers, codes, *words):
    """Every answer is an error of one of `codes` that has all `words`."""
    for rank, answer in answers.items():
        if answer.ok or answer.code not in codes:
            raise Failure(f"rank {rank}: expected {codes}, but: {answer}")
        for word in words:
            if not re.search(word, answer.text):
                raise Failure(f"rank {rank}: no /{word}/ in: {answer}")


def bad_input(settings, artifacts, ranks, way):
    """Origin, reports of the others, reset, and right results again."""
    with Group(settings, artifacts, ranks) as group:
        case = group.case("send")
        victim = ranks - 1
        case.inputs[1].arrays[victim][2, 0] = 77
        answers = dict(enumerate(
            call(group.pool, group.key, case, way, ANSWER_SECONDS)
        ))
        expect(answers, ("INVALID_EXPERT", "PEER_FAILED"), rf"rank {victim}\b",
               "moe.dispatch", "phase '", "expert id", r"\b77\b")
        if answers[victim].code != "INVALID_EXPERT":
            raise Failure(f"rank {victim} does not own its error: {answers}")
        failed = group.pool.all("failed_rank")
        if failed != [victim] * ranks:
            raise Failure(f"the rank that failed is {failed}, not {victim}")
        # The group refuses calls until it is reset.
        refused = dict(enumerate(
            call(group.pool, group.key, group.case("send"), way, ANSWER_SECONDS)
        ))
        expect(refused, ("INVALID_EXPERT", "PEER_FAILED"))
        group.pool.all("reset")
        group.check_good("send", way)
        group.check_good("other", way)


def capacity(settings, artifacts, ranks, way):
    with Group(settings, artifacts, ranks) as group:
        case = group.case("tight")
        for array in case.inputs[1].arrays:
            array[:, 0] = 0  # all tokens to rank 0
        limit = case.inputs[1].arrays[0].shape[0]
        answers = dict(enumerate(
            call(group.pool, group.key, case, way, ANSWER_SECONDS)
        ))
        expect(answers, ("CAPACITY_EXCEEDED", "PEER_FAILED"), r"\brank 0\b",
               "moe.dispatch", rf"\b{limit}\b", rf"\b{limit * ranks}\b")
        group.pool.all("reset")
        group.check_good("tight", way)


def never_arrives(settings, artifacts, ranks, way, kind="faults", name="send",
                  op="moe.dispatch"):
    """One rank stays away: bounded waits, and every rank has the story."""
    with Group(
        settings, artifacts, ranks, patience(settings), kind=kind
    ) as group:
        absent = 1 % ranks
        present = [r for r in range(ranks) if r != absent]
        case = group.case(name)
        for rank in present:
            group.pool.send(
                rank, "launch" if way == "stream" else "call", group.key,
                name, scenes.tensors(case, rank),
            )
        answers = group.collect(present, "a call that rank 1 does not make")
        expect(answers, ("TIMEOUT", "PEER_FAILED"), op, "phase '",
               rf"\brank {absent}\b", "expected", "seen")
        if not any(a.code == "TIMEOUT" for a in answers.values()):
            raise Failure(f"nobody's time was up: {answers}")
        # The late rank is told as well, and need not wait for it.
        group.start(absent, case)
        late = group.collect([absent], "the call of the late rank")
        expect(late, ("PEER_FAILED",), op, "phase '",
               rf"\brank {absent}\b")


def rows_never_put(settings, artifacts, ranks):
    """A rank that pushes rows of a combine does not know of some (combine_s5):
    who waits for them, or for a rank that does, has its time up, while other
    rows go on. Then all is well again."""
    if settings.target != "cuda":
        raise Skip("the host waits for ranks, not for single rows")
    with Group(settings, artifacts, ranks, patience(settings)) as group:
        case = group.case("back")
        holder = ranks - 1
        counts = case.inputs[3].arrays[holder]  # n_tokens_from_rank
        waiting = int(np.argmax(counts[:holder]))
        if counts[waiting] == 0:
            raise Failure(f"rank {holder} has no rows of others: {counts}")
        counts[waiting] = 0
        answers = dict(enumerate(
            call(group.pool, group.key, case, "host", ANSWER_SECONDS)
        ))
        expect(answers, ("TIMEOUT", "PEER_FAILED"), "moe.combine",
               "phase '(reduce|release)'", "timed out", r"waiting for rank \d",
               "expected", "seen")
        if not any(a.code == "TIMEOUT" for a in answers.values()):
            raise Failure(f"nobody's time was up: {answers}")
        group.pool.all("reset")
        group.check_good("back")
        group.check_good("send")


def never_asks(settings, artifacts, ranks):
    """A rank that adds up rows for others, and puts their sums, is not told for
    whom: none is put, and all is well after a reset."""
    never_arrives(settings, artifacts, ranks, "host", name="asked",
                  op="moe.combine")
    with Group(settings, artifacts, ranks) as group:
        case = group.case("asked")
        rows = case.inputs[1].arrays[ranks - 1]  # send_row
        rows[np.unravel_index(np.argmax(rows), rows.shape)] = 2**30
        answers = dict(enumerate(
            call(group.pool, group.key, case, "host", ANSWER_SECONDS)
        ))
        expect(answers, ("INVALID_COUNT", "PEER_FAILED"), "moe.combine",
               "send_row", rf"\b{2**30}\b")
        group.pool.all("reset")
        group.check_good("asked")
        group.check_good("back")


def never_arrives_among_blocks(settings, artifacts, ranks):
    """The rank is named, not the blocks that wait for each other."""
    if settings.target == "cuda":
        path = artifacts.path(f"few{ranks}")
        if b".maxntid 64" not in path.read_bytes():
            raise Failure(f"the kernels of {path.name} have other blocks")
    never_arrives(settings, artifacts, ranks, "host", "few", "many")


def never_arrives_where_rows_expand(settings, artifacts, ranks):
    """Nobody waits for rows of a rank that has not come."""
    never_arrives(settings, artifacts, ranks, "host", name="expand")


def never_arrives_then_reset(settings, artifacts, ranks):
    with Group(settings, artifacts, ranks, patience(settings)) as group:
        case = group.case("send")
        for rank in range(1, ranks):
            group.start(rank, case)
        expect(group.collect(range(1, ranks), "a call without rank 0"),
               ("TIMEOUT", "PEER_FAILED"), r"\brank 0\b")
        group.pool.all("reset")
        group.check_good()


def killed(settings, artifacts, ranks):
    """A process dies in the middle of calls."""
    group = Group(settings, artifacts, ranks)
    pool, victim = group.pool, ranks - 1
    rest = [r for r in range(ranks) if r != victim]
    try:
        case = group.case("send")
        for rank in range(ranks):
            group.start(rank, case, times=10_000_000, drop=True)
        time.sleep(0.5)
        os.kill(pool.pids[victim], signal.SIGKILL)
        answers = group.collect(range(ranks), "calls of a group that loses a rank",
                                may_die=[victim])
        if answers.pop(victim) is not None:
            raise Failure("the killed rank answered")
        expect(answers, ("PEER_FAILED", "TIMEOUT"), rf"\brank {victim}\b")
        for rank in rest:
            pool.send(rank, "end")
        pool.collect(rest, ANSWER_SECONDS, "the end")
        codes = [pool.processes[r].wait(ANSWER_SECONDS) for r in rest]
        if any(codes):
            raise Failure(f"the other ranks ended with {codes}\n{pool.output()}")
    finally:
        pool.kill()


def different_calls(settings, artifacts, ranks):
    with Group(settings, artifacts, ranks) as group:
        for rank in range(ranks):
            group.start(rank, group.case("send" if rank else "other"))
        answers = group.collect(range(ranks), "different calls")
        expect(answers, ("COLLECTIVE_MISMATCH", "PEER_FAILED"),
               "moe.dispatch|moe.alltoallv|entry")
        if not any(a.code == "COLLECTIVE_MISMATCH" for a in answers.values()):
            raise Failure(f"nobody saw the difference: {answers}")
        group.pool.all("reset")
        group.check_good()


def too_little_memory(settings, artifacts, ranks):
    """More than there is, of addresses and of memory; the group goes on."""
    with Group(settings, artifacts, ranks, reserve=1024 * GiB) as group:
        for size in (1 << 45, 512 * GiB):
            answers = dict(enumerate(
                group.pool.ask("symm_alloc", [(size,)] * ranks, ANSWER_SECONDS)
            ))
            expect(answers, ("OUT_OF_MEMORY", "PEER_FAILED"), r"\d{6,}|[GMT]iB")
            if not any(a.code == "OUT_OF_MEMORY" for a in answers.values()):
                raise Failure(f"no rank was out of memory: {answers}")
        addresses = group.pool.all("symm_alloc", 1 << 20)
        group.pool.ask("symm_free", [(a,) for a in addresses])
        group.check_good()


def full_device(settings, artifacts, ranks):
    """Another user of the GPU has taken nearly everything."""
    if settings.target != "cuda":
        raise Skip("a matter of GPUs")
    with Group(settings, artifacts, ranks, reserve=64 * GiB) as group:
        group.pool.all("hog", 256 << 20, seconds=60)
        answers = dict(enumerate(
            group.pool.ask("symm_alloc", [(4 * GiB,)] * ranks, ANSWER_SECONDS)
        ))
        expect(answers, ("OUT_OF_MEMORY", "PEER_FAILED"))
        group.check_good()  # what it has is enough for small calls
        group.pool.all("free_buffers")
        addresses = group.pool.all("symm_alloc", 4 * GiB)
        group.pool.ask("symm_free", [(a,) for a in addresses])
        group.check_good()


def killed_in_moe_run(settings, artifacts, ranks):
    args = send_arguments(settings, artifacts, ranks, settings.work / "in")
    process = subprocess.Popen(
        [str(settings.bin / "moe-run"), *args, "--bench", "1000000",
         "--timeout", "20"],
        cwd=settings.work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )
    try:
        end = time.monotonic() + ANSWER_SECONDS
        while (len(children(process.pid)) < ranks and process.poll() is None
               and time.monotonic() < end):
            time.sleep(0.05)
        # Time to get going; the test holds at any point.
        time.sleep(4 if settings.target == "cuda" else 1)
        ranks_of = children(process.pid)
        if len(ranks_of) != ranks:
            process.kill()
            raise Failure(
                f"moe-run has {len(ranks_of)} ranks, not {ranks}\n"
                f"{process.communicate()[1]}"
            )
        os.kill(ranks_of[-1], signal.SIGKILL)
        _, err = process.communicate(timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failure("moe-run goes on without a rank") from None
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    if process.returncode != 1 or "killed by signal 9" not in err:
        raise Failure(f"exit code {process.returncode}\n{err[:4000]}")


def run(report, settings, artifacts):
    cuda = settings.target == "cuda"
    ways = ("host", "stream") if cuda else ("host",)
    for ranks in scenes.group_sizes(settings.gpus):
        for test in (bad_input, capacity, never_arrives):
            for way in ways:
                report.test(
                    f"faults/{ranks}/{test.__name__}/{way}", test, settings,
                    artifacts, ranks, way,
                )
        for test in (never_arrives_among_blocks,
                     never_arrives_where_rows_expand, never_arrives_then_reset,
                     rows_never_put, never_asks, killed, different_calls):
            report.test(
                f"faults/{ranks}/{test.__name__}", test, settings, artifacts,
                ranks,
            )
    for test in (too_little_memory, full_device, killed_in_moe_run):
        report.test(
            f"faults/{test.__name__}", test, settings, artifacts, settings.gpus
        )
