#===- oracles.py - what ops of arith and math compute -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What Python and numpy say of ops on scalars."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from values import from_ints, to_ints, width


def binary_ints() -> dict[str, tuple[Callable, bool, str]]:
    """By op: on numbers of Python, whether signed, and what is undefined."""
    def truncated(a, b):
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)

    return {
        "addi": (lambda a, b: a + b, True, ""),
        "subi": (lambda a, b: a - b, True, ""),
        "muli": (lambda a, b: a * b, True, ""),
        "andi": (lambda a, b: a & b, True, ""),
        "ori": (lambda a, b: a | b, True, ""),
        "xori": (lambda a, b: a ^ b, True, ""),
        "maxsi": (max, True, ""),
        "minsi": (min, True, ""),
        "maxui": (max, False, ""),
        "minui": (min, False, ""),
        "divsi": (truncated, True, "division"),
        "remsi": (lambda a, b: a - truncated(a, b) * b, True, "division"),
        "ceildivsi": (lambda a, b: -(-a // b), True, "division"),
        "floordivsi": (lambda a, b: a // b, True, "division"),
        "divui": (lambda a, b: a // b, False, "division"),
        "remui": (lambda a, b: a % b, False, "division"),
        "ceildivui": (lambda a, b: -(-a // b), False, "division"),
        "shli": (lambda a, b: a << b, False, "shift"),
        "shrui": (lambda a, b: a >> b, False, "shift"),
        "shrsi": (lambda a, b: a >> b, True, "shift"),
    }


def avoid_undefined(kind: str, type_: str):
    """No division by zero or out of range, no shift by the width or more."""
    def fix(arrays):
        a, b = arrays
        if kind == "division":
            b = b.copy()
            b[b == 0] = True if type_ == "i1" else 3
            if type_ == "i1":
                return [np.zeros_like(a), b]
            least = np.iinfo(a.dtype).min
            a = np.where(a == least, 7, a).astype(a.dtype)
        elif kind == "shift":
            b = from_ints([x % width(type_) for x in to_ints(b, False)], type_,
                          b.shape)
        return [a, b]
    return fix


COMPARISONS = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
}


def signed_max(sign: int):
    """maximumf and minimumf: NaN wins, and 0 is greater than -0."""
    def pick(a, b):
        r = np.maximum(a, b) if sign > 0 else np.minimum(a, b)
        zero = (a == 0) & (b == 0)
        negative = np.signbit(a) & np.signbit(b) if sign > 0 else (
            np.signbit(a) | np.signbit(b))
        return np.where(zero, np.where(negative, -0.0, 0.0), r)
    return pick


FLOAT_OPS = {
    "arith.addf": (2, np.add), "arith.subf": (2, np.subtract),
    "arith.mulf": (2, np.multiply), "arith.divf": (2, np.divide),
    "arith.remf": (2, np.fmod), "arith.negf": (1, np.negative),
    "arith.maximumf": (2, signed_max(1)), "arith.minimumf": (2, signed_max(-1)),
    "math.absf": (1, np.abs), "math.ceil": (1, np.ceil),
    "math.floor": (1, np.floor), "math.trunc": (1, np.trunc),
    "math.roundeven": (1, np.rint), "math.sqrt": (1, np.sqrt),
    "math.copysign": (2, np.copysign),
    "math.round": (1, lambda a: np.where(
        np.abs(a) < 2.0**52, np.copysign(np.floor(np.abs(a.astype(np.float64)) + 0.5), a), a)),
}
CLASSES = {
    "math.isnan": np.isnan, "math.isinf": np.isinf, "math.isfinite": np.isfinite,
    "math.isnormal": None,
}
vectorize = np.vectorize
FUNCTIONS = {  # (arity, oracle, range)
    "acos": (1, np.arccos, -0.9, 0.9), "acosh": (1, np.arccosh, 1.25, 30),
    "asin": (1, np.arcsin, -0.9, 0.9), "asinh": (1, np.arcsinh, 0.25, 30),
    "atan": (1, np.arctan, -8, 8), "atanh": (1, np.arctanh, 0.2, 0.9),
    "atan2": (2, np.arctan2, 0.3, 6), "cbrt": (1, np.cbrt, 0.3, 60),
    "cos": (1, np.cos, -1, 1), "cosh": (1, np.cosh, -4, 4),
    "erf": (1, vectorize(math.erf), 0.2, 2), "erfc": (1, vectorize(math.erfc), 0.1, 1.5),
    "exp": (1, np.exp, -4, 4), "exp2": (1, np.exp2, -6, 6),
    "expm1": (1, np.expm1, 0.3, 4), "log": (1, np.log, 1.3, 90),
    "log10": (1, np.log10, 1.3, 90), "log1p": (1, np.log1p, 0.4, 50),
    "log2": (1, np.log2, 1.3, 90), "powf": (2, np.power, 0.5, 3),
    "rsqrt": (1, lambda a: 1 / np.sqrt(a), 0.3, 60), "sin": (1, np.sin, 0.2, 1.5),
    "sinh": (1, np.sinh, 0.5, 4), "tan": (1, np.tan, 0.2, 1.2),
    "tanh": (1, np.tanh, 0.3, 3),
}
