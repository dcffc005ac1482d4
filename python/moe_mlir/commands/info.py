# ===- info.py - what is installed and found -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""``python -m moe_mlir info``: versions, programs, driver, GPUs, NCCL."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.metadata
import json
import platform
from typing import Any

import moe_mlir

from . import driver, programs

PROGRAMS = ("moe-compile", "moe-opt", "moe-run", "moe-lsp-server")
PACKAGES = ("numpy", "ml_dtypes", "torch", "jax", "cupy", "matplotlib")


def add_parser(commands: Any) -> None:
    """Adds the command to those of ``python -m moe_mlir``."""
    parser = commands.add_parser("info", help="what is installed and found")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)


def part(name: str) -> dict[str, Any]:
    """Version of a part of the package, or why it cannot be imported."""
    try:
        module = importlib.import_module(f"moe_mlir.{name}")
    except ImportError as error:
        return {"found": False, "reason": str(error)}
    version = getattr(module, "version", None)
    return {"found": True, "version": version() if callable(version) else moe_mlir.__version__}


def packages() -> dict[str, str]:
    """Versions of the frameworks that are installed; none of them is imported."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def cuda() -> dict[str, Any]:
    """The driver and its GPUs, or why there are none."""
    try:
        found = driver.Driver()
        gpus = found.gpus()
        return {
            "found": True,
            "version": found.version(),
            "gpus": [dataclasses.asdict(gpu) for gpu in gpus],
            "peer_access": found.peers(len(gpus)),
        }
    except driver.DriverError as error:
        return {"found": False, "reason": str(error), "gpus": [], "peer_access": []}


def nccl() -> dict[str, Any]:
    """NCCL, or that there is none."""
    try:
        version, file = driver.nccl()
    except driver.DriverError as error:
        return {"found": False, "reason": str(error)}
    return {"found": True, "version": version, "file": file}


def collect() -> dict[str, Any]:
    """All that the command prints."""
    return {
        "version": moe_mlir.__version__,
        "package": str(programs.folders()[0].parent),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {platform.libc_ver()[0]} "
        f"{platform.libc_ver()[1]}",
        "runtime": part("runtime"),
        "compiler": part("compiler"),
        "programs": {name: str(programs.find(name) or "") for name in PROGRAMS},
        "cuda": cuda(),
        "nccl": nccl(),
        "packages": packages(),
    }


def _found(what: dict[str, Any]) -> str:
    return str(what["version"]) if what["found"] else f"not found ({what['reason']})"


def _peers(matrix: list[list[bool]]) -> str:
    """Which pairs of GPUs reach each other's memory."""
    without = [
        f"{i} to {j}"
        for i, row in enumerate(matrix)
        for j, reaches in enumerate(row)
        if not reaches
    ]
    return f"not from {', '.join(without)}" if without else "between all"


def text(facts: dict[str, Any]) -> str:
    """The facts, one a line."""
    lines = [
        ("moe-mlir", f"{facts['version']} in {facts['package']}"),
        ("python", f"{facts['python']} on {facts['machine']}"),
        ("runtime", _found(facts["runtime"])),
        ("compiler", _found(facts["compiler"])),
    ]
    lines += [(name, path or "not found") for name, path in facts["programs"].items()]
    found = facts["cuda"]
    lines.append(("CUDA driver", _found(found)))
    for i, gpu in enumerate(found["gpus"]):
        lines.append(
            (
                f"GPU {i}",
                f"{gpu['name']}, {gpu['chip']}, {gpu['multiprocessors']} multiprocessors, "
                f"{gpu['memory_bytes'] / 2**30:.0f} GiB",
            )
        )
    if len(found["gpus"]) > 1:
        lines.append(("peer access", _peers(found["peer_access"])))
    found = facts["nccl"]
    lines.append(("NCCL", _found(found) + (f" in {found['file']}" if found["found"] else "")))
    lines += list(facts["packages"].items())
    return "\n".join(f"{name:<15} {value}" for name, value in lines)


def run(given: argparse.Namespace) -> int:
    """Prints what is installed and found."""
    facts = collect()
    print(json.dumps(facts, indent=2) if given.json else text(facts))
    return 0
