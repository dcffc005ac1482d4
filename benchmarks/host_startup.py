#!/usr/bin/env python3
# ===- host_startup.py - how long a job of two hosts takes to start -----------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
r"""Whole runs of moe-run under mpirun, with one small all-gather, on two network
namespaces of this machine: from the start of mpirun to its end.

    MOE_RUN=build/bin/moe-run MOE_TEST_ARTIFACT_DIR=build/runtime/tests/artifacts \
      .venv/bin/python benchmarks/host_startup.py --json results/NAME.json
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from recording import ROOT, save

sys.path.insert(0, str(ROOT / "tools" / "moe-run" / "tests"))

import two_hosts  # noqa: E402

ARTIFACTS = Path(os.environ["MOE_TEST_ARTIFACT_DIR"]).resolve()
MOE_RUN = Path(os.environ["MOE_RUN"]).resolve()


def measure(hosts, ranks, command):
    begin = time.perf_counter()
    subprocess.run([*hosts.mpirun(ranks // 2, ranks - ranks // 2), *command],
                   check=True, stdout=subprocess.DEVNULL, timeout=300)
    return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", type=int, nargs="*", default=[2, 4, 8, 16, 64])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    as_user = os.geteuid() != 0
    if reason := two_hosts.why_not(as_user):
        sys.exit(reason)
    results = []
    before = os.getloadavg()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "zero.npy", np.array(0, np.int64))
        np.save(folder / "x.npy", np.zeros(64, np.int8))
        with two_hosts.TwoHosts(folder, as_user) as hosts:
            for ranks in args.ranks:
                run = [str(MOE_RUN), str(ARTIFACTS / f"messages{ranks}.so"),
                       "--timeout", "60", "--entry", "all_gather",
                       "--in", "zero.npy", "--in", "zero.npy", "--in", "x.npy"]
                times = [measure(hosts, ranks, run) for _ in range(args.runs)]
                row = {"ranks": ranks, "median": statistics.median(times),
                       "least": min(times), "most": max(times)}
                results.append(row)
                print(f"{ranks:4} ranks: {row['median']:.2f} s "
                      f"({row['least']:.2f} to {row['most']:.2f})")
    save(args.json, {"runs": args.runs, "load_before": before, "load_after": os.getloadavg(), "seconds": results},
         indent=1)


if __name__ == "__main__":
    main()
