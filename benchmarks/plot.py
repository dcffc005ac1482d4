#!/usr/bin/env python3
# ===- plot.py - draws results of gpu_exchange.py -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Draws a result of gpu_exchange.py: bandwidth against size, and time against
blocks with the time the store ceiling allows as a line. Needs matplotlib.

    plot.py RESULT.json OUT.svg [--model deepseek_v3] [--tokens 4096]
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpu import report  # pylint: disable=wrong-import-position

STYLE = {"ours": ("tab:blue", "o"), "hand": ("tab:green", "s"), "nccl": ("tab:orange", "^"), "stores": ("0.4", "."),
         "bulk": ("tab:purple", "v"), "loads": ("tab:brown", "x")}
NAMES = {"ours": "moe-mlir", "hand": "hand-written", "nccl": "torch + NCCL", "stores": "16-byte stores",
         "bulk": "bulk copies", "loads": "16-byte loads"}


def whole(records):
    return [r for r in records if "rows_only" not in r.get("variant", "")]


def curve(records, place):
    """Per value of `place`, the fastest record, in order."""
    by_place = {}
    for r in records:
        by_place.setdefault(place(r), []).append(r)
    return [(at, report.fastest(found)) for at, found in sorted(by_place.items())]


def mean_bytes(record):
    return statistics.mean(record["bytes_out"])


def draw(axes, series, points, value, label=None, dashed=False):
    if points:
        color, marker = STYLE[series]
        axes.plot([at for at, _ in points], [value(r) for _, r in points], color=color, marker=marker,
                  linestyle="--" if dashed else "-", label=label or NAMES[series])


def bandwidth(axes, title, curves, top):
    for series, points, label, dashed in curves:
        draw(axes, series, points, lambda r: r["gb_per_s"], label, dashed)
    if top:
        axes.axhline(top, color="0.4", linestyle=":", label="ceiling of stores")
    axes.set(title=title, xscale="log", xlabel="bytes that leave a GPU", ylabel="GB/s", ylim=(0, None))
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize=7)


def exchange_bandwidth(axes, records, model, op, top):
    curves = []
    for series in ("ours", "hand", "nccl"):
        for layout, dashed in (("rank_major", False), ("slab", True)):
            found = whole(report.select(records, series=series, model=model, op=op, layout=layout))
            if found:
                label = NAMES[series] if series == "nccl" else f"{NAMES[series]}, {layout}"
                curves.append((series, curve(found, mean_bytes), label, dashed))
    bandwidth(axes, f"{op}, {model}", curves, top)


def time_by_blocks(axes, records, model, tokens, op, top):
    processors = max((r["blocks"] for r in report.select(records, series="hand") if r.get("blocks")), default=0)
    bytes_out = 0
    for series in ("ours", "hand"):
        wanted = dict(series=series, model=model, op=op, tokens=tokens, layout="rank_major", mode="eager")
        found = [r for r in whole(report.select(records, **wanted)) if r["blocks"]]
        draw(axes, series, curve(found, lambda r: r["blocks"]), lambda r: r["median_us"])
        bytes_out = max([bytes_out, *(mean_bytes(r) for r in found)])
    best = report.fastest(report.select(records, series="nccl", model=model, op=op, tokens=tokens))
    if best:
        axes.axhline(best["median_us"], color=STYLE["nccl"][0], label=NAMES["nccl"])
    if top and bytes_out:
        axes.axhline(bytes_out / top / 1e3, color="0.4", linestyle=":", label="bytes / ceiling")
    axes.set(title=f"{op}, {model}, {tokens} tokens", xlabel=f"blocks (the GPU has {processors} SMs)", ylabel="µs",
             ylim=(0, None))
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize=7)


def links(axes, records, top):
    for series in ("stores", "bulk", "loads"):
        found = report.select(records, series=series)
        largest = max((r["bytes_per_peer"] for r in found), default=0)
        draw(axes, series, curve([r for r in found if r["bytes_per_peer"] == largest], lambda r: r["blocks"]),
             lambda r: r["gb_per_s"])
    if top:
        axes.axhline(top, color="0.4", linestyle=":", label="ceiling of stores")
    axes.set(title="links, 64 MiB per peer", xlabel="blocks", ylabel="GB/s", ylim=(0, None))
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize=7)


def alltoall(axes, records, top):
    curves = []
    for series in ("ours", "nccl"):
        found = report.select(records, op="alltoallv", series=series, scope="peers")
        label = "NCCL" if series == "nccl" else None
        curves.append((series, curve(found, mean_bytes), label, False))
    stores = [r for r in report.select(records, series="stores")]
    curves.append(("stores", curve(stores, mean_bytes), None, False))
    bandwidth(axes, "alltoallv, without what stays", curves, top)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="deepseek_v3")
    parser.add_argument("--tokens", type=int, default=4096)
    args = parser.parse_args()
    import matplotlib  # pylint: disable=import-outside-toplevel
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # pylint: disable=import-outside-toplevel

    result = json.loads(args.result.read_text())
    records, top = result["records"], result["ceiling_gb_per_s"]
    figure, axes = plt.subplots(2, 3, figsize=(15, 8.5), layout="constrained")
    for row, op in enumerate(("dispatch", "combine")):
        exchange_bandwidth(axes[row][0], records, args.model, op, top)
        time_by_blocks(axes[row][1], records, args.model, args.tokens, op, top)
    alltoall(axes[0][2], records, top)
    links(axes[1][2], records, top)
    machine = result["machine"]
    figure.suptitle(f"{len(machine['gpus'])}× {machine['gpus'][0] if machine['gpus'] else '?'}, "
                    f"commit {result['commit']}, {result['date']}; slowest rank's median, fastest configuration")
    figure.savefig(args.out)


if __name__ == "__main__":
    main()
