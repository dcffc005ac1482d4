# ===- fields.py - what each field of an exchange accepts -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Checks of the fields of an exchange, each on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import checks

if TYPE_CHECKING:
    from .description import Exchange

MAX_TOP_K = 32

_NUMBERS = (
    ("num_experts", 1, checks.INT32_MAX),
    ("top_k", 1, MAX_TOP_K),
    ("hidden", 1, checks.INT32_MAX),
    ("scales", 0, checks.INT32_MAX),
    ("alignment", 1, checks.INT32_MAX),
)
_OPTIONAL_NUMBERS = ("capacity", "max_tokens", "tokens", "list_alignment")
_DTYPES = (
    ("dtype", checks.DATA_DTYPES),
    ("scales_dtype", checks.SCALE_DTYPES),
    ("index_dtype", checks.INDEX_DTYPES),
)
_WORDS = (
    ("layout", ("rank_major", "expert_major", "slab")),
    ("overflow", ("error", "drop")),
    ("order", ("token", "expert")),
    ("padding", ("none", "zero")),
    ("reduce", ("sum", "none")),
    ("partials", ("f32", "element")),
)
_FLAGS = (
    "combine_weights",
    "symmetric_recv",
    "symmetric_y",
    "defer_release",
    "gradients",
    "keep_blocks",
)


class Dtype:
    """What type checkers take a dtype of a plan for: given as any, kept as a name."""

    def __get__(self, plan: object, kind: object = None) -> str:
        """The name that MLIR has for it."""
        raise NotImplementedError

    def __set__(self, plan: object, value: object) -> None:
        """A name, a dtype object of a framework, or None where that has a meaning."""
        raise NotImplementedError


# What dtypes are by default. Their declared type is only for type checkers.
BF16: Any = "bf16"
F32: Any = "f32"
UNSET: Any = ""


def usual_combine_dtype(dtype: str) -> str:
    """The type of rows that come back, where none is given."""
    return "bf16" if dtype in checks.FLOAT8_DTYPES else dtype


def checked(plan: Exchange) -> dict[str, Any]:
    """What the exchange keeps: ints, MLIR's names of types, and words as they are here.

    Raises
    ------
    TypeError
        A value is not of the type that was expected.
    ValueError
        A value is out of range.
    """
    kept: dict[str, Any] = {}
    for field, low, high in _NUMBERS:
        kept[field] = checks.whole_number(field, getattr(plan, field), low, high)
    for field in _OPTIONAL_NUMBERS:
        value = getattr(plan, field)
        if value is not None:
            kept[field] = checks.whole_number(field, value, 1)
    for field, allowed in _DTYPES:
        kept[field] = checks.dtype_name(field, getattr(plan, field), allowed)
    back: Any = plan.combine_dtype
    if back is None or (isinstance(back, str) and not back):
        back = usual_combine_dtype(kept["dtype"])
    kept["combine_dtype"] = checks.dtype_name("combine_dtype", back, checks.DATA_DTYPES)
    for field, words in _WORDS:
        kept[field] = checks.choice(field, getattr(plan, field), words)
    for field in _FLAGS:
        checks.flag(field, getattr(plan, field))
    return kept
