#===- moe_mlir/runtime/dtypes.py - element types --------------*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Element types under the names that manifests, numpy and torch have."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

__all__ = ["NAMES", "element_type", "numpy_dtype", "torch_dtype"]

# Of an element type in a manifest: its name in numpy and ml_dtypes, and in torch.
NAMES: dict[str, str] = {
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "f8E4M3FN": "float8_e4m3fn",
    "f8E5M2": "float8_e5m2",
    "i64": "int64",
    "i32": "int32",
    "i16": "int16",
    "i8": "int8",
    "i1": "bool",
}
_BY_NAME = {name: element for element, name in NAMES.items()} | {n: n for n in NAMES}
# numpy has these by the package ml_dtypes alone.
_ML_DTYPES = ("bf16", "f8E4M3FN", "f8E5M2")


def element_type(dtype: Any) -> str:
    """Name of an element type as manifests have it.

    Parameters
    ----------
    dtype : str, numpy.dtype, type or torch.dtype
        ``"bf16"``, ``"bfloat16"``, ``numpy.float32``, ``torch.bfloat16``, ...

    Returns
    -------
    str
        One of the keys of `NAMES`.

    Raises
    ------
    TypeError
        It is none of them.
    """
    if isinstance(dtype, str):
        name = dtype
    elif type(dtype).__module__ == "torch":
        name = str(dtype).removeprefix("torch.")
    else:
        # A numpy dtype, or a type that makes one, such as float32 of numpy.
        name = str(getattr(dtype, "name", None) or getattr(dtype, "__name__", ""))
        name = name.removesuffix("_")
    if name not in _BY_NAME:
        raise TypeError(
            f"expected an element type such as 'bf16', numpy.float32 or torch.bfloat16 "
            f"(one of {', '.join(NAMES)}), got {dtype!r}"
        )
    return _BY_NAME[name]


def numpy_dtype(element: str) -> numpy.dtype[Any]:
    """Return the dtype of numpy for an element type.

    Raises
    ------
    ModuleNotFoundError
        For bf16 and the 8-bit floats without the package ml_dtypes.
    """
    import numpy

    if element not in _ML_DTYPES:
        return numpy.dtype(NAMES[element])
    try:
        import ml_dtypes
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"numpy has no {element} by itself: install the package ml_dtypes"
        ) from error
    found: numpy.dtype[Any] = numpy.dtype(getattr(ml_dtypes, NAMES[element]))
    return found


def torch_dtype(element: str) -> Any:
    """Return the dtype of torch, which the program has imported."""
    return getattr(sys.modules["torch"], NAMES[element])
