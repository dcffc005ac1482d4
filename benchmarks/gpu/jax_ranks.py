# ===- jax_ranks.py - starts the processes of jax_program.py -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The processes of a JAX program, and one record of what they print."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import plans, shapes, stats

PROGRAM = Path(__file__).with_name("jax_program.py")
SECONDS = 150


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def record(unit, ranks, config, seconds=SECONDS):
    """Dispatch and combine of the plan of a unit; {"failed": why} where they did not end well."""
    model = shapes.find(unit["model"])
    artifact = Path(config["artifacts"]) / plans.name(model, unit["tokens"], "rank_major", "training")
    is_host = config["target"] == "host"
    options = {"ranks": ranks, "address": f"127.0.0.1:{free_port()}", "artifact": artifact, "experts": model.experts,
               "top-k": model.top_k, "hidden": model.hidden, "tokens": unit["tokens"], "seed": config["seed"]}
    command = [sys.executable, PROGRAM, *(f"--{name}={value}" for name, value in options.items())]
    command += ["--cpu"] if is_host else []
    folders = [config["package"], str(PROGRAM.parents[1])]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(folders))
    key = {"model": model.name, "layout": "rank_major", "tokens": unit["tokens"], "series": "jax",
           "op": "dispatch_and_combine", "mode": "program"}
    with tempfile.TemporaryFile("w+") as errors:
        running = [subprocess.Popen([*command, f"--rank={rank}"], env=environment, text=True, stdout=subprocess.PIPE,
                                    stderr=errors) for rank in range(1 if is_host else ranks)]
        try:
            end = time.monotonic() + seconds
            found = [process.communicate(timeout=max(end - time.monotonic(), 1))[0] for process in running]
        except subprocess.TimeoutExpired:
            return {**key, "failed": f"did not end within {seconds} s"}
        finally:
            for process in running:
                process.kill()
                process.wait()
        errors.seek(0)
        if any(process.returncode for process in running):
            return {**key, "failed": errors.read().strip()[-2000:] or "ended without a word"}
    parts = [json.loads(text) for text in found]
    measured = [{"times": p["times"], "enqueue": p["times"], "late": 0, "bytes": 0, "ok": p["ok"], "note": None}
                for p in parts]
    return stats.merge(key, measured) | {name: parts[0][name] for name in ("copies", "jax", "device")}
