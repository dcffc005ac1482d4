# ===- memory.py - new tensors at little cost -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Makes the results of calls by the function that programs of torch.compile use.

``torch.empty`` reads keyword arguments and goes through the dispatcher, which costs more
than the allocation itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch


class Kind(NamedTuple):
    """What `Empty` takes: shape, strides and type of a dense tensor."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, shape: tuple[int, ...], dtype: torch.dtype) -> Kind:
        """The dense tensor of a shape and type."""
        strides, step = [], 1
        for extent in reversed(shape):
            strides.append(step)
            step *= extent
        return cls(shape, tuple(reversed(strides)), dtype)


Empty = Callable[[tuple[int, ...], tuple[int, ...], torch.dtype], torch.Tensor]
"""``empty(shape, strides, dtype)`` returns a tensor that is not filled."""


def empty_on(device: torch.device) -> Empty:
    """The function that makes tensors on a device."""

    def by_torch(
        shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype
    ) -> torch.Tensor:
        return torch.empty_strided(shape, strides, dtype=dtype, device=device)

    guards: Any = torch._C._dynamo.guards
    fast: Empty | None = getattr(guards, f"_empty_strided_{device.type}", None)
    if fast is None or device.type == "cpu":
        return fast or by_torch
    current, index = torch._C._cuda_getDevice, device.index

    def on_current_gpu(
        shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype
    ) -> torch.Tensor:
        # That function makes tensors on the current GPU.
        return (fast if current() == index else by_torch)(shape, strides, dtype)

    return on_current_gpu
