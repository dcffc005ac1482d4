#===- moe_mlir/runtime/errors.py - errors as exceptions -------*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Errors of the runtime, with what is known of them as fields."""

from __future__ import annotations

import enum
from typing import Any

__all__ = ["Code", "MoEError", "encodable", "text_of"]


class Code(enum.IntEnum):
    """What kind of error it is; the values of `moert_code`."""

    OK = 0
    INVALID_ARGUMENT = 1
    """Wrong shape, type, entry name, file, and the like."""
    IO = 2
    """A file could not be read or written."""
    ABI_MISMATCH = 3
    """An artifact of another version, CPU or number of ranks."""
    UNAVAILABLE = 4
    """The backend is not present on this machine."""
    OUT_OF_MEMORY = 5
    """Host, device or symmetric memory."""
    TIMEOUT = 6
    """A bounded wait ended."""
    PEER_FAILED = 7
    """Another rank died or reported an error."""
    COLLECTIVE_MISMATCH = 8
    """Ranks run different collectives."""
    INVALID_EXPERT = 9
    """An expert id is out of range."""
    CAPACITY_EXCEEDED = 10
    """More rows than the receive buffer holds."""
    INVALID_COUNT = 11
    """Counts or rows are out of range."""
    INTERNAL = 12
    """A bug in moe-mlir."""
    ASSERTION_FAILED = 13
    """A `cf.assert` of the module does not hold."""


class MoEError(RuntimeError):
    """An error of the runtime. What is not known of it is None.

    Parameters
    ----------
    code : int
        One of `Code`.
    message : str
        The whole message.

    Attributes
    ----------
    code : Code
        That of this rank's call.
    cause : Code
        That on the rank where the error was first: `INVALID_EXPERT`, say, where
        `code` is `PEER_FAILED`. Else the same as `code`.
    message : str
    rank : int or None
        Rank that reports the error.
    origin : int or None
        Rank where it was first.
    peer : int or None
        Rank that was waited for, or that a wrong value is about.
    op, location, phase : str or None
        The collective: ``"moe.dispatch"``, ``"layer.mlir:12:8"``, ``"route"``.
    what : str or None
        What was checked or waited for: ``"expert id of token 3, slot 1"``.
    expected, seen : str or None
        ``"-1 to 7"`` and ``"12"``.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        cause: int | None = None,
        rank: int | None = None,
        origin: int | None = None,
        peer: int | None = None,
        op: str | None = None,
        location: str | None = None,
        phase: str | None = None,
        what: str | None = None,
        expected: str | None = None,
        seen: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = Code(code)
        self.cause = self.code if cause is None else Code(cause)
        self.message = message
        self.rank = rank
        self.origin = origin
        self.peer = peer
        self.op = op
        self.location = location
        self.phase = phase
        self.what = what
        self.expected = expected
        self.seen = seen

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors travel between processes, for example through multiprocessing.
        return (_restore, (int(self.code), self.message, dict(self.__dict__)))


def encodable(text: str) -> str:
    """Return a text that UTF-8 has, as the C API takes it.

    Lone surrogates, which `os.fsdecode` makes of file names that are not UTF-8, become
    escapes.
    """
    return str.encode(text, "utf-8", "backslashreplace").decode()


def text_of(error: BaseException) -> str:
    """Return the type and the text of an exception, whatever its ``__str__`` does."""
    name = type(error).__name__
    try:
        text = f"{name}: {error}"
    except Exception as other:
        text = f"{name}, whose text cannot be had: its __str__ raised {type(other).__name__}"
    return encodable(text)


def _restore(code: int, message: str, fields: dict[str, Any]) -> MoEError:
    error = MoEError(code, message)
    error.__dict__.update(fields)
    return error
