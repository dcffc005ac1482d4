#===- test_install.py - programs outside the tree -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Installs the build and builds programs of other projects against it.

MOE_BUILD_DIR is the build, MOE_MLIR_OPT the stock mlir-opt."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = Path(os.environ["MOE_BUILD_DIR"])
SECONDS = 500
MODULE = """
shard.grid @ep(shape = 2)
func.func @send(%x: tensor<4x8xf32>, %idx: tensor<4x2xi32>, %w: tensor<4x2xf32>)
    -> tensor<8x8xf32> {
  "toy.unknown"() : () -> ()
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 6 : i64}
    : (tensor<4x8xf32>, tensor<4x2xi32>, tensor<4x2xf32>)
   -> (tensor<8x8xf32>, tensor<8x2xi32>, tensor<8x2xf32>, tensor<8xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<4x2xi32>)
  return %r#0 : tensor<8x8xf32>
}
"""
DOUBLE = """
func.func @double(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = arith.addf %x, %x : tensor<4xf32>
  return %y : tensor<4xf32>
}
"""


def execute(*command: str | Path, cwd: Path | None = None,
            stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, input=stdin, text=True,
        capture_output=True, timeout=SECONDS, check=False)
    assert result.returncode == 0, (
        f"{command}: exit status {result.returncode}\n"
        f"{result.stdout[-4000:]}\n{result.stderr[-4000:]}")
    return result


def cached(name: str) -> str:
    """A variable of the build's cache."""
    for line in (BUILD / "CMakeCache.txt").read_text().splitlines():
        if match := re.match(rf"{name}(?::\w+)?=(.*)", line):
            return match[1]
    return ""


def configure_and_build(source: Path, build: Path, *options: str,
                        targets: tuple[str, ...] = ()) -> None:
    execute("cmake", "-S", source, "-B", build, "-G", "Ninja",
            f"-DCMAKE_C_COMPILER={cached('CMAKE_C_COMPILER')}",
            f"-DCMAKE_CXX_COMPILER={cached('CMAKE_CXX_COMPILER')}",
            "-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=lld", *options)
    words = ["--target", *targets] if targets else []
    execute("cmake", "--build", build, "-j", "2", *words)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installed in one place and used in another: it can be moved."""
    first = tmp_path_factory.mktemp("installed") / "first"
    for component in ("runtime", "compiler", "dev"):
        execute("cmake", "--install", BUILD, "--prefix", first,
                "--component", component)
    moved = first.with_name("moved")
    first.rename(moved)
    return moved


def test_no_file_names_the_tree_that_it_was_built_in(prefix: Path) -> None:
    found = [
        f"{path}: {line}"
        for folder in ("lib/cmake", "lib/pkgconfig")
        for path in sorted((prefix / folder).rglob("*")) if path.is_file()
        for line in path.read_text().splitlines()
        if str(ROOT) in line or str(BUILD) in line
    ]
    assert not found, "\n".join(found)


def test_installed_tools_run(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "double.mlir").write_text(DOUBLE)
    for tool in ("moe-opt", "moe-compile", "moe-lsp-server", "moe-reduce", "moe-run"):
        execute(prefix / "bin" / tool, "--help")
    execute(prefix / "bin" / "moe-compile", "double.mlir", "-o", "double.so",
            cwd=tmp_path)


def test_runtime_alone_needs_no_compiler(tmp_path: Path) -> None:
    execute("cmake", "--install", BUILD, "--prefix", tmp_path, "--component",
            "runtime")
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")
             if path.is_file()}
    assert files == {"bin/moe-run", "lib/libmoe_runtime.so"}


@pytest.mark.parametrize("way", ["cmake", "pkg-config"])
def test_c_program_on_the_installed_runtime(prefix: Path, tmp_path: Path,
                                            way: str) -> None:
    (tmp_path / "double.mlir").write_text(DOUBLE)
    execute(prefix / "bin" / "moe-compile", tmp_path / "double.mlir", "-o",
            tmp_path / "double.so")
    program = tmp_path / "call-entry"
    source = HERE / "runtime-c"
    if way == "cmake":
        configure_and_build(source, tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
        program = tmp_path / "build" / "call-entry"
    else:
        if not shutil.which("pkg-config"):
            pytest.skip("pkg-config is not installed")
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "moe-runtime"], text=True,
            env={**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")},
            capture_output=True, timeout=60, check=True).stdout.split()
        execute(cached("CMAKE_C_COMPILER"), source / "call-entry.c", *flags,
                f"-Wl,-rpath,{prefix}/lib", "-o", program)
    assert execute(program, tmp_path / "double.so").stdout.split() == [
        "2", "4", "6", "8"]


def test_programs_on_the_installed_compiler(prefix: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    configure_and_build(HERE / "opt-tool", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    said = execute(build / "toy-opt", "--toy-count-experts", stdin=MODULE)
    assert "remark: experts: 6" in said.stderr
    assert '"toy.unknown"' in said.stdout
    assert execute(build / "version").stdout.startswith("moe-mlir ")
    # The plug-in brings the passes of both projects to the stock mlir-opt.
    plugin = build / "toy-plugin.so"
    said = execute(os.environ["MOE_MLIR_OPT"], f"--load-dialect-plugin={plugin}",
                   f"--load-pass-plugin={plugin}",
                   "--pass-pipeline=builtin.module(moe-check-routes,toy-count-experts)",
                   stdin=MODULE)
    assert "remark: experts: 6" in said.stderr


def test_the_same_tool_by_add_subdirectory(tmp_path: Path) -> None:
    build = tmp_path / "build"
    configure_and_build(HERE / "subdirectory", build, f"-DMOE_MLIR_SOURCE_DIR={ROOT}",
                        targets=("toy-opt",))
    said = execute(build / "toy-opt", "--toy-count-experts", stdin=MODULE)
    assert "remark: experts: 6" in said.stderr
    # What is installed is the other project's alone.
    execute("cmake", "--install", build, "--prefix", tmp_path / "installed")
    files = sorted(str(path.relative_to(tmp_path / "installed"))
                   for path in (tmp_path / "installed").rglob("*") if path.is_file())
    assert files == ["bin/toy-opt"]
