#===- package.py - the Python package on GPUs -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""The scenes of python/tests/{runtime,torch,torchtitan,compat,jax}, and the two
examples that train, each in a process of its own. The ranks of all folders but the last
are threads, on however many GPUs there are; the rest takes two GPUs."""

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
COMPAT_TESTS = ROOT / "python" / "tests" / "compat"
JAX_TESTS = ROOT / "python" / "tests" / "jax"
EXAMPLES = ROOT / "examples"

from modules import CUDA_SCENES, EXCHANGE, TABLES_SCENES  # noqa: E402

OF_TORCH = (
    "gradients", "checkpointing", "captured_forward", "captured_training_step",
    "side_stream", "mixed_streams", "given_tensors", "strided_tensors", "compiled",
    "host_tensors",
)
OF_TORCHTITAN = ("layer", "captured_layer")
OF_COMPAT = (
    "rows", "expanded", "combined", "reused", "overlapped", "normal", "low_latency",
    "captured",
)

OF_JAX = (
    "threads", "processes", "threads_collective", "processes_collective",
)

# Why ranks that are threads need a GPU each: what they share with a GPU otherwise.
ONE_BACKWARD = ("torch runs the backward passes of all ranks of a GPU on one thread, "
                "and those wait for each other")
ONE_ALLOCATOR = ("torch has one allocator for all ranks of a GPU, whose calls wait for "
                 "kernels and end captures of the others")
NEED_A_GPU_EACH = {
    "torch/gradients": ONE_BACKWARD,
    "torch/checkpointing": ONE_BACKWARD,
    "torch/side_stream": ONE_ALLOCATOR,
    "torchtitan/layer": ONE_BACKWARD,
    "compat/captured": ONE_ALLOCATOR,
}

# Whether a framework is there and finds two GPUs; else why not, as the last line.
PROBES = {
    "torch": "import sys, torch\n"
             "found = torch.cuda.device_count()\n"
             "sys.exit(f'torch finds {found} GPUs' if found < 2 else 0)\n",
    "jax": "import sys, jax\n"
           "found = sum(d.platform == 'gpu' for d in jax.devices())\n"
           "sys.exit(f'JAX finds {found} GPUs' if found < 2 else 0)\n",
}
EXAMPLE_OPTIONS = {"torch": ("--device", "cuda"), "jax": ("--gpu",)}
EXAMPLE_STEPS = 20

KEY = "exchange"  # locations in messages name it
EXAMPLE_KEY = "language-model"
SECONDS = 120
EXAMPLE_SECONDS = 300  # JAX compiles for most of it


def modules(settings):
    """{key: text} of the modules that the scenes run. Their kernels are small: the
    ranks that share a GPU have to run at the same time."""
    options = ["--blocks=2", "--threads=64"]
    made = {KEY: with_options(textwrap.dedent(EXCHANGE), options)}
    folders = {"torch": TORCH_TESTS}
    if not settings.stand_in:  # which has nothing that a framework could use
        folders |= {"compat": COMPAT_TESTS, "jax": JAX_TESTS}
        example = run_python(settings, EXAMPLES / "language_model.py", 2)
        if example.returncode == 0:
            made[EXAMPLE_KEY] = with_options(example.stdout, options)
    for framework, folder in folders.items():
        plans = run_python(settings, folder / "scene_plans.py")
        if plans.returncode == 0:
            made.update((f"{framework}-{name}", with_options(text, options))
                        for name, text in json.loads(plans.stdout).items())
    return made


# Ranks that are threads may share a GPU, where one rank's kernel waits for the other
# rank's. A driver that first loads a kernel of the framework's when it is launched waits
# for the kernels that run, until their time is up and their results are void.
SHARED_GPU = {"CUDA_MODULE_LOADING": "EAGER", "CUDA_DEVICE_MAX_CONNECTIONS": "32"}


def run_python(settings, *arguments, seconds=SECONDS):
    environment = SHARED_GPU | dict(
        os.environ, PYTHONPATH=str(settings.bin.parent / "python"),
        PYTHONDONTWRITEBYTECODE="1",
        MOE_TEST_ARTIFACT_DIR=str(settings.test_artifacts))
    try:
        return subprocess.run(
            [sys.executable, *map(str, arguments)], env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=seconds, check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(f"did not end within {seconds} s\n{error.stderr}") from None


def check_scene(settings, store, scene):
    check_end(run_python(settings, TESTS / "cuda_scenes.py", scene,
                         store.path(KEY).parent))


def check_tables_scene(settings, scene):
    check_end(run_python(settings, TESTS / "tables_scenes.py", scene))


def need_gpus(settings, name):
    if settings.gpus < 2 and name in NEED_A_GPU_EACH:
        raise Skip(NEED_A_GPU_EACH[name])


def check_torch_scene(settings, store, tests, scene):
    need_gpus(settings, f"{tests.name}/{scene}")
    folder = store.path("torch-alone").parent
    check_end(run_python(settings, tests / "cuda_scenes.py", scene, folder))


def check_compat_scene(settings, store, scene):
    if settings.stand_in:
        raise Skip("torch cannot use the stand-in driver")
    need_gpus(settings, f"compat/{scene}")
    folder = store.path("compat-counts-1").parent
    check_end(run_python(settings, COMPAT_TESTS / "cuda_scenes.py", scene, folder))


def check_jax_scene(settings, store, scene, missing):
    if missing:
        raise Skip(missing)
    folder = store.path("jax-weights").parent
    check_end(run_python(settings, JAX_TESTS / "gpu_scenes.py", scene, folder))


def check_example(settings, store, framework, missing):
    """A few steps of it: it compares losses with those of a dense model itself."""
    if missing:
        raise Skip(missing)
    found = settings.work / f"{framework}-example.json"
    result = run_python(
        settings, EXAMPLES / f"{framework}_moe" / "train.py",
        *EXAMPLE_OPTIONS[framework], "--steps", EXAMPLE_STEPS, "--artifact",
        store.path(EXAMPLE_KEY), "--json", found, seconds=EXAMPLE_SECONDS,
    )
    if result.returncode:
        raise Failure(f"exit status {result.returncode}\n{result.stdout[-2000:]}"
                      f"{result.stderr[-4000:]}")
    losses = json.loads(found.read_text())["parallel"]
    if not losses[-1] < losses[0] - 1:
        raise Failure(f"expected losses that fall, got {losses}")


def missing_framework(settings, framework):
    """Why a framework cannot be used on two GPUs; None when it can."""
    probe = run_python(settings, "-c", PROBES[framework])
    if probe.returncode == 0:
        return None
    return (probe.stderr.strip().rpartition("\n")[2]
            or f"{framework} ended with exit status {probe.returncode}")


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
    for scene in TABLES_SCENES:
        report.test(f"package/tables/{scene}", check_tables_scene, settings, scene)
    for scene in OF_TORCH:
        report.test(f"package/torch/{scene}", check_torch_scene, settings,
                    store, TORCH_TESTS, scene)
    for scene in OF_TORCHTITAN:
        report.test(f"package/torchtitan/{scene}", check_torch_scene, settings,
                    store, TITAN_TESTS, scene)
    for scene in OF_COMPAT:
        report.test(f"package/compat/{scene}", check_compat_scene, settings, store,
                    scene)
    for framework, scenes in (("torch", ()), ("jax", OF_JAX)):
        names = [f"package/{framework}/{scene}" for scene in (*scenes, "example")]
        if not any(map(report.wants, names)):
            continue
        missing = missing_framework(settings, framework)
        for name, scene in zip(names, scenes):
            report.test(name, check_jax_scene, settings, store, scene, missing)
        report.test(names[-1], check_example, settings, store, framework, missing)
