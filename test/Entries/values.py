#===- values.py - element types in numpy -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Random values of the element types, and arithmetic on them.

Small floats are computed in f32 and rounded, integers wrap around.
"""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np

from table import FLOATS

DTYPES = {
    "f64": np.dtype(np.float64),
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f8E4M3FN": np.dtype(ml_dtypes.float8_e4m3fn),
    "f8E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "i64": np.dtype(np.int64),
    "i32": np.dtype(np.int32),
    "i16": np.dtype(np.int16),
    "i8": np.dtype(np.int8),
    "i1": np.dtype(np.bool_),
    "index": np.dtype(np.int64),
}
SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan)


def is_float(type_: str) -> bool:
    return type_ in FLOATS


def width(type_: str) -> int:
    return 1 if type_ == "i1" else DTYPES[type_].itemsize * 8


def computed_in(type_: str) -> np.dtype:
    """What arithmetic on a float is done in."""
    return np.dtype(np.float64 if type_ == "f64" else np.float32)


def round_within(values: np.ndarray, type_: str, low: float, high: float) -> np.ndarray:
    """The values in a type of floats; those that rounding takes past a bound are
    the next ones within: a cast of 2.0 to i1, say, has no result."""
    rounded = values.astype(DTYPES[type_])
    wide = rounded.astype(np.float64)
    within = np.where(wide > high, low, np.where(wide < low, high, wide))
    return np.nextafter(rounded, within.astype(DTYPES[type_]))


def draw(rng: np.random.Generator, type_: str, shape, *, low=None, high=None,
         special=False) -> np.ndarray:
    """Random values, from `low` to `high` where these are given."""
    count = int(np.prod(shape, dtype=np.int64))
    if is_float(type_):
        low, high = (-8.0, 8.0) if low is None else (low, high)
        values = round_within(
            rng.uniform(low, high, count).astype(computed_in(type_)), type_, low, high)
        if special and count:
            at = rng.random(count) < 0.3
            values[at] = rng.choice(SPECIAL, int(at.sum())).astype(DTYPES[type_])
        return values.reshape(shape)
    bits = width(type_)
    if type_ == "i1":
        return (rng.random(shape) < 0.5)
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if low is not None:
        least, most = max(least, low), min(most, high)
    elif rng.random() < 0.5:
        least, most = -20, 20
    return rng.integers(least, most, count, endpoint=True).astype(
        DTYPES[type_]).reshape(shape)


def draw_exact(rng: np.random.Generator, type_: str, shape) -> np.ndarray:
    """Small whole numbers, whose sums of products are exact in every type."""
    if type_ == "i1":
        return rng.random(shape) < 0.5
    return rng.integers(-1, 2, shape).astype(np.float32).astype(DTYPES[type_])


def to_ints(array: np.ndarray, signed: bool) -> list[int]:
    """The elements as numbers of Python; an i1 that is set is -1 if signed."""
    if array.dtype == np.bool_:
        return [(-1 if signed else 1) * int(x) for x in array.flat]
    if signed:
        return [int(x) for x in array.flat]
    mask = 2 ** (array.dtype.itemsize * 8) - 1
    return [int(x) & mask for x in array.flat]


def from_ints(numbers, type_: str, shape) -> np.ndarray:
    """The numbers, wrapped around."""
    bits = width(type_)
    wrapped = [int(n) & (2**bits - 1) for n in numbers]
    if type_ == "i1":
        return np.array(wrapped, np.bool_).reshape(shape)
    signed = [n - 2**bits if n >= 2 ** (bits - 1) else n for n in wrapped]
    return np.array(signed, np.int64).astype(DTYPES[type_]).reshape(shape)


def on_ints(fn: Callable[..., int], result: str, signed: bool):
    """An oracle that computes element by element with numbers of Python."""
    def oracle(*arrays):
        columns = [to_ints(array, signed) for array in arrays]
        return from_ints([fn(*row) for row in zip(*columns)], result,
                         arrays[0].shape)
    return oracle


def on_floats(fn: Callable[..., np.ndarray], type_: str):
    """An oracle that computes in the type that small floats are computed in."""
    def oracle(*arrays):
        wide = [array.astype(computed_in(type_)) for array in arrays]
        with np.errstate(all="ignore"):
            return np.asarray(fn(*wide)).astype(DTYPES[type_])
    return oracle


def differences(seen: np.ndarray, wanted: np.ndarray, ulps: float) -> np.ndarray:
    """Where two arrays differ by more than `ulps`; all NaNs are alike."""
    if wanted.dtype.kind in "biu":
        return seen != wanted
    wide = np.float64
    a, b = seen.astype(wide), wanted.astype(wide)
    both = np.isnan(a) & np.isnan(b)
    with np.errstate(all="ignore"):
        bits = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
        same = seen.view(bits[seen.dtype.itemsize]) == wanted.view(
            bits[wanted.dtype.itemsize])
        if ulps == 0:
            return ~(both | same)
        step = ml_dtypes.finfo(wanted.dtype).eps * np.abs(b)
        step = np.maximum(step, float(ml_dtypes.finfo(wanted.dtype).tiny))
        near = np.abs(a - b) <= ulps * step
    return ~(both | same | near)
