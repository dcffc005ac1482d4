# ===- moe_mlir/compiler/diagnostics.py - what the compiler says --*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What the compiler says of a module: diagnostics, and the exceptions that carry them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moe_mlir.compiler.passes import PassRun


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A place in a source file.

    Attributes
    ----------
    file
        Its name, as the module has it.
    line, column
        From 1.
    """

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """Something that the compiler says of a module.

    Attributes
    ----------
    severity
        ``error``, ``warning``, ``remark`` or ``note``.
    message
        The text, without place and severity.
    location
        The place in the source; None when it is unknown.
    op
        Name of the op that it is about, such as ``moe.dispatch``; None when it
        is unknown.
    notes
        Diagnostics that belong to it, such as one on the other op when two
        disagree.
    """

    severity: str
    message: str
    location: SourceLocation | None = None
    op: str | None = None
    notes: tuple[Diagnostic, ...] = ()

    def __str__(self) -> str:
        place = f"{self.location}: " if self.location else ""
        lines = [f"{place}{self.severity}: {self.message}", *map(str, self.notes)]
        return "\n".join(lines)

    def to_json(self) -> list[Any]:
        """Return what `from_json` reads, as values that JSON has."""
        place = self.location
        return [
            self.severity,
            self.message,
            [place.file, place.line, place.column] if place else None,
            self.op,
            [note.to_json() for note in self.notes],
        ]

    @classmethod
    def from_json(cls, value: list[Any]) -> Diagnostic:
        """Make the diagnostic again that `to_json` was called for."""
        severity, message, place, op, notes = value
        location = SourceLocation(*place) if place else None
        return cls(severity, message, location, op, tuple(map(cls.from_json, notes)))


class CompileError(Exception):
    """The compiler refuses a module, or has failed.

    Attributes
    ----------
    diagnostics : list of Diagnostic
        What it says, in order; at least one of them is an error.
    passes : PassRun or None
        When a pass of a pass manager failed, what ran up to there.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        # The only argument, so that the exception can be pickled.
        super().__init__(diagnostics)
        self.diagnostics = list(diagnostics)
        self.passes: PassRun | None = None

    def __str__(self) -> str:
        return "\n".join(map(str, self.diagnostics)) or "error: the compiler gives no reason"


class OptionError(CompileError, ValueError):
    """An option, a pipeline or an argument is wrong; the module does not matter."""


class CompilerCrash(CompileError):
    """The compiler has a mistake: it crashed, or came to a fatal error.

    The process goes on, and so does the compiler; what the crash held is leaked.
    """


class StaleError(RuntimeError):
    """Something is used that is no longer there.

    It was taken from a module before passes ran on it, or its context has been
    left unusable by a crash.
    """
