# ===- test_snippets.py - the code of the pages works -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Runs the fenced blocks of docs/Python.md, docs/Embedding.md and docs/JAX.md.

Python of a page runs from top to bottom in one process, as a reader would type it. C
programs are compiled with warnings as errors and run in order, in one folder; C++ is
compiled. A block after `<!-- not run: REASON -->` is left out, and the reason
printed.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from moe_mlir.__main__ import make_parser

ROOT = Path(__file__).resolve().parents[3]
PAGES = ("Python.md", "Embedding.md", "JAX.md")
BIN = Path(os.environ["MOE_BIN_DIR"])
LIB = Path(os.environ.get("MOE_LIB_DIR") or BIN.parent / "lib")
MAJOR = (ROOT / "cmake" / "llvm-version.txt").read_text().split(".")[0]
LLVM = Path(f"/usr/lib/llvm-{MAJOR}")
INCLUDES = [ROOT / "include", ROOT / "runtime" / "include", BIN.parent / "include"]
SECONDS = 300

FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>.*?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

# Runs blocks in one namespace; lines in tracebacks are those of the page.
RUNNER = """
import json, sys
page, blocks = json.load(sys.stdin)
namespace = {"__name__": "__main__"}
for line, code in blocks:
    exec(compile("\\n" * line + code, page, "exec"), namespace)
"""


def blocks(page, language):
    """Line of the fence, code, and the reason not to run it, of each block."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        if match["language"] == language:
            line = text[: match.start("code")].count("\n")
            found.append((line, match["code"], match["reason"]))
    return found


def to_run(page, language):
    found = []
    for line, code, reason in blocks(page, language):
        if reason:
            print(f"docs/{page}:{line}: not run: {reason}")
        else:
            found.append((line, code))
    return found


def run(command, folder, **options):
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False, **options
    )
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout}{done.stderr}"


def test_every_block_has_a_test():
    """A language that nothing here runs would go unnoticed."""
    for page in PAGES:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        languages = re.findall(r"^```(\w+)$", text, re.MULTILINE)
        assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(languages)
        assert len(FENCE.findall(text)) == len(languages)
        assert set(languages) <= {"python", "c", "cpp", "sh"}
        assert len(to_run(page, "python")) >= 2


@pytest.mark.parametrize("page", PAGES)
def test_python(page, tmp_path):
    import json

    pytest.importorskip("jaxlib", reason="jaxlib is not installed")
    environment = {
        **os.environ,
        "MPLBACKEND": "Agg",
        "MOE_MLIR_CACHE_DIR": str(tmp_path / "cache"),
    }
    run(
        # Values that nothing has written are often no numbers, of which numpy warns.
        [sys.executable, "-W", "error::RuntimeWarning", "-c", RUNNER],
        tmp_path,
        input=json.dumps([f"docs/{page}", to_run(page, "python")]),
        env=environment,
    )


def test_c_programs_compile_a_module_and_run_it(tmp_path):
    programs = to_run("Embedding.md", "c")
    assert len(programs) == 2
    for number, (line, code) in enumerate(programs):
        library = "moe_compiler" if "moe-mlir-c/" in code else "moe_runtime"
        if not (LIB / f"lib{library}.so").exists():
            pytest.skip(f"{LIB}/lib{library}.so is not built")
        source = tmp_path / f"program{number}.c"
        source.write_text(f'#line {line + 1} "docs/Embedding.md"\n{code}')
        command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", source.name, "-o"]
        command += [f"program{number}", *(f"-I{path}" for path in INCLUDES)]
        command += ["-isystem", str(LLVM / "include"), f"-L{LIB}", f"-l{library}"]
        run([*command, f"-Wl,-rpath,{LIB}"], tmp_path)
        run([f"./program{number}"], tmp_path)


def test_cpp_compiles(tmp_path):
    compiler = LLVM / "bin" / "clang++"
    if not compiler.exists():
        pytest.skip(f"{compiler} is not installed")
    programs = to_run("Embedding.md", "cpp")
    assert programs
    for line, code in programs:
        source = tmp_path / "program.cpp"
        source.write_text(f'#line {line + 1} "docs/Embedding.md"\n{code}')
        command = [compiler, "-std=c++17", "-fsyntax-only", "-Wall", "-Werror", source.name]
        command += [f"-I{path}" for path in INCLUDES]
        run([*command, "-isystem", LLVM / "include"], tmp_path)


def test_commands_are_ones_there_are():
    lines = [
        line.partition("#")[0].strip()
        for page in PAGES
        for _, code, _ in blocks(page, "sh")
        for line in code.splitlines()
    ]
    commands = [line for line in lines if line.startswith("python -m moe_mlir")]
    assert len(commands) >= 5
    for command in commands:
        make_parser().parse_args(shlex.split(command)[3:])
