#===- values.py - element types and what buffers hold at first -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Element types, their bits, and the poison of what is left open."""

import ml_dtypes
import numpy as np

DTYPES = {
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f8E4M3FN": np.dtype(ml_dtypes.float8_e4m3fn),
    "f8E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "i8": np.dtype(np.int8),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
}
FLOATS = ("f32", "f16", "bf16", "f8E4M3FN", "f8E5M2")

POISON = 0xA5


def is_float(dtype: np.dtype) -> bool:
    return dtype in [DTYPES[name] for name in FLOATS]


def bits(array: np.ndarray) -> np.ndarray:
    """The array's elements as unsigned integers: the same bits, no meaning."""
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def poison(shape, dtype: np.dtype) -> np.ndarray:
    array = np.empty(shape, dtype)
    array.view(np.uint8).reshape(-1)[...] = POISON
    return array
