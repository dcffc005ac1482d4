# ===- stats.py - statistics of measured times -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""From times of all ranks to one figure."""

import statistics


def percentile(values, share):
    """Linear between the two nearest values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summary(times_by_rank):
    """Median of the slowest rank in the unit of the times, and its spread."""
    slowest = max(times_by_rank, key=statistics.median)
    return {
        "median": statistics.median(slowest),
        "p10": percentile(slowest, 0.1),
        "p90": percentile(slowest, 0.9),
        "samples": len(slowest),
    }


def gigabytes_per_second(bytes_by_rank, microseconds):
    """Mean of the bytes that leave a rank, over the slowest rank's time."""
    if not microseconds:
        return 0.0
    return statistics.mean(bytes_by_rank) / microseconds / 1e3


def merge(key, by_rank, failure=None):
    """One record from what each rank measured: dictionaries with `times` and
    `enqueue` (microseconds), `late` (how many of them may have waited for the
    CPU of some rank), `bytes`, `ok` and `note`."""
    record = dict(key)
    if failure or any(r is None for r in by_rank):
        record["failed"] = failure or "not all ranks measured it"
        return record
    figures = summary([r["times"] for r in by_rank])
    record |= {f"{k}_us" if k != "samples" else k: round(v, 3) for k, v in figures.items()}
    record["enqueue_us"] = round(summary([r["enqueue"] for r in by_rank])["median"], 1)
    if late := by_rank[0]["late"]:
        record["late"] = late
    record["bytes_out"] = [r["bytes"] for r in by_rank]
    record["gb_per_s"] = round(gigabytes_per_second(record["bytes_out"], figures["median"]), 2)
    checked = [r["ok"] for r in by_rank]
    record["correct"] = all(checked) if all(c is not None for c in checked) else None
    notes = sorted({r["note"] for r in by_rank if r.get("note")})
    if notes:
        record["note"] = "; ".join(notes)
    return record
