# ===- checks.py - what a description accepts -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Checks of single values, with messages that say what was expected."""

from __future__ import annotations

from typing import Any

INT32_MAX = 2**31 - 1

_INTEGERS = ("i8", "i32", "i64")
_FLOATS = ("f32", "f16", "bf16", "f8E4M3FN", "f8E5M2")
DATA_DTYPES = _FLOATS + _INTEGERS
SCALE_DTYPES = ("f32", "f16", "bf16", "i8")
INDEX_DTYPES = ("i32", "i64")
FLOAT8_DTYPES = ("f8E4M3FN", "f8E5M2")

_BYTES = {"i64": 8, "f32": 4, "i32": 4, "f16": 2, "bf16": 2}

# What frameworks call them.
_OTHER_NAMES = {
    "float32": "f32",
    "float": "f32",
    "fp32": "f32",
    "float16": "f16",
    "half": "f16",
    "fp16": "f16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "f8E4M3FN",
    "float8_e5m2": "f8E5M2",
    "int8": "i8",
    "int32": "i32",
    "int": "i32",
    "int64": "i64",
    "long": "i64",
}


def is_float(dtype: str) -> bool:
    """Whether `dtype`, a name of MLIR, is a floating-point type."""
    return dtype in _FLOATS


def bytes_of(dtype: str) -> int:
    """Bytes of one element."""
    return _BYTES.get(dtype, 1)


def dtype_name(field: str, value: Any, allowed: tuple[str, ...]) -> str:
    """The name MLIR has for a type.

    Parameters
    ----------
    field : str
        What the type is of, for messages.
    value : str or object
        A name of MLIR, numpy or torch, or a dtype object of one of those.
    allowed : tuple of str
        Names of MLIR.

    Raises
    ------
    TypeError
        `value` is no type.
    ValueError
        `value` is a type that is not allowed.
    """
    if value is int or value is float:
        raise TypeError(
            f"Exchange: expected {field} to be a dtype or its name, got {value!r}, which has "
            "another width in each framework; name the width, as in 'f32' or 'i32'"
        )
    if getattr(value, "isnative", True) is False:
        raise ValueError(
            f"Exchange: expected {field} to be in the byte order of the machine, got {value!r}"
        )
    # An enum that is a str has the text it stands for, which str() does not give.
    name = str.__str__(value) if isinstance(value, str) else getattr(value, "name", None)
    if name is None and isinstance(value, type):
        name = value.__name__  # numpy.float32, ml_dtypes.bfloat16
    if name is None and str(value).startswith("torch."):
        name = str(value)
    if not isinstance(name, str):
        raise TypeError(f"Exchange: expected {field} to be a dtype or its name, got {value!r}")
    name = name.removeprefix("torch.")
    name = _OTHER_NAMES.get(name, name)
    if name not in allowed:
        raise ValueError(
            f"Exchange: expected {field} to be one of {', '.join(allowed)}, got {value!r}"
        )
    return name


def whole_number(field: str, value: Any, low: int, high: int = INT32_MAX) -> int:
    """An int within bounds; bools and floats are none.

    Raises
    ------
    TypeError, ValueError
        `value` is no int, or is out of bounds.
    """
    try:
        # Arrays have the method, too, and raise an error in it.
        number = None if isinstance(value, bool) else int(value.__index__())
    except (AttributeError, TypeError):
        number = None
    if number is None:
        raise TypeError(f"Exchange: expected {field} to be an int, got {value!r}")
    if not low <= number <= high:
        raise ValueError(f"Exchange: expected {field} to be from {low} to {high}, got {number}")
    return number


def choice(field: str, value: Any, allowed: tuple[str, ...]) -> str:
    """The one of a few words that a value equals.

    Raises
    ------
    ValueError
        `value` is none of them.
    """
    # Of other things, such as arrays, to be equal may be no yes or no.
    for word in allowed if isinstance(value, str) else ():
        if value == word:
            return word
    raise ValueError(
        f"Exchange: expected {field} to be one of {', '.join(allowed)}, got {value!r}"
    )


def flag(field: str, value: Any) -> bool:
    """A bool.

    Raises
    ------
    TypeError
        `value` is something else.
    """
    if not isinstance(value, bool):
        raise TypeError(f"Exchange: expected {field} to be True or False, got {value!r}")
    return value
