# ===- test_wheel.py - the wheel in fresh environments -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Makes the wheel of the build MOE_BUILD_DIR, and tries it in a fresh
environment of each Python that is at hand.

The environments get the wheel's requirements from PyPI.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("MOE_BUILD_DIR", ROOT / "build")).absolute()
MOST_BYTES = 45_000_000
SECONDS = 280
VERSIONS = ("3.11", "3.12", "3.13")


def execute(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command outside of the build's package; return what it prints."""
    environment = {
        name: value for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS,
        check=False)
    assert result.returncode == 0, f"{command}:\n{result.stdout[-4000:]}"
    return result.stdout


def find_python(version: str) -> Path | None:
    """Find an interpreter, among those that the system and pyenv have."""
    places = [
        Path("/usr/bin"),
        *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin")),
        *map(Path, os.environ.get("PATH", "").split(os.pathsep)),
    ]
    for place in places:
        program = place / f"python{version}"
        if program.is_file() and "shims" not in program.parts:
            return program
    return None


def quick_start() -> str:
    """Return the first Python block of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert block, "the README has no Python block"
    return block[1]


@pytest.fixture(scope="module")
def wheel() -> Path:
    """Make the wheel."""
    execute(ROOT / "scripts" / "wheel", "--build", BUILD)
    wheels = list((BUILD / "dist").glob("*.whl"))
    assert len(wheels) == 1, wheels
    return wheels[0]


def test_one_wheel_serves_every_python_and_most_systems(wheel: Path) -> None:
    match = re.fullmatch(
        r"moe_mlir-[0-9.]+-cp311-abi3-manylinux_2_(\d+)_x86_64\.whl", wheel.name)
    assert match, wheel.name
    assert int(match[1]) <= 34, f"{wheel.name} asks for a newer glibc than 2.34"
    assert wheel.stat().st_size <= MOST_BYTES


def test_extensions_keep_to_the_stable_abi(wheel: Path) -> None:
    said = execute(sys.executable, "-m", "abi3audit", "--strict", "--verbose", wheel)
    assert "0 ABI violations" in " ".join(said.split()), said


def test_wheel_holds_what_it_needs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for name in (
        "py.typed", "_runtime.pyi", "_compiler.pyi", "_runtime.abi3.so",
        "_compiler.abi3.so", "lib/libmoe_runtime.so", "lib/libmoe_compiler.so",
        "bin/moe-run",
    ):
        assert f"moe_mlir/{name}" in names, name
    foreign = [name for name in names
               if not name.startswith(("moe_mlir/", "moe_mlir-")) or
               "__pycache__" in name or name.endswith((".in", ".cpp", ".h"))]
    assert not foreign, foreign


@pytest.mark.parametrize("version", VERSIONS)
def test_a_fresh_environment_runs_the_quick_start(
    wheel: Path, tmp_path: Path, version: str
) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"there is no Python {version} on this machine")
    execute(python, "-m", "venv", tmp_path / "env")
    bin_dir = tmp_path / "env" / "bin"
    execute(bin_dir / "python", "-m", "pip", "install", "--quiet",
            "--disable-pip-version-check", wheel)
    (tmp_path / "first.py").write_text(quick_start(), encoding="utf-8")
    execute(bin_dir / "python", "-W", "error", "first.py", cwd=tmp_path)

    (tmp_path / "double.mlir").write_text(
        "func.func @double(%x: tensor<4xf32>) -> tensor<4xf32> {\n"
        "  %y = arith.addf %x, %x : tensor<4xf32>\n"
        "  return %y : tensor<4xf32>\n}\n")
    assert "arith.addf" in execute(bin_dir / "moe-opt", "double.mlir", cwd=tmp_path)
    execute(bin_dir / "moe-compile", "double.mlir", "-o", "double.so", cwd=tmp_path)
    execute(bin_dir / "moe-lsp-server", "--help")
    execute(bin_dir / "python", "-c",
            "import numpy; numpy.save('x.npy', numpy.arange(4, dtype='f4'))",
            cwd=tmp_path)
    execute(bin_dir / "moe-run", "-n", "1", "double.so", "--in", "x.npy", "--out",
            "y.npy", cwd=tmp_path)
    said = execute(bin_dir / "python", "-c",
                   "import numpy; print(numpy.load('y.npy').tolist())", cwd=tmp_path)
    assert said.split("\n")[0] == "[0.0, 2.0, 4.0, 6.0]"
