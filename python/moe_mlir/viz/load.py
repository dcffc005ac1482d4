# ===- load.py - which experts are busy -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Rows per expert."""

from __future__ import annotations

from typing import Any

from . import _axes


def expert_load(counts: Any, *, ranks: int | None = None, axes: Any = None) -> Any:
    """Draws the rows of each expert, and how far the largest is above the mean.

    Parameters
    ----------
    counts : array_like of int, (E,)
        Rows of each expert, in the order of experts: the ``expert_counts`` of all
        ranks, one after another.
    ranks : int, optional
        Number of ranks; bars of one rank have one color then. Experts are placed in
        blocks.
    axes : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        `counts` is not one number per expert, or there are no ranks.
    """
    import numpy as np

    loads = np.asarray(counts)
    if loads.ndim != 1 or not len(loads):
        raise ValueError(f"expert_load: expected one count per expert, got shape {loads.shape}")
    if ranks is not None and ranks < 1:
        raise ValueError(f"expert_load: expected at least one rank, got {ranks}")
    experts, mean = len(loads), float(loads.mean())
    axes = _axes.given_or_new(axes, 6.4, 3.2)
    colors: str | list[str] = "tab:blue"
    if ranks is not None:
        each, more = divmod(experts, ranks)
        owners = np.repeat(np.arange(ranks), [each + (r < more) for r in range(ranks)])
        colors = [f"C{owner % 10}" for owner in owners]
    axes.bar(range(experts), loads, width=0.8, color=colors)
    axes.axhline(mean, color="0.3", linestyle=":", label=f"mean {mean:,.1f}")
    ratio = f"{loads.max() / mean:.2f}" if mean else "-"
    axes.set(
        xlabel="expert" if ranks is None else f"expert (colors: {ranks} ranks)",
        ylabel="rows",
        title=f"Rows per expert: the largest has {ratio} times the mean",
        xlim=(-0.6, experts - 0.4),
        ylim=(0, max(float(loads.max()), 1.0) * 1.2),  # room for the legend
    )
    axes.legend(fontsize=8)
    return axes
