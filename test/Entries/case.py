#===- case.py - one function and what it computes -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Cases of the generator, and the pieces of text that templates share."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Table = dict[str, dict[str, frozenset[str]]]


@dataclass
class Case:
    """A function, called with `inputs`, and its results.

    `uses` has the ops that are tested, with the types of their values: whether
    the table allows them says whether the function has to compile.
    """

    text: str
    uses: list[tuple[str, set[str]]]
    inputs: list[np.ndarray]
    expected: list[np.ndarray]
    ulps: float = 0
    name: str = ""
    input_types: list[str] = field(default_factory=list)
    result_types: list[str] = field(default_factory=list)

    def is_allowed(self, table: Table, target: str) -> bool:
        return all(
            op in table and types <= table[op][target]
            for op, types in self.uses
        )


def dims(shape, dynamic: bool) -> str:
    """"4x8x" or "?x?x", to be followed by an element type."""
    return "".join(f"{'?' if dynamic else n}x" for n in shape)


def tensor(shape, type_: str, dynamic: bool = False) -> str:
    return f"tensor<{dims(shape, dynamic)}{type_}>"


def empty_like(source: str, type_: str, shape, result: str,
               dynamic: bool) -> list[str]:
    """Lines that make %e, an empty tensor of the sizes of %`source`."""
    if not dynamic:
        return [f"%e = tensor.empty() : {tensor(shape, result)}"]
    lines, sizes = [], []
    for i in range(len(shape)):
        lines += [
            f"%k{i} = arith.constant {i} : index",
            f"%d{i} = tensor.dim %{source}, %k{i} : {tensor(shape, type_, True)}",
        ]
        sizes.append(f"%d{i}")
    lines.append(f"%e = tensor.empty({', '.join(sizes)}) : "
                 f"{tensor(shape, result, True)}")
    return lines


def function(arguments: list[str], results: list[str], body: list[str],
             returned: list[str]) -> str:
    """`NAME` stands for the function's name, which is given later."""
    args = ", ".join(f"%a{i}: {t}" for i, t in enumerate(arguments))
    lines = [f"func.func @NAME({args}) -> ({', '.join(results)}) {{"]
    lines += [f"  {line}" for line in body]
    if returned:
        lines.append(f"  return {', '.join(returned)} : {', '.join(results)}")
    return "\n".join([*lines, "}"])
