# ===- bandwidth.py - how fast, compared with the links -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Bandwidth against bytes."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping
from typing import Any

from . import _axes

_COLORS = {"ours": "tab:blue", "hand": "tab:green", "nccl": "tab:orange"}
_NAMES = {"ours": "moe-mlir", "hand": "hand-written", "nccl": "torch + NCCL"}


def bandwidth(
    result: str | os.PathLike[str] | Mapping[str, Any],
    *,
    op: str = "dispatch",
    layout: str = "rank_major",
    mode: str = "eager",
    model: str | None = None,
    axes: Any = None,
) -> Any:
    """Draws the bandwidth of an exchange against the bytes that leave a GPU.

    Of each series the fastest configuration is shown, for each number of bytes.

    Parameters
    ----------
    result : path or mapping
        A result of ``benchmarks/gpu_exchange.py``: the JSON file, or what is in it.
    op, layout, mode : str
        Which measurements: ``dispatch`` or ``combine``; the layout; ``eager`` or
        ``graph``.
    model : str, optional
        Whose shapes; the first one of the result by default.
    axes : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        The result has no such measurement, or is no result.
    """
    document: Mapping[str, Any]
    if isinstance(result, Mapping):
        document = result
    else:
        with open(result, encoding="utf-8") as file:
            document = json.load(file)
    if not isinstance(document, Mapping) or "records" not in document:
        is_mapping = isinstance(document, Mapping)
        got = f"the fields {sorted(document)}" if is_mapping else type(document).__name__
        raise ValueError(
            "bandwidth: expected a result of benchmarks/gpu_exchange.py, which has 'records', "
            f"got {got}"
        )
    found = [
        record
        for record in document["records"]
        if record.get("op") == op
        and record.get("mode") == mode
        and record.get("layout", layout) == layout
        and "failed" not in record
        and record.get("correct") is not False
        # Rows without their ids and weights are another exchange.
        and "rows_only" not in record.get("variant", "")
    ]
    models = list(dict.fromkeys(record["model"] for record in found))
    model = model or (models[0] if models else None)
    found = [record for record in found if record["model"] == model]
    if not found:
        raise ValueError(
            f"bandwidth: expected measurements of {op}, {layout}, {mode}"
            + (f" of {model}" if model else "")
            + f" in the result, found none; models: {', '.join(models) or 'none'}"
        )
    axes = _axes.given_or_new(axes, 6.4, 3.8)
    for series in dict.fromkeys(record["series"] for record in found):
        fastest: dict[float, float] = {}
        for record in found:
            if record["series"] == series:
                size = statistics.mean(record["bytes_out"])
                fastest[size] = max(record["gb_per_s"], fastest.get(size, 0.0))
        sizes = sorted(fastest)
        axes.plot(
            sizes,
            [fastest[size] for size in sizes],
            marker="o",
            color=_COLORS.get(series),
            label=_NAMES.get(series, series),
        )
    top = document.get("ceiling_gb_per_s")
    if top:
        axes.axhline(top, color="0.4", linestyle=":", label=f"ceiling of stores, {top:.0f} GB/s")
    gpus = document.get("machine", {}).get("gpus", [])
    place = f", {len(gpus)} x {gpus[0]}" if gpus else ""
    axes.set(
        xscale="log",
        ylim=(0, None),
        xlabel="bytes that leave a GPU",
        ylabel="GB/s",
        title=f"{op}, {layout}, {model}{place}",
    )
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize=8)
    return axes
