# ===- fake_ranks.py - ranks that only talk -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Stands in for gpu.rank.serve: what a unit says happens."""

import os
import time


def serve(rank, ranks, config, connection):
    connection.send(("ready", None, {"gpu": "none", "ranks": ranks}))
    while (unit := connection.recv()) is not None:
        what = unit["kind"]
        connection.send(("record", {"name": what},
                         {"times": [1.0 + rank, 2.0 + rank, 3.0 + rank], "enqueue": [5.0], "late": 0, "bytes": 3000, "ok": True, "note": None}))
        if what == "raise":
            connection.send(("error", None, f"rank {rank}: it went wrong"))
            os._exit(1)
        if what == "die" and rank == 1:
            os._exit(1)
        if what in ("hang", "die"):
            time.sleep(600)
        connection.send(("done", None, None))
