# ===- moe_mlir/compiler/passes.py - what running passes gives --*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What a pass manager says of its run."""

from __future__ import annotations

from dataclasses import dataclass

from moe_mlir.compiler.diagnostics import Diagnostic


@dataclass(frozen=True, slots=True)
class IRDump:
    """The IR after a pass.

    Attributes
    ----------
    pass_name
        The pass, as pipelines name it.
    op
        Name of the op that it ran on, such as ``builtin.module``.
    text
        That op as text; in the generic form when the pass has failed.
    """

    pass_name: str
    op: str
    text: str


@dataclass(frozen=True, slots=True)
class PassTiming:
    """The time that a pass took on one op.

    Attributes
    ----------
    pass_name
        The pass, as pipelines name it.
    op
        Name of the op that it ran on.
    seconds
        Wall-clock time in seconds, verification after it not included.
    """

    pass_name: str
    op: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PassRun:
    """What a pass manager says of its run.

    Attributes
    ----------
    ir
        The IR after the passes that `print_after` names, in order.
    timings
        The time of each pass, in order. A pass that runs on several ops is
        listed for each.
    remarks
        What passes chose and why, as far as `remarks` asked for it.
    diagnostics
        Warnings; and errors, in the run of a CompileError.
    """

    ir: list[IRDump]
    timings: list[PassTiming]
    remarks: list[Diagnostic]
    diagnostics: list[Diagnostic]
