#===- report.py - what passed, failed and was skipped -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Counts tests and prints as they go: failures and skips one by one, the rest
by suite."""

from __future__ import annotations

import time
import traceback

from pool import Failure


class Skip(Exception):
    """Why a test cannot run here."""


class Report:
    # A failure may cost a time-out or two: after so many the rest is skipped.
    MOST_FAILURES = 12
    SLOW_SECONDS = 10

    def __init__(self, only):
        self.only = only
        self.passed, self.failed, self.skipped = [], [], []
        self.begin = time.monotonic()
        self.failures_in_suite = 0

    def wants(self, name):
        return not self.only or any(word in name for word in self.only)

    def say(self, text):
        print(text, flush=True)

    def add(self, name, failure=None, skip=None):
        if failure is not None:
            self.failed.append(name)
            self.say(f"FAIL {name}\n    " + failure.strip().replace("\n", "\n    "))
        elif skip is not None:
            self.skipped.append(name)
            self.say(f"SKIP {name}: {skip}")
        else:
            self.passed.append(name)

    def test(self, name, function, *args):
        """Runs one test; what it raises is its result. True when it passed."""
        if not self.wants(name):
            return True
        if self.failures_in_suite >= self.MOST_FAILURES:
            self.add(name, skip="too many tests of this suite have failed")
            return True
        begin = time.monotonic()
        try:
            function(*args)
        except Skip as skip:
            self.add(name, skip=str(skip))
            return True
        except Failure as failure:
            self.add(name, str(failure))
        except Exception:
            self.add(name, traceback.format_exc())
        else:
            self.add(name)
            seconds = time.monotonic() - begin
            if seconds > self.SLOW_SECONDS:
                self.say(f"slow {name}: {seconds:.1f} s")
            return True
        self.failures_in_suite += 1
        return False

    def suite(self, name, function, *args):
        """Runs a suite, which adds its tests, and prints a line about it."""
        self.failures_in_suite = 0
        before = len(self.passed), len(self.failed), len(self.skipped)
        begin = time.monotonic()
        try:
            function(*args)
        except Skip as skip:
            self.add(name, skip=str(skip))
        except Failure as failure:
            self.add(name, str(failure))
        except Exception:
            self.add(name, traceback.format_exc())
        counts = [
            len(now) - then
            for now, then in zip((self.passed, self.failed, self.skipped), before)
        ]
        self.say(f"== {name}: {self.text(*counts)}, "
                 f"{time.monotonic() - begin:.1f} s")

    @staticmethod
    def text(passed, failed, skipped):
        return f"{passed} passed, {failed} failed, {skipped} skipped"

    def close(self):
        """The closing line, and the exit status."""
        if self.skipped:
            self.say(f"skipped: {', '.join(self.skipped)}")
        counts = len(self.passed), len(self.failed), len(self.skipped)
        self.say(f"{self.text(*counts)} in {time.monotonic() - self.begin:.0f} s")
        return 0 if self.passed and not self.failed else 1
