# ===- recording.py - what every result says of its run -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Where and when a program was measured, and the file that its result goes to."""

import datetime
import json
import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def describe_machine():
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def describe_commit():
    git = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return git.stdout.strip() if git.returncode == 0 else "unknown"


def save(path, figures, indent=2, prints=False):
    """Writes the figures to `path`, where there is one, below what tells of the run; `prints` them too."""
    run = {"date": datetime.date.today().isoformat(), "machine": describe_machine(), "commit": describe_commit()}
    text = json.dumps(run | figures, indent=indent)
    if prints:
        print(text)
    if path:
        path.write_text(text + "\n", encoding="utf-8")
