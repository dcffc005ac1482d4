#===- conftest.py - tools and targets of the tests of entries -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""MOE_BIN_DIR has the tools, MOE_STANDIN_DRIVER_DIR the driver that stands in
for that of GPUs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

SECONDS = 120


class Tools:
    """Compiles and runs modules for one target in a folder of its own."""

    def __init__(self, folder: Path, target: str):
        self.folder, self.target = folder, target
        self.bin = Path(os.environ["MOE_BIN_DIR"]).absolute()
        self.environment = dict(os.environ, MOE_STANDIN_GPUS="2")
        if target == "cuda":
            self.environment["LD_LIBRARY_PATH"] = os.path.abspath(
                os.environ["MOE_STANDIN_DRIVER_DIR"])

    def execute(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]], cwd=self.folder,
            env=self.environment, capture_output=True, text=True,
            timeout=SECONDS, check=False)

    def compile(self, text: str) -> None:
        """Makes m.so."""
        (self.folder / "m.mlir").write_text(text, encoding="utf-8")
        result = self.execute("moe-compile", "m.mlir", "--target", self.target,
                              "-o", "m.so")
        assert result.returncode == 0, result.stderr

    def run(self, entry: str, inputs: list[np.ndarray], ranks: int = 1,
            outputs: int = 1) -> subprocess.CompletedProcess:
        command = ["moe-run", "-n", str(ranks), "--target", self.target, "m.so",
                   "--entry", entry]
        for i, array in enumerate(inputs):
            np.save(self.folder / f"a{i}.npy", array)
            command += ["--in", f"a{i}.npy"]
        for i in range(outputs):
            command += ["--out", f"r{i}.{{rank}}.npy"]
        return self.execute(*command)

    def result(self, index: int = 0, rank: int = 0) -> np.ndarray:
        return np.load(self.folder / f"r{index}.{rank}.npy")


@pytest.fixture(params=["host", "cuda"])
def tools(request, tmp_path) -> Tools:
    return Tools(tmp_path, request.param)
