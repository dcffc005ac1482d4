#===- values.py - operands of math functions -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What math functions are tried with: all values of small types, and of f32 the
special ones, those around difficult places, and random ones of every size."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from functions import BINARY, FPOWI, TERNARY, UNARY, Function

TYPES = {
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f8E4M3FN": np.dtype(ml_dtypes.float8_e4m3fn),
    "f8E5M2": np.dtype(ml_dtypes.float8_e5m2),
}

# Zero, the smallest and the largest of either kind, one and its neighbours,
# integers up to where there are no odd ones, halves.
SPECIAL = np.array(
    [0.0, 2.0**-149, 2.0**-126 - 2.0**-149, 2.0**-126, 1e-40, 1e-7, 0.5,
     1 - 2.0**-24, 1.0, 1 + 2.0**-23, 1.5, 2.0, 2.5, 3.0, 4.0, 1e4, 1e5,
     131072.0, 1e6, 2.0**23 - 0.5, 2.0**24 - 1, 2.0**24, 2.0**24 + 2, 3e38,
     float.fromhex("0x1.fffffep127"), np.inf, np.nan],
    np.float32,
)
SPECIAL = np.concatenate([SPECIAL, -SPECIAL])


def all_values(dtype: np.dtype) -> np.ndarray:
    """Every value of a type of at most 16 bits."""
    word = np.dtype(f"u{dtype.itemsize}")
    return np.arange(1 << (8 * dtype.itemsize), dtype=np.uint32).astype(word).view(dtype)


def around(places: tuple[float, ...], reach: int) -> np.ndarray:
    """The values of f32 that are at most `reach` steps from one of `places`."""
    bits = np.array(places, np.float32).view(np.int32).astype(np.int64)
    steps = (bits[:, None] + np.arange(-reach, reach + 1)).reshape(-1)
    return steps.astype(np.uint32).view(np.float32)


def random_f32(rng: np.random.Generator, count: int) -> np.ndarray:
    """Half of all bits alike, half of the sizes that programs compute with."""
    any_bits = rng.integers(0, 2**32, count - count // 2, np.uint32).view(np.float32)
    usual = np.ldexp(rng.uniform(1, 2, count // 2), rng.integers(-24, 12, count // 2))
    usual *= rng.choice([-1, 1], count // 2)
    return np.concatenate([any_bits, usual.astype(np.float32)])


def in_type(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return x.astype(dtype)


def unary_operands(dtype: np.dtype, count: int, rng: np.random.Generator) -> np.ndarray:
    """For all functions together: each has the difficult places of the others.

    Of a small type all values, or every one of a stride that is `count` short.
    """
    if dtype.itemsize < 4:
        values = all_values(dtype)
        if len(values) <= count:
            return values
        chosen = rng.choice(len(values), count, replace=False)
        return np.concatenate([values[np.sort(chosen)], in_type(SPECIAL, dtype)])
    places = tuple(sorted({place for f in UNARY for place in f.near}))
    difficult = around(places, max(2, min(200, count // (4 * len(places)))))
    return np.concatenate([SPECIAL, difficult, random_f32(rng, count)])


def binary_operands(
    dtype: np.dtype, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of special values, and random ones of which many have a power
    or a quotient that is neither 0 nor infinite."""
    left, right = (grid.reshape(-1) for grid in np.meshgrid(SPECIAL, SPECIAL))
    x, y = random_f32(rng, count), random_f32(rng, count)
    third = count // 3
    # Powers between the smallest and the largest, some of them of integers.
    x[:third] = np.exp2(rng.uniform(-8, 8, third))
    y[:third] = rng.uniform(-150, 150, third) / np.log2(x[:third])
    y[: third // 2] = np.rint(y[: third // 2])
    x[: third // 2] *= rng.choice([-1, 1], third // 2)
    # Quotients up to 2^40.
    with np.errstate(over="ignore", invalid="ignore"):
        x[third : 2 * third] = y[third : 2 * third] * np.exp2(rng.uniform(-4, 40, third))
    pair = np.concatenate([left, x]), np.concatenate([right, y])
    return in_type(pair[0], dtype), in_type(pair[1], dtype)


def operands(function: Function, dtype: np.dtype, count: int, seed: int) -> list[np.ndarray]:
    """Arrays of the same length, one per operand."""
    rng = np.random.default_rng([seed, dtype.itemsize])
    if function in UNARY:
        return [unary_operands(dtype, count, rng)]
    x, y = binary_operands(dtype, count, rng)
    if function in BINARY:
        return [x, y]
    if function in TERNARY:
        return [x, y, rng.permutation(x)]
    assert function is FPOWI
    with np.errstate(invalid="ignore"):
        power = np.clip(np.nan_to_num(y.astype(np.float64)), -(2**31), 2**31 - 1)
    return [x, power.astype(np.int32)]
