# ===- plot.py - draws losses and loads of the examples -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Draw what the programs of torch_moe and jax_moe have written with --json::

    python examples/plot.py torch.json jax.json --loss loss.png --load load.png

The losses of all results are in one picture, the loads of experts are those of the first one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt

from moe_mlir import viz

STEPS = 10  # whose loads are added up, of the first and of the last ones


def draw_losses(results: list[dict[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    axes.plot(results[0]["dense"], color="0.75", linewidth=5, label="dense, 1 process")
    for number, result in enumerate(results):
        label = f"expert parallel, {result['ranks']} ranks, {result['framework']}"
        style = "-" if number == 0 else "--"
        axes.plot(result["parallel"], style, color=f"C{number}", linewidth=1.2, label=label)
    axes.set(xlabel="step", ylabel="loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def draw_loads(result: dict[str, Any], path: Path) -> None:
    """Of the last block: its experts are the most uneven at first."""
    load = np.array(result["load"])[:, -1]
    figure, both = plt.subplots(1, 2, figsize=(9.6, 3.2), layout="constrained", sharey=True)
    sums = [load[:STEPS].sum(0), load[-STEPS:].sum(0)]
    for axes, rows, when in zip(both, sums, ("first", "last"), strict=True):
        viz.expert_load(rows, ranks=result["ranks"], axes=axes)
        busiest = rows.max() / rows.mean()
        axes.set_title(
            f"{when} {STEPS} steps: the busiest has {busiest:.2f} times the mean", size=10
        )
    both[0].set_ylim(0, 1.2 * np.max(sums))
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--loss", type=Path, help="draw the losses here")
    parser.add_argument("--load", type=Path, help="draw the rows of each expert here")
    options = parser.parse_args()
    results = [json.loads(path.read_text(encoding="utf-8")) for path in options.results]
    if options.loss:
        draw_losses(results, options.loss)
    if options.load:
        draw_loads(results[0], options.load)


if __name__ == "__main__":
    main()
