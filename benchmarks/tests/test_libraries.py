# ===- test_libraries.py - where libraries are looked for -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""An option that names a library names a file: without a folder, one of the
current folder, as the default of --baselines does."""

import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import gpu_exchange

GPU = Path(gpu_exchange.__file__).resolve().parent / "gpu"


@pytest.fixture(name="modules")
def modules_without_torch(monkeypatch):
    """The two modules that load libraries, which need torch for tensors only."""
    torch = types.ModuleType("torch")
    torch.bfloat16, torch.float32, torch.int32 = object(), object(), object()
    monkeypatch.setitem(sys.modules, "torch", torch)
    for name in ("handwritten", "runtime"):
        monkeypatch.delitem(sys.modules, f"gpu.{name}", raising=False)
    from gpu import handwritten, runtime  # pylint: disable=import-outside-toplevel
    yield handwritten, runtime
    for name in ("handwritten", "runtime"):
        sys.modules.pop(f"gpu.{name}", None)


def make_library(path, names):
    """A library with functions that return 0."""
    source = path.with_suffix(".c")
    source.write_text("".join(f"int {name}(void) {{ return 0; }}\n" for name in sorted(names)))
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, source], check=True, timeout=60)


def baseline_functions():
    return {f"moeb_{name}" for name in re.findall(r"\bmoeb_(\w+)\(", (GPU.parent / "baselines" / "Baselines.h").read_text())}


def test_name_without_folder_is_a_file_of_the_current_one(modules, tmp_path, monkeypatch):
    handwritten, runtime = modules
    make_library(tmp_path / "libmoe_baselines.so", baseline_functions())
    monkeypatch.chdir(tmp_path)
    handwritten.Library("libmoe_baselines.so")
    # It is loaded, and then found to be no runtime.
    with pytest.raises(AttributeError, match="moert_last_error"):
        runtime.Runtime("libmoe_baselines.so", 0, 1, None, None)


def test_folders_of_the_system_are_not_searched(modules, tmp_path, monkeypatch):
    handwritten, runtime = modules
    monkeypatch.chdir(tmp_path)
    for load in (handwritten.Library, lambda path: runtime.Runtime(path, 0, 1, None, None)):
        with pytest.raises(OSError, match=re.escape(str(tmp_path / "libm.so.6"))):
            load("libm.so.6")


def test_no_other_way_to_load_a_library():
    """Whatever else loads one has to look in the same place."""
    loads = [f"{path.name}: {line.strip()}" for path in sorted(GPU.glob("*.py")) for line in path.read_text().splitlines()
             if re.search(r"CDLL|LoadLibrary|dlopen", line)]
    assert loads == ["abi.py: return c.CDLL(str(Path(path).absolute()))"]
