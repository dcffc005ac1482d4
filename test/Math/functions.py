#===- functions.py - float ops and their exact results -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""The ops on floats that an entry may contain, each with two references: numpy
in f64, whose error is far below what is left of it in f32, and mpmath, with as
many bits as it takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import mpmath
import numpy as np

mpmath.mp.prec = 100

Array = np.ndarray


@dataclass(frozen=True)
class Function:
    """An op on floats.

    Parameters
    ----------
    op
        The op in MLIR.
    arity
        Number of its operands that are floats of its type.
    wide
        Its result in f64, from operands in f64.
    exact
        Its result from finite operands as numbers of mpmath; None where `wide`
        is exact.
    near
        Values of f32 near which it is difficult.
    """

    op: str
    arity: int
    wide: Callable[..., Array]
    exact: Callable[..., object] | None = None
    near: tuple[float, ...] = field(default=())

    @property
    def name(self) -> str:
        return self.op.split(".")[1]


def elementwise(function: Callable[..., float]) -> Callable[..., Array]:
    """A function of Python's floats, for arrays."""
    return np.frompyfunc(function, 1, 1)


def erf_of(function: Callable[[float], float]) -> Callable[[Array], Array]:
    return lambda x: elementwise(function)(x).astype(np.float64)


def round_half_away(x: Array) -> Array:
    whole = np.trunc(x)
    return np.copysign(whole + np.where(np.abs(x - whole) >= 0.5, np.sign(x), 0.0), x)


def maximum(a: Array, b: Array) -> Array:
    """IEEE 754's maximum: zeros are ordered by their signs, NaN is passed on."""
    larger = np.where((a > b) | ((a == b) & ~np.signbit(a)), a, b)
    return np.where(np.isnan(a) | np.isnan(b), np.nan, larger)


def minimum(a: Array, b: Array) -> Array:
    return -maximum(-a, -b)


def number_of(choose: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    """Of a number and NaN the number."""
    return lambda a, b: np.where(np.isnan(a), b, np.where(np.isnan(b), a, choose(a, b)))


def fused(a: Array, b: Array, c: Array) -> Array:
    """Rounded to 64 bits, in f80, where the product is exact."""
    wide = np.longdouble
    return a.astype(wide) * b.astype(wide) + c.astype(wide)


def mp_cbrt(x):
    return mpmath.cbrt(x) if x >= 0 else -mpmath.cbrt(-x)


def mp_pow(x, y):
    """Of finite operands whose power is a number."""
    if x >= 0:
        return mpmath.power(x, y)
    return mpmath.power(-x, y) * (-1 if y % 2 == 1 else 1)


HALF_PI = tuple(k * math.pi / 2 for k in (1, 2, 3, 4, 7, 100, 12345, 8388607))
OVERFLOW = (88.72283, -87.33654, -103.97208, 89.4159, -17.3286)
NEAR_ONE = (1.0, -1.0)

UNARY = (
    Function("math.acos", 1, np.arccos, mpmath.acos, (*NEAR_ONE, 0.5)),
    Function("math.acosh", 1, np.arccosh, mpmath.acosh, (1.0,)),
    Function("math.asin", 1, np.arcsin, mpmath.asin, (*NEAR_ONE, 0.5)),
    Function("math.asinh", 1, np.arcsinh, mpmath.asinh, NEAR_ONE),
    Function("math.atan", 1, np.arctan, mpmath.atan, NEAR_ONE),
    Function("math.atanh", 1, np.arctanh, mpmath.atanh, NEAR_ONE),
    Function("math.cbrt", 1, np.cbrt, mp_cbrt, (1.0, 8.0, -27.0)),
    Function("math.cos", 1, np.cos, mpmath.cos, HALF_PI),
    Function("math.cosh", 1, np.cosh, mpmath.cosh, OVERFLOW),
    Function("math.erf", 1, erf_of(math.erf), mpmath.erf, (0.84375, 1.25, 3.92)),
    Function("math.erfc", 1, erf_of(math.erfc), mpmath.erfc, (0.84375, 9.19, 10.05, -4.0)),
    Function("math.exp", 1, np.exp, mpmath.exp, OVERFLOW),
    Function("math.exp2", 1, np.exp2, lambda x: mpmath.power(2, x), (128.0, -126.0, -149.0)),
    Function("math.expm1", 1, np.expm1, mpmath.expm1, OVERFLOW),
    Function("math.log", 1, np.log, mpmath.log, (1.0, 0.5, 2.0)),
    Function("math.log10", 1, np.log10, mpmath.log10, (1.0, 10.0, 1000.0)),
    Function("math.log1p", 1, np.log1p, mpmath.log1p, (-1.0, 1.0, -0.5)),
    Function("math.log2", 1, np.log2, lambda x: mpmath.log(x) / mpmath.log(2), (1.0, 8.0)),
    Function("math.rsqrt", 1, lambda x: 1 / np.sqrt(x), lambda x: 1 / mpmath.sqrt(x), (1.0, 4.0)),
    Function("math.sin", 1, np.sin, mpmath.sin, HALF_PI),
    Function("math.sinh", 1, np.sinh, mpmath.sinh, OVERFLOW),
    Function("math.sqrt", 1, np.sqrt, mpmath.sqrt, (1.0, 4.0)),
    Function("math.tan", 1, np.tan, mpmath.tan, HALF_PI),
    Function("math.tanh", 1, np.tanh, mpmath.tanh, (9.01, -9.01, 0.625)),
    Function("math.absf", 1, np.abs),
    Function("math.ceil", 1, np.ceil, near=(1.0, -0.5, 8388607.5)),
    Function("math.floor", 1, np.floor, near=(1.0, -0.5, 8388607.5)),
    Function("math.trunc", 1, np.trunc, near=(1.0, -0.5, 8388607.5)),
    Function("math.round", 1, round_half_away, near=(0.5, -0.5, 2.5, 8388607.5)),
    Function("math.roundeven", 1, np.rint, near=(0.5, -0.5, 2.5, 8388607.5)),
)

BINARY = (
    Function("math.atan2", 2, np.arctan2, mpmath.atan2),
    Function("math.powf", 2, np.power, mp_pow),
    Function("math.copysign", 2, np.copysign),
    Function("arith.divf", 2, np.divide),
    Function("arith.remf", 2, np.fmod),
    Function("arith.maximumf", 2, maximum),
    Function("arith.minimumf", 2, minimum),
    Function("arith.maxnumf", 2, number_of(maximum)),
    Function("arith.minnumf", 2, number_of(minimum)),
)

TERNARY = (
    Function("math.fma", 3, fused),
    Function("math.clampf", 3, lambda x, low, high: maximum(minimum(x, high), low)),
)

# Its power is an i32.
FPOWI = Function("math.fpowi", 1, np.power, mp_pow)

ALL = (*UNARY, *BINARY, *TERNARY, FPOWI)
