# ===- moe_mlir/compiler/artifact.py - a compiled module -------*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A compiled module."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from moe_mlir.compiler._elf import read_symbol
from moe_mlir.compiler._files import write_file
from moe_mlir.compiler.diagnostics import Diagnostic

_HEADER = struct.Struct("<Q")


@dataclass(frozen=True)
class Artifact:
    """A compiled module.

    The runtime loads it (`moe_mlir.Group.load`), and so does moe-run from a file.

    Attributes
    ----------
    data
        The bytes of the shared object; with the option `emit`, those of another
        stage.
    ptx
        The kernels as PTX; None when there are none, or not as PTX.
    remarks
        What the compiler chose, and why.
    diagnostics
        Its warnings.
    is_cached
        Whether it comes from the cache.
    """

    data: bytes
    ptx: str | None
    remarks: list[Diagnostic]
    diagnostics: list[Diagnostic]
    is_cached: bool = field(default=False, compare=False)
    _report: bytes = field(default=b"", repr=False)

    @cached_property
    def report(self) -> dict[str, Any]:
        """What ``moe-compile --report=json`` prints.

        Memory in bytes per rank; the rows, bytes and kernel of each collective
        op; empty after ``report="none"``.
        """
        value: dict[str, Any] = json.loads(self._report or b"{}")
        return value

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the artifact says of itself, see docs/Artifact.md.

        Raises
        ------
        ValueError
            `data` is no artifact but another stage, as the option `emit` asked
            for.
        """
        text = read_symbol(self.data, "moe_artifact_manifest")
        value: dict[str, Any] = json.loads(text.split(b"\0", 1)[0])
        return value

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `data` to a file, as a whole or not at all.

        Parameters
        ----------
        path
            The file; a regular one that is there is replaced, through links to it.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        OSError
            It cannot be written, or something else is there, such as a device.
        """
        file = Path(path)
        write_file(file.resolve(), self.data, mode=0o666)
        return file

    def __repr__(self) -> str:
        cached = ", cached" if self.is_cached else ""
        return f"Artifact({len(self.data)} bytes{cached})"

    def to_bytes(self) -> bytes:
        """Return everything in one piece, as `from_bytes` reads it."""
        ptx = (self.ptx or "").encode()
        head = json.dumps(
            {
                "ptx": len(ptx),
                "report": len(self._report),
                "remarks": [r.to_json() for r in self.remarks],
                "diagnostics": [d.to_json() for d in self.diagnostics],
            }
        ).encode()
        return b"".join([_HEADER.pack(len(head)), head, ptx, self._report, self.data])

    @classmethod
    def from_bytes(cls, data: bytes, *, is_cached: bool = False) -> Artifact:
        """Make the artifact again that `to_bytes` was called for."""
        (size,) = _HEADER.unpack_from(data)
        start = _HEADER.size + size
        head = json.loads(data[_HEADER.size : start])
        ptx_end = start + head["ptx"]
        report_end = ptx_end + head["report"]
        return cls(
            data=data[report_end:],
            ptx=data[start:ptx_end].decode() or None,
            remarks=[Diagnostic.from_json(r) for r in head["remarks"]],
            diagnostics=[Diagnostic.from_json(d) for d in head["diagnostics"]],
            is_cached=is_cached,
            _report=data[ptx_end:report_end],
        )
