# ===- phases.py - where the time goes -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Time per phase and rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import _axes


def phases(timings: Sequence[Any], *, axes: Any = None) -> Any:
    """Draws the time of each phase, one bar per rank.

    Waiting for other ranks is part of a phase: a rank with little to do shows long
    waits.

    Parameters
    ----------
    timings : sequence, one item per rank
        For each rank its timings, as ``group.timings()`` returns them and ``moe-run
        --json`` has them below ``per_rank[i].timings``: objects or mappings with ``op``,
        ``phase``, ``calls``, and ``seconds`` or ``ns``.
    axes : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        There are no timings.
    """
    table: dict[str, list[float]] = {}
    for rank, rows in enumerate(timings):
        for row in rows:
            op, phase = _field(row, "op"), _field(row, "phase")
            calls = int(_field(row, "calls"))
            name = f"{op} {phase}" if op else phase
            spent = _microseconds(row) / calls if calls else 0.0
            table.setdefault(name, [0.0] * len(timings))[rank] += spent
    if not table:
        raise ValueError("phases: expected timings of at least one rank, got none")
    axes = _axes.given_or_new(axes, 7.0, 1.2 + 0.35 * len(timings))
    starts = [0.0] * len(timings)
    colors = _axes.pyplot().get_cmap("tab20").colors
    for i, (name, times) in enumerate(table.items()):
        axes.barh(
            range(len(timings)),
            times,
            left=starts,
            label=name,
            color=colors[i % len(colors)],
            edgecolor="white",
            linewidth=0.3,
        )
        starts = [a + b for a, b in zip(starts, times, strict=True)]
    axes.set(
        yticks=range(len(timings)),
        yticklabels=[f"rank {rank}" for rank in range(len(timings))],
        xlabel="microseconds per call, waiting for other ranks included",
        title="Time per phase",
    )
    axes.invert_yaxis()
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return axes


def _microseconds(row: Any) -> float:
    """The time of all calls."""
    for name, scale in (("ns", 1e-3), ("seconds", 1e6)):
        if (name in row) if isinstance(row, Mapping) else hasattr(row, name):
            return float(_field(row, name)) * scale
    raise TypeError(f"phases: expected timings with 'ns' or 'seconds', got {row!r}")


def _field(row: Any, name: str) -> Any:
    """The field of a mapping or an object."""
    try:
        return row[name] if isinstance(row, Mapping) else getattr(row, name)
    except (KeyError, AttributeError):
        raise TypeError(f"phases: expected timings with '{name}', got {row!r}") from None
