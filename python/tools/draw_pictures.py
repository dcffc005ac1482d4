#!/usr/bin/env python3
# ===- draw_pictures.py - the pictures of the documents -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Draws the pictures of docs/images.

Traffic, load and phases are those of the demo (examples/run_demo.py), which is
run for it; bandwidth is that of a result in benchmarks/results.

    PYTHONPATH=build/python python/tools/draw_pictures.py --bin build/bin
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile

import matplotlib as mpl
import numpy as np

from moe_mlir import viz

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULT = ROOT / "benchmarks" / "results" / "h100x4-deepseek_v3-2026-11-27.json"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "bin")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "images")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT / "examples"))
    import run_demo

    with tempfile.TemporaryDirectory(prefix="moe-pictures-") as folder:
        results, timings = run_demo.runLayer(
            args.bin / "moe-run",
            ROOT / "examples" / "moe_layer.mlir",
            ROOT / "examples" / "data",
            pathlib.Path(folder),
            timeout=300,
        )
    ranks = len(results)
    sent = np.array([result["n_to"] for result in results])
    counts = np.concatenate([result["expert_counts"] for result in results])
    drawn = {
        "traffic": viz.traffic(sent),
        "expert-load": viz.expert_load(counts, ranks=ranks),
        "phases": viz.phases([timings[rank] for rank in range(ranks)]),
        "bandwidth": viz.bandwidth(RESULT),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    for name, axes in drawn.items():
        # No date or version of a program, so that pictures change with their data.
        axes.figure.savefig(args.out / f"{name}.png", dpi=90, metadata={"Software": None})
        print(f"wrote {args.out / name}.png")
    return 0


if __name__ == "__main__":
    mpl.use("Agg")
    sys.exit(main())
