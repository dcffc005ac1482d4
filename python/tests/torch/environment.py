# ===- environment.py - a Python environment with torch -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Makes the environment of the tests of moe_mlir.torch, and runs a command in it.

    environment.py FOLDER                  # make it, from PyPI, unless it is there
    environment.py FOLDER -- -m pytest ... # run its Python

torch takes 3.7 GB and a minute or two, so no other suite has it. What takes longer than
--seconds, and a PyPI that cannot be reached, end with the exit status 77: the tests are
skipped, and the reason is printed. MOE_TORCH_ENV names an environment to use instead.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

SKIPPED = 77
# pip compiles none of the 6,000 modules; importing these compiles the 2,000 that are
# used, which halves the time that each process of the tests takes to start.
IMPORTED = "torch, torch._dynamo, torch._dynamo.backends.common, torch.distributed, pytest"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
UNREACHED = re.compile(
    r"connection broken|Failed to establish|Name or service|timed out|Max retries|ProxyError",
    re.IGNORECASE,
)


def skip(reason: str) -> int:
    print(f"skipped: {reason}")
    return SKIPPED


def mark(folder: Path) -> Path:
    """The file that says that an environment has these requirements."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    return folder / f"installed-{digest}"


def make(folder: Path, seconds: float) -> int:
    """Make the environment, or say why not."""
    if mark(folder).exists():
        print(f"{folder} is there")
        return 0
    begun = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "bin" / "python"
    steps = [
        [sys.executable, "-m", "venv", folder],
        [python, "-m", "pip", "install", "--no-deps", "--no-compile", "--retries", "1",
         "--timeout", "20", "--disable-pip-version-check", "-r", REQUIREMENTS],
        [python, "-c", f"import {IMPORTED}; print('torch', torch.__version__)"],
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    for step in steps:
        left = seconds - (time.monotonic() - begun)
        command = [str(word) for word in step]
        try:
            done = subprocess.run(
                command, env=environment, text=True, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=max(left, 1),
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            shutil.rmtree(folder, ignore_errors=True)
            return skip(f"an environment with torch was not made within {seconds:.0f} s")
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            last = done.stdout[-2000:]
            if UNREACHED.search(done.stdout):
                return skip(f"PyPI cannot be reached:\n{last}")
            print(f"{' '.join(command)}:\n{last}", file=sys.stderr)
            return 1
    mark(folder).touch()
    print(f"{done.stdout.strip()} in {folder}, after {time.monotonic() - begun:.0f} s")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=280)
    parser.add_argument("command", nargs="*")
    args = parser.parse_args()
    given = os.environ.get("MOE_TORCH_ENV")
    folder = Path(given) if given else args.folder.absolute()
    if not args.command:
        return 0 if given else make(folder, args.seconds)
    if not given and not mark(folder).exists():
        return skip(f"{folder} has no torch; the test python-torch-environment says why")
    return subprocess.run([folder / "bin" / "python", *args.command], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
