#===- conformance.py - the runtime's conformance suite -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Runs moe-runtime-cts-<backend>; each of its tests counts as one.

On a GPU nearly all of its time goes into starting processes, so that several
shards run at the same time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time

from pool import Failure

SECONDS = 300
# A test starts up to eight ranks, each with a context on a GPU.
CORES_PER_SHARD = 4
MOST_SHARDS = 8
# A line that gtest prints when a test ends.
ENDED = re.compile(r"^\[ +(OK|FAILED) +\] ([\w/]+\.[\w/]+) \(\d+ ms\)", re.M)


def gtest_filter(words):
    """Of the words of --only, those that name tests of this suite."""
    names = [word.partition("/")[2] for word in words if word.startswith("conformance/")]
    return ":".join(f"*{name}*" for name in names) or "*"


class Shard:
    def __init__(self, settings, program, index, count, tests):
        self.index = index
        self.result = settings.work / f"conformance.{index}.json"
        self.log = open(settings.work / f"conformance.{index}.log", "w+b")
        self.process = subprocess.Popen(
            [str(program), f"--gtest_output=json:{self.result}"],
            env={**os.environ,
                 "GTEST_TOTAL_SHARDS": str(count),
                 "GTEST_SHARD_INDEX": str(index),
                 "GTEST_FILTER": tests,
                 "MOE_TEST_ARTIFACT_DIR": str(settings.test_artifacts)},
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
        )

    def text(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def output(self):
        return self.text()[-6000:]

    def finish(self, deadline):
        """Waits for the shard; what went wrong with it as a whole, or None."""
        try:
            code = self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return f"did not end within {SECONDS} s\n{self.output()}"
        if not self.result.is_file():
            return f"exit code {code}\n{self.output()}"
        return None


def add_results(report, shard):
    """Adds the tests of a shard; whether one failed."""
    failed = False
    for suite in json.loads(shard.result.read_text())["testsuites"]:
        for test in suite["testsuite"]:
            if test["status"] != "RUN":
                continue
            name = f"conformance/{suite['name']}.{test['name']}"
            failures = "\n".join(f["failure"] for f in test.get("failures", ()))
            if failures:
                failed = True
                report.add(name, failures)
            elif test["result"] == "SKIPPED":
                told = [m.get("message", "") for m in test.get("skipped", ())]
                report.add(name, skip=" ".join(told).strip() or "see its output")
            else:
                report.add(name)
    return failed


def add_ended(report, shard):
    """Adds the tests of a shard that did not come to its end."""
    for result, name in ENDED.findall(shard.text()):
        report.add(f"conformance/{name}",
                   None if result == "OK" else "see the output of the shard")


def run(report, settings):
    program = settings.bin / f"moe-runtime-cts-{settings.target}"
    if not os.access(program, os.X_OK):
        raise Failure(f"{program} is missing")
    count = max(1, min(MOST_SHARDS, (os.cpu_count() or 1) // CORES_PER_SHARD))
    tests = gtest_filter(report.only)
    shards = [Shard(settings, program, i, count, tests) for i in range(count)]
    deadline = time.monotonic() + SECONDS
    for shard in shards:
        error = shard.finish(deadline)
        if error is None and not add_results(report, shard):
            if shard.process.returncode:
                error = f"exit code {shard.process.returncode}\n{shard.output()}"
        if error:
            if not shard.result.is_file():
                add_ended(report, shard)
            report.add(f"conformance/shard{shard.index}", error)
        shard.log.close()
