# ===- job.py - runs modules with the programs of the build -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compiles with moe-compile and runs with moe-run, for tests of what is compiled.

A value is a list with one array per rank. `Loaded` has the interface of a loaded
artifact of the runtime, so that what is bound to one can be tested with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import secrets
import subprocess
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np

SECONDS = 120

DTYPES = {
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f8E4M3FN": np.dtype(ml_dtypes.float8_e4m3fn),
    "f8E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "i8": np.dtype(np.int8),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
}


class ToolError(RuntimeError):
    """A program of the build ended with an error; the text is its message."""


def add_seed_option(parser) -> None:
    # Suites that run together share the option.
    with contextlib.suppress(ValueError):
        parser.addoption("--moe-seed", type=int, help="repeats a run with random values")


def make_generator(request) -> np.random.Generator:
    """Random numbers; the seed is printed, so that a failure can be repeated."""
    seed = request.config.getoption("--moe-seed")
    if seed is None:
        seed = secrets.randbelow(10**9)
    print(f"{request.node.name}: --moe-seed {seed}")
    return np.random.default_rng(seed)


def tool(name: str) -> str:
    return str(Path(os.environ["MOE_BIN_DIR"]) / name)


def run(command: list[str], **options) -> str:
    result = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False, **options)
    if result.returncode != 0:
        raise ToolError(result.stderr.decode(errors="replace"))
    return result.stdout.decode()


@dataclasses.dataclass
class Artifact:
    path: Path
    data: bytes
    report: dict
    manifest: dict


class Compiler:
    """moe-compile in the place of moe_mlir.compiler.compile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers = itertools.count()

    def __call__(self, module: str | bytes, target: str = "host", **options) -> Artifact:
        data = module.encode() if isinstance(module, str) else module
        number = next(self.numbers)
        source = self.folder / f"module{number}.mlir"
        source.write_bytes(data)
        path = source.with_suffix(".so")
        command = [tool("moe-compile"), str(source), "--target", target, "-o", str(path)]
        for name, value in options.items():
            command.append(f"--{name.replace('_', '-')}={value}")
        report = json.loads(run([*command, "--report=json"]))
        content = path.read_bytes()
        return Artifact(path, content, report, manifest(content))


def manifest(artifact: bytes) -> dict:
    """The manifest of an artifact, as docs/Artifact.md describes it."""
    start = artifact.index(b'{"abi_version"')
    return json.loads(artifact[start : artifact.index(b"\0", start)])


def read(path: Path, dtype: str) -> np.ndarray:
    """An array that moe-run wrote; numpy has no names for the types of ml_dtypes."""
    return np.load(path).view(DTYPES[dtype])


class Entry:
    def __init__(self, loaded: Loaded, description: dict) -> None:
        self.loaded, self.description = loaded, description

    def __call__(self, *arguments, **launch):
        assert not launch, launch
        return self.loaded.call(self.description, arguments)

    def into(self, outs, *arguments, **launch):
        for out, result in zip(outs, self(*arguments, **launch), strict=True):
            for old, new in zip(out, result, strict=True):
                old[...] = new


class ThreadEntry:
    """An entry on ranks that are threads of this process."""

    def __init__(self, artifact: Artifact, name: str) -> None:
        self.artifact, self.name = artifact, name

    def __call__(self, *arguments, **launch):
        def call(group):
            results = self.entry(group)(*(a[group.rank] for a in arguments), **launch)
            # One result comes alone. Those in the workspace end with the group.
            several = results if isinstance(results, (list, tuple)) else (results,)
            return [np.array(result) for result in several]

        return tuple(map(list, zip(*self.on_ranks(call), strict=True)))

    def into(self, outs, *arguments, **launch):
        def call(group):
            mine = [a[group.rank] for a in arguments]
            self.entry(group).into([out[group.rank] for out in outs], *mine, **launch)

        self.on_ranks(call)

    def entry(self, group):
        return group.load(self.artifact)[self.name]

    def on_ranks(self, call):
        import moe_mlir

        return moe_mlir.run_local(self.artifact.manifest["ranks"], call)


class ThreadLoaded:
    """An artifact on threads of this process, which load it for each call."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact

    def __getitem__(self, name: str) -> ThreadEntry:
        return ThreadEntry(self.artifact, name)


class Loaded:
    """An artifact on ranks that moe-run starts for each call.

    `driver` is the folder of the CUDA driver to use instead of the machine's.
    """

    def __init__(self, artifact: Artifact, folder: Path, driver: str = "") -> None:
        self.artifact, self.folder = artifact, Path(tempfile.mkdtemp(dir=folder))
        self.environment = dict(os.environ)
        if driver:
            self.environment["LD_LIBRARY_PATH"] = driver
        self.entries = {e["name"]: e for e in artifact.manifest["entries"]}
        self.numbers = itertools.count()

    def __getitem__(self, name: str) -> Entry:
        return Entry(self, self.entries[name])

    def call(self, entry: dict, arguments):
        ranks = self.artifact.manifest["ranks"]
        place = self.folder / f"call{next(self.numbers)}"
        place.mkdir()
        command = [tool("moe-run"), "-n", str(ranks), str(self.artifact.path)]
        command += ["--entry", entry["name"]]
        assert len(arguments) == len(entry["args"])
        for i, argument in enumerate(arguments):
            assert len(argument) == ranks
            for rank, array in enumerate(argument):
                np.save(place / f"in{i}.{rank}.npy", array)
            command += ["--in", str(place / f"in{i}.{{rank}}.npy")]
        for i in range(len(entry["results"])):
            command += ["--out", str(place / f"out{i}.{{rank}}.npy")]
        run(command, env=self.environment)
        return tuple(
            [read(place / f"out{i}.{rank}.npy", result["dtype"]) for rank in range(ranks)]
            for i, result in enumerate(entry["results"])
        )
