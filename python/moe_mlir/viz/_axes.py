# ===- _axes.py - axes to draw into -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What all pictures share."""

from __future__ import annotations

from typing import Any


def pyplot() -> Any:
    """matplotlib.pyplot, or an error that says how to get it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "pictures need matplotlib: pip install 'moe-mlir[viz]'", name=error.name
        ) from None
    return plt


def given_or_new(axes: Any, width: float, height: float) -> Any:
    """`axes`, or those of a new figure of a size in inches."""
    if axes is not None:
        return axes
    _, axes = pyplot().subplots(figsize=(width, height), layout="constrained")
    return axes


def bytes_text(value: float) -> str:
    """A number of bytes in a unit a person likes, in powers of 1024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} TiB"
