# ===- driver.py - what the CUDA driver says -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Asks the CUDA driver, through its C functions, what GPUs there are.

The library is opened here and nowhere linked, so that machines without GPUs do
without it.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

# CUdevice_attribute
_MULTIPROCESSORS, _MAJOR, _MINOR = 16, 75, 76


class DriverError(Exception):
    """There is no driver, or a call of it failed."""


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU as the driver describes it."""

    name: str
    chip: str
    memory_bytes: int
    multiprocessors: int


class Driver:
    """The CUDA driver, initialized.

    Raises
    ------
    DriverError
        There is none, or no GPU it could run.
    """

    def __init__(self) -> None:
        try:
            self.library = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise DriverError(str(error)) from None
        self.call("cuInit", 0)

    def call(self, function: str, *arguments: Any) -> None:
        """Calls a function; anything but success is an error."""
        code = getattr(self.library, function)(*arguments)
        if code != 0:
            text = ctypes.c_char_p()
            self.library.cuGetErrorString(code, ctypes.byref(text))
            reason = text.value.decode() if text.value else f"error {code}"
            raise DriverError(f"{function}: {reason}")

    def number(self, function: str, *arguments: Any) -> int:
        """What a function writes to its first argument, an int."""
        out = ctypes.c_int()
        self.call(function, ctypes.byref(out), *arguments)
        return out.value

    def version(self) -> str:
        """The CUDA version it has, such as ``"13.0"``."""
        number = self.number("cuDriverGetVersion")
        return f"{number // 1000}.{number % 1000 // 10}"

    def gpus(self) -> list[Gpu]:
        """All GPUs, in the order of their ordinals."""
        found = []
        for ordinal in range(self.number("cuDeviceGetCount")):
            device = self.number("cuDeviceGet", ordinal)
            name = ctypes.create_string_buffer(256)
            self.call("cuDeviceGetName", name, len(name), device)
            memory = ctypes.c_size_t()
            self.call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
            attribute = {
                key: self.number("cuDeviceGetAttribute", key, device)
                for key in (_MULTIPROCESSORS, _MAJOR, _MINOR)
            }
            found.append(
                Gpu(
                    name=name.value.decode(errors="replace"),
                    chip=f"sm_{attribute[_MAJOR]}{attribute[_MINOR]}",
                    memory_bytes=memory.value,
                    multiprocessors=attribute[_MULTIPROCESSORS],
                )
            )
        return found

    def peers(self, count: int) -> list[list[bool]]:
        """Whether GPU `i` reaches the memory of GPU `j`; each reaches its own."""
        devices = [self.number("cuDeviceGet", ordinal) for ordinal in range(count)]
        return [
            [
                one == other or bool(self.number("cuDeviceCanAccessPeer", one, other))
                for other in devices
            ]
            for one in devices
        ]


def _nccl_file() -> str:
    """The file of the NCCL that this process has loaded."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            path = line.rstrip("\n").partition("/")
            if "libnccl.so" in path[2]:
                return path[1] + path[2]
    return ""


def nccl() -> tuple[str, str]:
    """Version and file of NCCL: as the runtime finds it, or that of a wheel from PyPI.

    The runtime takes the copy that the process has already, such as torch's, then
    the one that ``MOE_NCCL_LIBRARY`` names, then the loader's.

    Raises
    ------
    DriverError
        There is none.
    """
    name = "libnccl.so.2"
    wheels = [Path(folder) / "nvidia" / "nccl" / "lib" / name for folder in sys.path]
    first = os.environ.get("MOE_NCCL_LIBRARY") or name
    for file in (first, *(str(wheel) for wheel in wheels if wheel.is_file())):
        try:
            library = ctypes.CDLL(file)
            out = ctypes.c_int()
            if library.ncclGetVersion(ctypes.byref(out)) == 0:
                number = out.value
                # 2.9 and later: 20902 for 2.9.2; before that 2804.
                major, rest = divmod(number, 10000 if number >= 10000 else 1000)
                return f"{major}.{rest // 100}.{rest % 100}", _nccl_file() or file
        except (OSError, AttributeError):
            continue
    raise DriverError(f"{first}: not found, nor in a package nvidia-nccl")
