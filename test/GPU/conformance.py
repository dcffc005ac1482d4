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
import subprocess
import time

from pool import Failure

SECONDS = 300
SHARDS = 4


class Shard:
    def __init__(self, settings, program, index, count):
        self.index = index
        self.result = settings.work / f"conformance.{index}.json"
        self.log = open(settings.work / f"conformance.{index}.log", "w+b")
        self.process = subprocess.Popen(
            [str(program), f"--gtest_output=json:{self.result}"],
            env={**os.environ,
                 "GTEST_TOTAL_SHARDS": str(count),
                 "GTEST_SHARD_INDEX": str(index),
                 "MOE_TEST_ARTIFACT_DIR": str(settings.test_artifacts)},
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
        )

    def output(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-6000:]

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


def run(report, settings):
    program = settings.bin / f"moe-runtime-cts-{settings.target}"
    if not os.access(program, os.X_OK):
        raise Failure(f"{program} is missing")
    count = SHARDS
    shards = [Shard(settings, program, i, count) for i in range(count)]
    deadline = time.monotonic() + SECONDS
    for shard in shards:
        error = shard.finish(deadline)
        if error is None and not add_results(report, shard):
            if shard.process.returncode:
                error = f"exit code {shard.process.returncode}\n{shard.output()}"
        if error:
            report.add(f"conformance/shard{shard.index}", error)
        shard.log.close()
