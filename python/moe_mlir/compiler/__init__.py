# ===- moe_mlir/compiler/__init__.py - the compiler from Python --*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
r"""The compiler: read modules, look at them, run passes, make artifacts.

>>> from moe_mlir import compiler
>>> module = compiler.parse(open("layer.mlir").read(), filename="layer.mlir")
>>> for op in module.walk("moe.dispatch"):
...     print(op.location, op.attributes["num_experts"].value)
>>> run = module.run("moe-plan{target=cuda}", print_after=["moe-plan"], remarks=".*")
>>> print(run.ir[0].text, *run.remarks, sep="\n")
>>> artifact = compiler.compile(module, "cuda:sm_90")
>>> artifact.save("layer.so")

No mistake in a module, and none in the compiler, ends the process: they are
exceptions, see CompileError. Importing this loads no framework, and nothing of
the runtime.
"""

from moe_mlir._compiler import (
    Attribute,
    Block,
    Context,
    Location,
    Module,
    Operation,
    OperationAttributes,
    PassManager,
    Region,
    Type,
    Value,
    build_id,
    parse,
    version,
)
from moe_mlir.compiler._compile import compile, options
from moe_mlir.compiler.artifact import Artifact
from moe_mlir.compiler.cache import Cache, CacheWarning
from moe_mlir.compiler.diagnostics import (
    CompileError,
    CompilerCrash,
    Diagnostic,
    OptionError,
    SourceLocation,
    StaleError,
)
from moe_mlir.compiler.passes import IRDump, PassRun, PassTiming

__all__ = [
    "Artifact",
    "Attribute",
    "Block",
    "Cache",
    "CacheWarning",
    "CompileError",
    "CompilerCrash",
    "Context",
    "Diagnostic",
    "IRDump",
    "Location",
    "Module",
    "Operation",
    "OperationAttributes",
    "OptionError",
    "PassManager",
    "PassRun",
    "PassTiming",
    "Region",
    "SourceLocation",
    "StaleError",
    "Type",
    "Value",
    "build_id",
    "compile",
    "options",
    "parse",
    "version",
]
