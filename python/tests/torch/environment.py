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
    environment.py FOLDER --extra NAME ... # with the packages of tests/NAME as well

torch takes 3.7 GB and a minute or two, so no other suite has it. What takes longer than
--seconds, and a PyPI that cannot be reached, end with the exit status 77: the tests are
skipped, and the reason is printed. MOE_TORCH_ENV names an environment to use instead.
Extra packages lie in a folder of their own, FOLDER-NAME.
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
# The same for extra packages: a file of their tests.
IMPORTED_EXTRA = {"torchtitan": "titan.py"}
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
UNREACHED = re.compile(
    r"connection broken|Failed to establish|Name or service|timed out|Max retries|ProxyError",
    re.IGNORECASE,
)


def skip(reason: str) -> int:
    print(f"skipped: {reason}")
    return SKIPPED


def mark(folder: Path, requirements: Path) -> Path:
    """The file that says that a folder has these requirements."""
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    return folder / f"installed-{digest}"


def install(requirements: Path, *options: str) -> list[str | Path]:
    """The options of Python that install packages."""
    return ["-m", "pip", "install", "--no-deps", "--retries", "1", "--timeout", "20",
            "--disable-pip-version-check", *options, "-r", requirements]  # fmt: skip


def make(
    folder: Path, requirements: Path, steps: list[list[str | Path]], seconds: float
) -> int:
    """Make a folder of packages by some commands, or say why not."""
    if mark(folder, requirements).exists():
        print(f"{folder} is there")
        return 0
    begun = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
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
            return skip(f"{folder} was not made within {seconds:.0f} s")
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            last = done.stdout[-2000:]
            if UNREACHED.search(done.stdout):
                return skip(f"PyPI cannot be reached:\n{last}")
            print(f"{' '.join(command)}:\n{last}", file=sys.stderr)
            return 1
    mark(folder, requirements).touch()
    print(f"{folder} was made in {time.monotonic() - begun:.0f} s\n{done.stdout.strip()}")
    return 0


def make_torch(folder: Path, seconds: float) -> int:
    """Make the environment with torch."""
    python = folder / "bin" / "python"
    steps: list[list[str | Path]] = [
        [sys.executable, "-m", "venv", folder],
        [python, *install(REQUIREMENTS, "--no-compile")],
        [python, "-c", f"import {IMPORTED}; print('torch', torch.__version__)"],
    ]
    return make(folder, REQUIREMENTS, steps, seconds)


def make_extra(base: Path, folder: Path, requirements: Path, seconds: float) -> int:
    """Make the folder of extra packages, beside the environment with torch."""
    first = requirements.with_name(IMPORTED_EXTRA[requirements.parent.name])
    run = "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_path(sys.argv[2])"
    steps: list[list[str | Path]] = [
        [sys.executable, *install(requirements, "--target", str(folder))],
        [base / "bin" / "python", "-c", run, folder, first],
    ]
    return make(folder, requirements, steps, seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--extra", metavar="NAME")
    parser.add_argument("--seconds", type=float, default=280)
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    args, command = parser.parse_args(words[:end]), words[end + 1 :]
    given = os.environ.get("MOE_TORCH_ENV")
    folder = Path(given) if given else args.folder.absolute()
    has_torch = bool(given) or mark(folder, REQUIREMENTS).exists()
    extra, requirements = None, REQUIREMENTS
    if args.extra:
        extra = args.folder.absolute().with_name(f"{args.folder.name}-{args.extra}")
        requirements = REQUIREMENTS.parents[1] / args.extra / "requirements.txt"
    if not command and not extra:
        return 0 if given else make_torch(folder, args.seconds)
    if not has_torch:
        return skip(f"{folder} has no torch; the test python-torch-environment says why")
    if extra and not command:
        return make_extra(folder, extra, requirements, args.seconds)
    if extra:
        if not mark(extra, requirements).exists():
            return skip(f"{extra} is not there; the test of its environment says why")
        paths = [str(extra), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    return subprocess.run([folder / "bin" / "python", *command], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
