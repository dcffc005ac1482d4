# ===- plot.py - draws two losses -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A picture of the losses of the parallel and of the dense model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path


def draw(parallel: Sequence[float], dense: Sequence[float], ranks: int, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    axes.plot(dense, color="0.7", linewidth=4, label="dense, 1 process")
    axes.plot(parallel, color="C0", linewidth=1, label=f"expert parallel, {ranks} processes")
    axes.set(xlabel="step", ylabel="loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw what train.py --json has written.")
    parser.add_argument("losses", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--ranks", type=int, default=2)
    args = parser.parse_args()
    given = json.loads(args.losses.read_text(encoding="utf-8"))
    draw(given["parallel"], given["dense"], args.ranks, args.picture)
