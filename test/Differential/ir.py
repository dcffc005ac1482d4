#===- ir.py - what programs are made of -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Types, values and ops of a program, and what a value holds on all ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TensorType:
    dtype: str
    shape: tuple  # None is a dynamic extent

    def __str__(self):
        dims = "".join(f"{'?' if d is None else d}x" for d in self.shape)
        return f"tensor<{dims}{self.dtype}>"


@dataclass(eq=False)
class Value:
    name: str
    type: TensorType

    def __str__(self):
        return f"%{self.name}"


@dataclass
class Data:
    """A value on all ranks.

    `valid` marks specified rows; `loose` rows that came out of arithmetic,
    where a NaN may be any NaN.
    """

    arrays: list
    valid: list = None
    loose: bool = False
    loose_rows: list = None

    def __post_init__(self):
        if self.valid is None:
            self.valid = [np.ones(a.shape[:1], bool) for a in self.arrays]
        if self.loose_rows is None:
            self.loose_rows = [
                np.full(a.shape[:1], self.loose, bool) for a in self.arrays
            ]
        self.loose = self.loose or any(r.any() for r in self.loose_rows)


class Env(dict):
    """Values and what they hold, while an entry is evaluated."""

    def __init__(self, values, exact_messages):
        super().__init__(values)
        self.exact_messages = exact_messages


def attr_dict(pairs):
    """A pair without a value is a unit attribute."""
    body = ", ".join(
        name if value is None else f"{name} = {value}" for name, value in pairs
    )
    return f" {{{body}}}" if body else ""


def functional_type(operands, results):
    ins = ", ".join(str(v.type) for v in operands)
    outs = ", ".join(str(v.type) for v in results)
    if len(results) != 1:
        outs = f"({outs})"
    return f"({ins}) -> {outs}"


class Op:
    """An op with its results; subclasses print and evaluate it."""

    mnemonic = ""
    results: list

    def assign(self, text):
        names = ", ".join(map(str, self.results))
        return f"{names} = {text}"
