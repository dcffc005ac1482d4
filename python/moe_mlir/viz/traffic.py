# ===- traffic.py - who sends how much to whom -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The traffic matrix."""

from __future__ import annotations

from typing import Any

from . import _axes


def traffic(rows: Any, *, row_bytes: int | None = None, axes: Any = None) -> Any:
    """Draws how many rows each rank sends to each rank.

    Parameters
    ----------
    rows : array_like of int, (R, R)
        ``rows[s][d]`` rows go from rank `s` to rank `d`: the ``tokens_to_rank`` of
        all ranks, one below the other.
    row_bytes : int, optional
        Bytes of a row; then cells show bytes.
    axes : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        `rows` is not a square.
    """
    import numpy as np

    counts = np.asarray(rows)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(
            f"traffic: expected a square of rows from each rank to each, got {counts.shape}"
        )
    ranks = len(counts)
    axes = _axes.given_or_new(axes, 1.6 + 0.7 * ranks, 1.0 + 0.6 * ranks)
    axes.imshow(counts, cmap="Blues", vmin=0)
    dark = counts.max() * 0.6
    if ranks <= 16:
        for source in range(ranks):
            for target in range(ranks):
                count = counts[source, target]
                text = f"{count:,}"
                if row_bytes is not None:
                    text = _axes.bytes_text(int(count) * row_bytes)
                color = "white" if count > dark else "black"
                axes.text(target, source, text, ha="center", va="center", color=color, fontsize=8)
    ticks = range(ranks) if ranks <= 32 else range(0, ranks, -(-ranks // 16))
    axes.set(
        xticks=ticks,
        yticks=ticks,
        xlabel="to rank",
        ylabel="from rank",
        title="Rows sent" if row_bytes is None else "Bytes sent",
    )
    return axes
