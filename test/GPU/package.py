#===- package.py - the Python package on GPUs -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""The scenes of python/tests/runtime, python/tests/torch and python/tests/torchtitan,
each in a process of its own. Their ranks are threads, on however many GPUs there are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

from artifacts import with_options
from pool import Failure
from report import Skip

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "python" / "tests" / "runtime"
sys.path.append(str(TESTS))

TORCH_TESTS = ROOT / "python" / "tests" / "torch"
TITAN_TESTS = ROOT / "python" / "tests" / "torchtitan"

from modules import CUDA_SCENES, EXCHANGE  # noqa: E402

OF_TORCH = (
    "gradients", "checkpointing", "captured_forward", "captured_training_step",
    "side_stream", "mixed_streams", "given_tensors", "strided_tensors", "compiled",
    "host_tensors",
)
OF_TORCHTITAN = ("layer", "captured_layer")

KEY = "exchange"  # locations in messages name it
SECONDS = 120


def modules(settings):
    """{key: text} of the modules that the scenes run. Their kernels are small: the
    ranks that share a GPU have to run at the same time."""
    options = ["--blocks=2", "--threads=64"]
    made = {KEY: with_options(textwrap.dedent(EXCHANGE), options)}
    plans = run_python(settings, TORCH_TESTS / "scene_plans.py")
    if plans.returncode == 0:
        made.update((f"torch-{name}", with_options(text, options))
                    for name, text in json.loads(plans.stdout).items())
    return made


def run_python(settings, *arguments):
    environment = dict(os.environ, PYTHONPATH=str(settings.bin.parent / "python"),
                       PYTHONDONTWRITEBYTECODE="1")
    try:
        return subprocess.run(
            [sys.executable, *map(str, arguments)], env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=SECONDS, check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(f"did not end within {SECONDS} s\n{error.stderr}") from None


def check_scene(settings, store, scene):
    check_end(run_python(settings, TESTS / "cuda_scenes.py", scene,
                         store.path(KEY).parent))


def check_torch_scene(settings, store, tests, scene):
    folder = store.path("torch-alone").parent
    check_end(run_python(settings, tests / "cuda_scenes.py", scene, folder))


def check_end(result):
    if result.stdout.startswith("skipped: "):
        raise Skip(result.stdout.removeprefix("skipped: ").strip())
    if (result.returncode, result.stdout) != (0, "done\n"):
        raise Failure(f"exit status {result.returncode}\n{result.stdout}"
                      f"{result.stderr[-4000:]}")


def run(report, settings, store):
    if settings.target != "cuda":
        raise Skip("on the host target the package has tests of its own")
    probe = run_python(settings, "-c", "import moe_mlir.runtime")
    if probe.returncode:
        raise Skip(f"{sys.executable} cannot import the package: "
                   + probe.stderr.strip().rpartition("\n")[2])
    for scene in CUDA_SCENES:
        report.test(f"package/{scene}", check_scene, settings, store, scene)
    for scene in OF_TORCH:
        report.test(f"package/torch/{scene}", check_torch_scene, settings,
                    store, TORCH_TESTS, scene)
    for scene in OF_TORCHTITAN:
        report.test(f"package/torchtitan/{scene}", check_torch_scene, settings,
                    store, TITAN_TESTS, scene)
