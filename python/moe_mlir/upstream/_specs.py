# ===- _specs.py - what is known of an op before it is built -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Descriptions of ops, which are generated from the op definitions."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Operand:
    """An operand of an op: one value, at most one, or any number."""

    name: str
    arity: str = "one"  # "one", "optional" or "variadic"


@dataclasses.dataclass(frozen=True)
class Attr:
    """An attribute of an op.

    ``kind`` says what Python value it is made of: ``"i64"``, ``"i32s"`` (a sequence of
    ints), ``"string"``, ``"symbol"``, ``"unit"`` (a bool), ``"enum"`` (one of ``cases``, written as
    ``template`` with the case in it), or ``"any"`` (an attribute of the user's
    ``ir`` module, or text of one).
    """

    name: str
    kind: str
    template: str = ""
    cases: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    """A result of an op.

    ``type`` is the text of its type where the definition fixes it, and
    ``same_as`` the operand that has the same type, where there is one.
    """

    name: str
    arity: str = "one"
    type: str = ""
    same_as: str = ""


@dataclasses.dataclass(frozen=True)
class OpSpec:
    """The definition of an op, as far as building it goes."""

    name: str
    operands: tuple[Operand, ...] = ()
    attributes: tuple[Attr, ...] = ()
    results: tuple[Result, ...] = ()
    regions: tuple[str, ...] = ()
    """Names of regions, each of one block without arguments and terminator."""
    has_operand_segments: bool = False
