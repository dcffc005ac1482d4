# ===- function.py - a function to build ops in -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What tests of builders build in, and what moe-opt makes of it."""

from typing import Any

import job

from moe_mlir import upstream

# Memory spaces of dialects that jaxlib does not have: its memrefs cannot have them,
# so numbers stand for them until the module is text.
SPACE, GROUP = "777", "778"
SPACES = {SPACE: "#symm.space", GROUP: "#gpu.address_space<workgroup>"}


def opt(module, *options):
    """What moe-opt makes of a module: its ops have to verify."""
    return job.run([job.tool("moe-opt"), "-", *options], input=str(module).encode())


class Body:
    """A function to build in; `value(type)` is a new argument of it."""

    def __init__(self, ir: Any):
        from jaxlib.mlir.dialects import func

        self.ir, self.func = ir, func
        self.module = ir.Module.create()
        with ir.InsertionPoint(self.module.body):
            upstream.grid(ir, "ep", 2)
            self.function = func.FuncOp("f", ([], []))
        self.block = self.function.add_entry_block()
        self.types = []

    def value(self, text):
        kind = self.ir.Type.parse(text)
        self.types.append(kind)
        return self.block.add_argument(kind, self.ir.Location.unknown())

    def text(self):
        ir = self.ir
        with ir.InsertionPoint(self.block):
            self.func.ReturnOp([])
        kind = ir.TypeAttr.get(ir.FunctionType.get(self.types, []))
        self.function.operation.attributes["function_type"] = kind
        text = self.module.operation.get_asm(print_generic_op_form=True)
        for number, space in SPACES.items():
            text = text.replace(f", {number}>", f", {space}>")
        return text
