#===- moe_mlir/runtime/frameworks.py - arrays of other libraries -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Arrays of libraries that have no C functions to hand them out.

The extension calls these by the name of the library. None of what it calls with an
array of a library loads that: the program has.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from moe_mlir.runtime import dtypes

if TYPE_CHECKING:
    import numpy

    from moe_mlir._runtime import Tensor

__all__ = ["current_stream", "empty", "require", "to_cupy", "to_numpy", "to_torch", "wrap"]

_CUDA = 2  # kDLCUDA


def empty(
    library: str, shape: tuple[int, ...], element: str, device_type: int, device: int
) -> Any:
    """Allocate an array of torch or CuPy."""
    if library == "torch":
        torch = sys.modules["torch"]
        where = torch.device("cuda", device) if device_type == _CUDA else torch.device("cpu")
        return torch.empty(shape, dtype=dtypes.torch_dtype(element), device=where)
    cupy = sys.modules["cupy"]
    with cupy.cuda.Device(device):
        return cupy.empty(shape, dtype=dtypes.numpy_dtype(element))


def wrap(library: str, tensor: Tensor) -> Any:
    """Make an array of torch, CuPy or JAX in the memory of a tensor."""
    if library == "torch":
        return to_torch(tensor)
    if library == "cupy":
        return to_cupy(tensor)
    return sys.modules["jax"].dlpack.from_dlpack(tensor)


def current_stream(library: str, device: int) -> int | None:
    """Return the handle of the stream that the library uses on a GPU now."""
    if library == "torch":
        return int(sys.modules["torch"].cuda.current_stream(device).cuda_stream)
    if library == "cupy":
        return int(sys.modules["cupy"].cuda.get_current_stream(device).ptr)
    return None


def require(library: str, element: str) -> None:
    """Load what `to_numpy`, `to_torch` or `to_cupy` will need, for ``"tensor"`` nothing.

    Raises
    ------
    AttributeError
        torch has no such element type.
    ModuleNotFoundError
        The library is missing, or the package ml_dtypes.
    """
    if library == "numpy":
        dtypes.numpy_dtype(element)
    elif library != "tensor":
        importlib.import_module(library)
        if library == "torch":
            dtypes.torch_dtype(element)


def to_numpy(tensor: Tensor) -> numpy.ndarray[Any, Any]:
    """Return a view of host memory, or a copy of a GPU's."""
    import numpy

    dtype = dtypes.numpy_dtype(tensor.dtype)
    if tensor.__dlpack_device__()[0] != _CUDA:
        # By a memoryview, since numpy takes an error of the buffer protocol for an
        # object that has none.
        return numpy.asarray(memoryview(tensor)).view(dtype)  # type: ignore[arg-type]
    copy = numpy.empty(tensor.shape, dtype)
    tensor.copy_to(copy)
    return copy


def to_torch(tensor: Tensor) -> Any:
    """Make a torch.Tensor in the same memory."""
    import torch

    return torch.from_dlpack(tensor)


def to_cupy(tensor: Tensor) -> Any:
    """Make a cupy.ndarray in the same memory of a GPU."""
    import cupy

    return cupy.from_dlpack(tensor)
