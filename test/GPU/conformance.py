#===- conformance.py - the runtime's conformance suite -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Runs moe-runtime-cts-<backend>; each of its tests counts as one.

Starting a process that uses a GPU takes seconds, so nearly all tests run in one
pool of rank processes. Those whose ranks die run after them, without it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time

import nccl
from pool import Failure

SECONDS = 300  # for each of the two
LIST_SECONDS = 20
POOL = "--rank_pool"
# What a rank prints that lacks something, and what gtest prints of a skipped test.
REASON = re.compile(r"^skipped: (.+)$", re.M)
SKIPPED = re.compile(r": Skipped\n(.+)$", re.M)
# A line that gtest prints when a test ends.
ENDED = re.compile(r"^\[ +(OK|FAILED) +\] ([\w/]+\.[\w/]+) \(\d+ ms\)", re.M)


def gtest_filter(words):
    """Of the words of --only, those that name tests of this suite."""
    names = [word.partition("/")[2] for word in words if word.startswith("conformance/")]
    return ":".join(f"*{name}*" for name in names) or "*"


def list_tests(program, tests, *flags):
    """The names of the tests that a run with these flags would have."""
    result = subprocess.run(
        [str(program), "--gtest_list_tests", f"--gtest_filter={tests}", *flags],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=LIST_SECONDS,
    )
    if result.returncode:
        raise Failure(f"{program} does not list its tests\n{result.stdout}")
    names, suite = [], ""
    for line in result.stdout.splitlines():
        name = line.partition("#")[0].rstrip()
        if not line.startswith(" "):
            suite = name
        elif suite.endswith("."):
            names.append(suite + name.strip())
    return names


class Run:
    """One run of the program."""

    def __init__(self, settings, program, name, tests, *flags):
        self.name = name
        self.result = settings.work / f"conformance.{name}.json"
        self.log = open(settings.work / f"conformance.{name}.log", "w+b")
        self.process = subprocess.Popen(
            [str(program), f"--gtest_output=json:{self.result}", *flags],
            env={**os.environ,
                 "GTEST_FILTER": tests,
                 "MOE_TEST_ARTIFACT_DIR": str(settings.test_artifacts),
                 # Exchanges of more ranks than GPUs are skipped.
                 "MOE_NCCL_LIBRARY": nccl.find_library(settings)},
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
        )
        self.deadline = time.monotonic() + SECONDS

    def text(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def output(self):
        return self.text()[-6000:]

    def finish(self):
        """Waits for the run; what went wrong with it as a whole, or None."""
        try:
            code = self.process.wait(max(0.1, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            # Its ranks die with it.
            self.process.kill()
            self.process.wait()
            return f"did not end within {SECONDS} s\n{self.output()}"
        if not self.result.is_file():
            return f"exit code {code}\n{self.output()}"
        return None


def skip_reason(text, name):
    """Why a test was skipped: what gtest or one of its ranks printed."""
    part = text.partition(f"[ RUN      ] {name}\n")[2].partition("[  SKIPPED ]")[0]
    found = REASON.search(part) or SKIPPED.search(part)
    return found.group(1) if found else "see its output"


def add_results(report, run):
    """Adds the tests of a run; whether one failed."""
    failed, text = False, run.text()
    for suite in json.loads(run.result.read_text())["testsuites"]:
        for test in suite["testsuite"]:
            if test["status"] != "RUN":
                continue
            own_name = f"{suite['name']}.{test['name']}"
            name = f"conformance/{own_name}"
            failures = "\n".join(f["failure"] for f in test.get("failures", ()))
            if failures:
                failed = True
                report.add(name, failures)
            elif test["result"] == "SKIPPED":
                report.add(name, skip=skip_reason(text, own_name))
            else:
                report.add(name)
    return failed


def add_ended(report, run):
    """Adds the tests of a run that did not come to its end."""
    for result, name in ENDED.findall(run.text()):
        report.add(f"conformance/{name}",
                   None if result == "OK" else "see the output of the run")


def add_run(report, run):
    error = run.finish()
    if error is None and not add_results(report, run):
        if run.process.returncode:
            error = f"exit code {run.process.returncode}\n{run.output()}"
    if error:
        if not run.result.is_file():
            add_ended(report, run)
        report.add(f"conformance/{run.name}", error)
    run.log.close()


def run(report, settings):
    program = settings.bin / f"moe-runtime-cts-{settings.target}"
    if not os.access(program, os.X_OK):
        raise Failure(f"{program} is missing")
    tests = gtest_filter(report.only)
    pooled = list_tests(program, tests, POOL)
    others = [name for name in list_tests(program, tests) if name not in pooled]
    if pooled:
        add_run(report, Run(settings, program, "pool", tests, POOL))
    if others:
        add_run(report, Run(settings, program, "processes", ":".join(others)))
