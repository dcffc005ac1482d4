#===- harness.py - run math functions on a target -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Compiles one module per element type, with an entry per function, and runs
it on arrays."""

from __future__ import annotations

import ast
import os
import subprocess
from pathlib import Path

import numpy as np

from functions import ALL, FPOWI, UNARY, Function
from values import TYPES

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(os.environ.get("MOE_BIN_DIR", ROOT / "build" / "bin")).absolute()
STANDIN = os.environ.get(
    "MOE_STANDIN_DRIVER_DIR", str(ROOT / "build" / "runtime" / "tests" / "driver")
)
SECONDS = 600


def body_of(function: Function, element: str) -> str:
    """The op, of %0, %1 and %2."""
    if function is FPOWI:
        return f"math.fpowi %0, %1 : {element}, i32"
    if function.name == "clampf":
        return f"math.clampf %0 to [%1, %2] : {element}"
    return f"{function.op} {', '.join(f'%{i}' for i in range(function.arity))} : {element}"


def entry_of(function: Function, element: str) -> str:
    types = [element] * function.arity + (["i32"] if function is FPOWI else [])
    args = ", ".join(f"%x{i}: tensor<?x{t}>" for i, t in enumerate(types))
    tensors = ", ".join(f"%x{i}" for i in range(len(types)))
    of = ", ".join(f"tensor<?x{t}>" for t in types)
    maps = ", ".join(["#id"] * (len(types) + 1))
    scalars = ", ".join(f"%{i}: {t}" for i, t in enumerate(types))
    return f"""
func.func @{function.name}({args}) -> tensor<?x{element}> {{
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x0, %c0 : tensor<?x{types[0]}>
  %init = tensor.empty(%n) : tensor<?x{element}>
  %y = linalg.generic {{indexing_maps = [{maps}], iterator_types = ["parallel"]}}
      ins({tensors} : {of}) outs(%init : tensor<?x{element}>) {{
  ^bb0({scalars}, %old: {element}):
    %r = {body_of(function, element)}
    linalg.yield %r : {element}
  }} -> tensor<?x{element}>
  return %y : tensor<?x{element}>
}}"""


def module_of(element: str) -> str:
    return "#id = affine_map<(i) -> (i)>" + "".join(entry_of(f, element) for f in ALL)


def load(path: Path, dtype: np.dtype) -> np.ndarray:
    """The array in a file, whose type numpy may have no name for."""
    raw = path.read_bytes()
    assert raw[:8] == b"\x93NUMPY\x01\x00"
    start = 10 + int.from_bytes(raw[8:10], "little")
    shape = ast.literal_eval(raw[10:start].decode("latin1").strip())["shape"]
    return np.frombuffer(raw[start:], dtype).reshape(shape)


class Target:
    """A target, with what has been compiled for it.

    Parameters
    ----------
    name
        As moe-compile and moe-run call it.
    folder
        For modules, artifacts and arrays.
    options
        More options of moe-compile.
    """

    def __init__(self, name: str, folder: Path, options: tuple[str, ...] = ()):
        self.name, self.folder, self.options = name, folder, options
        self.artifacts: dict[str, Path] = {}

    def artifact(self, element: str) -> Path:
        return self.compiled(element, module_of(element))

    def compiled(self, name: str, text: str) -> Path:
        """The artifact of a module, compiled when it is first asked for."""
        if name not in self.artifacts:
            source = self.folder / f"{name}.mlir"
            artifact = self.folder / f"{name}-{'-'.join([self.name, *self.options])}.so"
            source.write_text(text)
            self.finish([BIN / "moe-compile", source, "--target", self.name,
                         *self.options, "-o", artifact])
            self.artifacts[name] = artifact
        return self.artifacts[name]

    def run(self, function: Function, element: str, args: list[np.ndarray]) -> np.ndarray:
        """The results of a function for arrays of the same length."""
        return self.call(self.artifact(element), function.name, args, TYPES[element])

    def call(
        self, artifact: Path, entry: str, args: list[np.ndarray], dtype: np.dtype
    ) -> np.ndarray:
        """The only result of an entry, of type `dtype`."""
        command = [BIN / "moe-run", artifact, "--entry", entry, "--target", self.name]
        for i, arg in enumerate(args):
            path = self.folder / f"in{i}.npy"
            np.save(path, arg)
            command += ["--in", path]
        path = self.folder / "out.npy"
        path.unlink(missing_ok=True)
        self.finish([*command, "--out", path])
        return load(path, dtype)

    @staticmethod
    def finish(command: list) -> None:
        environment = dict(os.environ)
        environment["LD_LIBRARY_PATH"] = STANDIN
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )
        assert done.returncode == 0, done.stderr


assert len({f.name for f in ALL}) == len(ALL) and len(UNARY) == 30
