# ===- bench.py - a small exchange, and how near it is to copies -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""``python -m moe_mlir bench``: times an exchange, and the copies it could be."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from . import ceiling, driver, programs, workload


def add_parser(commands: Any) -> None:
    """Adds the command to those of ``python -m moe_mlir``."""
    parser = commands.add_parser(
        "bench",
        help="time a small exchange",
        description="Times dispatch and combine of random tokens, each call from the host until "
        "its results are there, and compares them with plain copies: of memory by as many "
        "threads at once, or from each GPU to the next one.",
    )
    workload.add_options(parser)
    parser.add_argument("--calls", type=int, default=20, help="timed calls (default: 20)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All that the command prints.

    Raises
    ------
    CommandError
        Something cannot be run.
    """
    with tempfile.TemporaryDirectory(prefix="moe-bench-") as folder:
        load = workload.Workload(given, Path(folder))
        exchanges = {}
        for entry in ("dispatch", "combine"):
            document = load.run(entry, "--bench", str(given.calls))
            exchanges[entry] = document["slowest_median_ns"] / 1e3
        rows = load.rows_that_leave()
    is_host = given.target == "host"
    row_bytes = 2 * load.plan.hidden
    sent = rows * row_bytes
    try:
        top = ceiling.host(given.ranks, int(sent)) if is_host else ceiling.gpus(given.ranks)
    except driver.DriverError as error:
        raise programs.CommandError(f"no ceiling was measured: {error}") from None
    results = {}
    for entry, median_us in exchanges.items():
        speed = sent / median_us / 1e3
        results[entry] = {
            "median_us": median_us,
            "gb_per_s": speed,
            "share_of_ceiling": speed / top,
        }
    return {
        "target": given.target,
        "ranks": given.ranks,
        "plan": repr(load.plan),
        "rows_that_leave": rows,
        "bytes_that_leave": sent,
        "ceiling": "copies of memory" if is_host else "copies from each GPU to the next",
        "ceiling_gb_per_s": top,
        "results": results,
    }


def text(found: dict[str, Any]) -> str:
    """The measurements as a table."""
    lines = [
        f"{found['ranks']} ranks, target {found['target']}: {found['plan']}",
        f"{found['rows_that_leave']:,.0f} rows, {found['bytes_that_leave'] / 1e6:,.2f} MB, "
        "leave a rank",
        f"ceiling: {found['ceiling']}, all at once: {found['ceiling_gb_per_s']:.2f} GB/s a rank",
        f"{'':<10}{'median us':>12}{'GB/s a rank':>14}{'share':>8}",
    ]
    for entry, figures in found["results"].items():
        lines.append(
            f"{entry:<10}{figures['median_us']:>12,.1f}{figures['gb_per_s']:>14.2f}"
            f"{figures['share_of_ceiling']:>8.2f}"
        )
    return "\n".join(lines)


def run(given: argparse.Namespace) -> int:
    """Prints how fast a small exchange is."""
    if given.calls < 1:
        raise programs.CommandError(f"expected at least 1 call, got {given.calls}")
    found = measure(given)
    print(json.dumps(found, indent=2) if given.json else text(found))
    return 0
