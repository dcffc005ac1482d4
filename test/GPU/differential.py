#===- differential.py - the cases of the differential test on ranks that stay alive -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""The same cases as test/Differential, each called in one of three ways: with
inputs in host memory, with inputs on the device, through a stream. On GPUs also
those whose size brings something about in kernels. The kernels of these, and of
every other module, have a shape that is drawn: few blocks, few threads, rows by
stores or by bulk copies."""

from __future__ import annotations

import random
import shutil

import scenes
from artifacts import with_options
from harness import Modules, Run, check_refusals, compare, group_cases, line_of
from harness import Failure as HarnessFailure
from cases import make_cases, share_of
from kernels import make_kernel_cases, shape_options
from oracle import SpecifiedError
from pool import Failure, Pool
from program import module_text

MOST_RANKS = 8
WAYS = ("host", "device", "stream")
# What moe-run is tried with.
TOOL_CASES = [f"fixed_{name}" for name in (
    "dispatch_bf16", "combine_f8E4M3FN", "round_trip_rank_major",
    "round_trip_slab", "weighted_expert_major", "reuse_slab",
    "two_dispatches_rank_major", "compute_expert_major",
    "alltoallv_default", "bad_expert_high", "bad_capacity", "bad_count_sum",
)]


def case_modules(seed, count, target, share=1):
    """{key: cases}, {key: text} of one in `share` of the fixed cases."""
    cases = (make_kernel_cases if target == "cuda" else make_cases)(seed, count)
    cases = share_of(cases, seed, share, always=TOOL_CASES)
    members = group_cases([case for case in cases if not is_of_kernels(case)])
    own = [c for c in cases if is_of_kernels(c) and c.ranks <= MOST_RANKS]
    for key, group in group_cases(own, most=2).items():
        members[f"kernels_{key}"] = group
    texts = {
        key: module_text(group[0].ranks, [case.entry for case in group])
        for key, group in members.items()
    }
    if target == "cuda":
        for number, (key, group) in enumerate(sorted(members.items())):
            if number % 2 or is_of_kernels(group[0]):
                lot = random.Random(f"{seed} {key}")
                texts[key] = with_options(texts[key], shape_options(lot))
    return members, texts


def is_of_kernels(case):
    return case.name.startswith("fixed_kernel_")


def call(pool, key, case, way, seconds=60):
    times = max(1, case.bench)
    per_rank = [
        (key, case.entry.name, scenes.tensors(case, rank), times)
        for rank in range(case.ranks)
    ]
    if way == "stream":
        return pool.ask("launch", per_rank, seconds)
    return pool.ask("call", per_rank, seconds, on_device=way == "device")


def check_results(case, expected, values):
    """`values`: per rank, the results as tensors."""
    for rank, results in enumerate(values):
        for value, data, tensor in zip(case.entry.returned, expected, results):
            try:
                compare(
                    f"%{value.name} of rank {rank}", scenes.array(tensor), data,
                    rank,
                )
            except HarnessFailure as failure:
                raise Failure(str(failure)) from None


def check_case(pool, key, text, case, way):
    try:
        expected = case.expected("--schedule=exact" in text)
    except SpecifiedError as error:
        answers = call(pool, key, case, way)
        again = call(pool, key, case, way)
        place = f"{key}.mlir:{line_of(text, case)}:"
        try:
            check_refusals(case, error, answers, again, place)
        except HarnessFailure as failure:
            raise Failure(str(failure)) from None
        finally:
            pool.all("reset")
        return
    answers = call(pool, key, case, way)
    bad = [f"rank {r}: {a}" for r, a in enumerate(answers) if not a.ok]
    if bad:
        raise Failure("\n".join(bad))
    check_results(case, expected, [answer.value for answer in answers])


class Session:
    """A pool that is made anew when a failure has ended it."""

    def __init__(self, settings, size, environment=None):
        self.settings, self.size, self.pool = settings, size, None
        self.environment = environment

    def group(self, ranks):
        if self.pool and self.pool.alive and self.pool.group == ranks:
            return self.pool
        if self.pool and self.pool.alive:
            if self.pool.group:
                self.pool.leave()
        else:
            self.pool = Pool(self.settings, self.size, environment=self.environment)
        self.pool.join(ranks, self.settings.timeout)
        self.loaded = None
        return self.pool

    def module(self, ranks, key, path):
        """The pool with the module loaded, and only that one."""
        pool = self.group(ranks)
        if self.loaded != key:
            if self.loaded:
                pool.all("unload", self.loaded)
            self.loaded = None
            pool.all("load", key, str(path), seconds=120)
            self.loaded = key
        return pool

    def recover(self):
        """After a failed test, a fresh group: what is left may be anything."""
        if self.pool and self.pool.alive:
            self.pool.kill()

    def close(self):
        if self.pool and self.pool.alive:
            with self.pool as pool:
                if pool.group:
                    pool.leave()


def run(report, settings, artifacts, members):
    session = Session(settings, MOST_RANKS)
    run_cases(report, settings, artifacts, members, session, "differential")


def run_cases(report, settings, artifacts, members, session, place):
    ways = WAYS if settings.target == "cuda" else WAYS[:1]
    number = 0
    for key, group in sorted(members.items()):
        for case in group:
            way = ways[number % len(ways)]
            number += 1

            def test():
                pool = session.module(case.ranks, key, artifacts.path(key))
                check_case(pool, key, artifacts.texts[key], case, way)

            name = f"{place}/{case.name}/{way}"
            if not report.test(name, test):
                session.recover()
    report.test(f"{place}/end", session.close)


# --- moe-run ---------------------------------------------------------------- #


def run_tool(report, settings, artifacts, members):
    """A dozen of them through moe-run, in processes of its own."""
    folder = settings.work / "moe-run"
    folder.mkdir()
    cases = {
        case.name: case for group in members.values() for case in group
        if not is_of_kernels(case)
    }
    modules = Modules(settings.bin, folder, cases.values(), settings.target)
    for name in TOOL_CASES:
        case = cases[name]

        def test():
            key = modules.module_of[name]
            if key not in modules.compiled:
                shutil.copy(artifacts.path(key), folder / f"{key}.so")
                modules.compiled[key] = artifacts.texts[key], None
            try:
                Run(modules, case).check()
            except HarnessFailure as failure:
                raise Failure(str(failure)) from None

        report.test(f"moe-run/{name}", test)
