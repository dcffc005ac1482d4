# ===- moe_mlir/compiler/_isolated.py - compiling in a process of its own --*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Compiling in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import moe_mlir
from moe_mlir import _compiler
from moe_mlir.compiler.artifact import Artifact
from moe_mlir.compiler.diagnostics import (
    CompileError,
    CompilerCrash,
    Diagnostic,
    OptionError,
)

_LONGEST_SECONDS = 2_000_000
_LENGTH = struct.Struct("<Q")
_ERRORS: dict[str, type[CompileError]] = {
    cls.__name__: cls for cls in (CompileError, CompilerCrash, OptionError)
}
# The package of this process, wherever that found it.
_PROGRAM = """\
import sys
sys.path.insert(0, sys.argv[1])
from moe_mlir.compiler import _isolated
_isolated.main()
"""


def compile_here(source: bytes, filename: str, options: list[tuple[str, str]]) -> Artifact:
    """Compile in this process."""
    data, ptx, report, remarks, diagnostics = _compiler.compile(source, filename, options)
    return Artifact(
        data=data,
        ptx=ptx.decode() or None,
        remarks=remarks,
        diagnostics=diagnostics,
        _report=report,
    )


def run(source: bytes, filename: str, options: list[tuple[str, str]], timeout: float) -> Artifact:
    """Compile in a new process, which is ended when it takes too long."""
    if not sys.executable:
        raise OptionError([Diagnostic("error", "'isolate' needs sys.executable")])
    if not timeout >= 0:
        raise OptionError([Diagnostic("error", f"'timeout' expects seconds, got {timeout}")])
    home = Path(moe_mlir.__file__).parents[1]
    head = json.dumps([filename, options]).encode()
    try:
        child = subprocess.run(
            # Without -P modules in the working directory would be those of Python.
            [sys.executable, "-P", "-c", _PROGRAM, os.fspath(home)],
            input=_LENGTH.pack(len(head)) + head + source,
            stdout=subprocess.PIPE,
            # The system has no time-outs of weeks.
            timeout=timeout if timeout < _LONGEST_SECONDS else None,
        )
    except subprocess.TimeoutExpired:
        message = f"the compiler's process has been ended after {timeout:g} s"
        raise CompileError([Diagnostic("error", message)]) from None
    if child.returncode != 0:
        raise CompilerCrash([Diagnostic("error", _describe_end(child.returncode))])
    kind, body = child.stdout[:1], child.stdout[1:]
    if kind == b"A":
        return Artifact.from_bytes(body)
    name, diagnostics = json.loads(body)
    raise _ERRORS[name]([Diagnostic.from_json(d) for d in diagnostics])


def _describe_end(status: int) -> str:
    if status >= 0:
        return f"the compiler's process ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"the compiler's process was ended by {name}"


def main() -> None:
    """Compile what is on standard input; the result goes to standard output."""
    request = sys.stdin.buffer.read()
    (size,) = _LENGTH.unpack_from(request)
    start = _LENGTH.size + size
    filename, options = json.loads(request[_LENGTH.size : start])
    try:
        artifact = compile_here(request[start:], filename, [(n, v) for n, v in options])
        result = b"A" + artifact.to_bytes()
    except CompileError as error:
        name = type(error).__name__
        text = json.dumps([name, [d.to_json() for d in error.diagnostics]])
        result = b"E" + text.encode()
    sys.stdout.buffer.write(result)
