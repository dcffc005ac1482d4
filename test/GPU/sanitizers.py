#===- sanitizers.py - kernels under compute-sanitizer -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""All ranks of a group are processes under compute-sanitizer; every scene runs
once, its results are compared, and the tool's summary has to be clean. Each kind
of scenes has a group, and so a summary, of its own."""

from __future__ import annotations

import re
import shutil

import scenes
from differential import call, check_results
from pool import Failure, Pool
from report import Skip

TOOLS = {
    "memcheck": r"ERROR SUMMARY: (\d+) errors?",
    "racecheck": r"RACECHECK SUMMARY: (\d+) hazards?",
}
# The runtime finds out by trying which kinds of handles there are.
OPTIONS = {"memcheck": ["--report-api-errors", "no"], "racecheck": []}
# A kernel is many times slower, and its peers wait for it.
TIMEOUT = 120.0
SCENES = {
    "graphs": (
        "dispatch_rank_major", "dispatch_expert_major", "dispatch_slab",
        "round_trip_rank_major", "round_trip_expert_major", "round_trip_slab",
        "weighted", "round_trip_f8", "reuse", "compute", "alltoallv",
        "long_rows", "lists_rank_major", "lists_slab",
    ),
    "bulk": tuple(scenes.BULK_SCENES),
    "tickets": tuple(scenes.TICKET_SCENES),
    "push": tuple(scenes.PUSH_SCENES),
    "expand": tuple(scenes.EXPAND_SCENES),
    "lists": tuple(scenes.LISTS_SCENES),
}
# racecheck does not take a wait for an mbarrier as an order between subgroups, as
# soon as a stage is filled again (docs/Testing.md): combines with bulk copies are
# left to memcheck.
RACECHECK_SCENES = {
    **SCENES,
    "bulk": ("dispatch_rank_major", "dispatch_expert_major", "dispatch_slab"),
}


def find():
    path = shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path="/usr/local/cuda/bin"
    )
    if not path:
        raise Skip("no compute-sanitizer here or in /usr/local/cuda/bin")
    return path


def check_log(tool, path):
    text = path.read_text(errors="replace") if path.is_file() else ""
    summary = re.findall(TOOLS[tool], text)
    if len(summary) != 1:
        raise Failure(f"{tool} wrote no summary to {path.name}:\n{text[:4000]}")
    if summary[0] != "0":
        raise Failure(f"{path.name}:\n{text[:6000]}")


def run_tool(report, settings, artifacts, tool, kind, ranks):
    key = f"{kind}{ranks}"
    name = f"sanitizers/{tool}/{ranks if kind == 'graphs' else key}"
    if not report.wants(name):
        return
    prefix = [
        find(), "--tool", tool, *OPTIONS[tool], "--target-processes", "all",
        "--log-file",
        str(settings.work / f"{tool}.{key}.%RANK%.log"),
    ]
    pool = Pool(settings, ranks, prefix)

    def start():
        pool.join(ranks, TIMEOUT)
        pool.all("load", key, str(artifacts.path(key)), seconds=TIMEOUT)

    if not report.test(f"{name}/start", start):
        pool.kill()
        return
    known = RACECHECK_SCENES if tool == "racecheck" else SCENES
    for scene in known[kind]:

        def test():
            scenes.check_purpose(kind, scene, artifacts.path(key))
            case = scenes.scene(kind, scene, ranks, settings.seed, 0)
            answers = call(pool, key, case, "device", TIMEOUT)
            for rank, answer in enumerate(answers):
                if not answer.ok:
                    raise Failure(f"rank {rank}: {answer}")
            check_results(case, case.expected(), [a.value for a in answers])

        if not report.test(f"{name}/{scene}", test) and not pool.alive:
            return

    def end():
        with pool:
            pool.leave()

    report.test(f"{name}/end", end)
    for rank in range(ranks):
        path = settings.work / f"{tool}.{key}.{rank}.log"
        report.test(f"{name}/rank{rank}", check_log, tool, path)


def run(report, settings, artifacts):
    if settings.target != "cuda":
        raise Skip("compute-sanitizer is for GPUs")
    if settings.stand_in:
        raise Skip("compute-sanitizer is for GPUs, and this is a stand-in")
    for tool in TOOLS:
        for kind in SCENES:
            run_tool(report, settings, artifacts, tool, kind, settings.gpus)
