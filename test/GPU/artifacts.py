#===- artifacts.py - compiled modules of the tests -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Gives the artifact of a module: one that was compiled before, as in a bundle,
when its text is the same, else one that moe-compile makes now.
"""

from __future__ import annotations

import concurrent.futures
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from pool import Failure
from report import Skip

COMPILE_SECONDS = 300


def with_options(text, options):
    """The text of a module that is compiled for GPUs with these options. They
    stand at its end, so that lines keep their numbers."""
    return f"{text}// options: {shlex.join(options)}\n"


def needs_ptxas(text):
    return re.search(r"^// options: .*--gpu-format=cubin", text, re.MULTILINE)


def has_ptxas():
    """Whether moe-compile finds it."""
    home = os.environ.get("CUDA_HOME")
    return shutil.which("ptxas") or (home and (Path(home) / "bin/ptxas").is_file())


class Artifacts:
    def __init__(self, compiler: Path, target: str, made: Path, work: Path):
        self.compiler, self.target = compiler, target
        self.made, self.work = made, work
        self.paths, self.texts = {}, {}
        self.later = {}
        self.without_ptxas = set()
        self.num_compiled = self.num_found = 0

    @property
    def can_compile(self):
        return os.access(self.compiler, os.X_OK)

    def found(self, key, text):
        """An artifact made before: of this text and by this compiler."""
        source, artifact = self.made / f"{key}.mlir", self.made / f"{key}.so"
        if not (source.is_file() and artifact.is_file()):
            return None
        if source.read_text() != text:
            return None
        if self.can_compile:
            if artifact.stat().st_mtime < self.compiler.stat().st_mtime:
                return None
        return artifact

    def compile(self, key, text, folder):
        """(path, None), or (None, what went wrong)."""
        (folder / f"{key}.mlir").write_text(text)
        command = [
            str(self.compiler), f"{key}.mlir", "--target", self.target, "-o",
            f"{key}.so",
        ]
        options = re.search(r"^// options: (.*)$", text, re.MULTILINE)
        if options and self.target == "cuda":
            command += shlex.split(options[1])
        try:
            result = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=COMPILE_SECONDS, check=False,
            )
        except subprocess.TimeoutExpired:
            return None, f"moe-compile took more than {COMPILE_SECONDS} s"
        if result.returncode:
            return None, (
                f"{' '.join(command)} exited with {result.returncode}:\n"
                f"{result.stdout[:4000]}"
            )
        return folder / f"{key}.so", None

    def prepare(self, modules, later=()):
        """Sees to it that path() has an answer for {key: text}. Those of `later`
        are compiled when path() is first asked for them."""
        missing = {}
        for key, text in modules.items():
            self.texts[key] = text
            path = self.found(key, text)
            if path:
                self.paths[key] = path, None
                self.num_found += 1
            elif needs_ptxas(text) and not (self.can_compile and has_ptxas()):
                # Also for a host target, where nobody asks for it.
                self.without_ptxas.add(key)
            elif key in later and self.can_compile:
                self.later[key] = text
            else:
                missing[key] = text
        if missing and not self.can_compile:
            reason = (
                "the artifacts that came along are of other modules (numpy "
                "draws other cases?), and there is no moe-compile to make new "
                "ones"
            )
            self.paths.update({key: (None, reason) for key in missing})
            return
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
            made = {
                key: threads.submit(self.compile, key, text, self.work)
                for key, text in missing.items()
            }
        for key, job in made.items():
            self.paths[key] = job.result()
            self.num_compiled += 1

    def path(self, key) -> Path:
        if key in self.without_ptxas:
            raise Skip(
                "its kernels are to be assembled: no such artifact came along, "
                "and here is no moe-compile that finds ptxas"
            )
        if key in self.later:
            self.paths[key] = self.compile(key, self.later.pop(key), self.work)
            self.num_compiled += 1
        path, error = self.paths[key]
        if error:
            raise Failure(error)
        return path
