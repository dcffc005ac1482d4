#===- targets.py - one module on every target -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""examples/moe_layer.mlir, as it is, compiled for each target and run on four
ranks: router, dispatch, experts, combine. All give the same bits, since every
target computes alike (docs/Math.md) and adds in the same order (docs/Spec.md).
What they are is compared with a dense layer in f64, as the example's own program
does it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

import nccl
from pool import Failure
from report import Skip

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tools/moe-run/tests")]

import run_demo  # noqa: E402
import two_hosts  # noqa: E402

MODULE = ROOT / "examples" / "moe_layer.mlir"
RANKS = run_demo.RANKS
SECONDS = 150  # of a compilation, or of a run
# A driver that interprets PTX takes a second or two for so many tokens a rank.
TOKENS_ON_STAND_IN = 12


# --- Ways to run four ranks ------------------------------------------------- #


def moe_run(settings, artifact, data, out):
    command = [str(settings.bin / "moe-run"), str(artifact), "--entry", "layer"]
    for name in ("x.{rank}", "router", "w1.{rank}", "w2.{rank}"):
        command += ["--in", str(data / f"{name}.npy")]
    for name in run_demo.RESULTS:
        command += ["--out", str(out / (name + ".{rank}.npy"))]
    return command


def run_command(command):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f"did not end within {SECONDS} s: {command}") from None
    if done.returncode:
        raise Failure(f"{' '.join(map(str, command))} exited with "
                      f"{done.returncode}\n{done.stdout[-4000:]}")


def on_one_host(settings, *run):
    run_command([*moe_run(settings, *run), "-n", str(RANKS)])


def on_gpus(settings, *run):
    if settings.target != "cuda":
        raise Skip("this target is for GPUs")
    on_one_host(settings, *run)


def with_nccl(settings, *run):
    """Ranks that share a GPU are of two hosts, or NCCL would refuse them."""
    if settings.target != "cuda":
        raise Skip("NCCL is for GPUs")
    gpus = [rank % settings.gpus for rank in range(RANKS)]
    hosts = 1 if settings.gpus >= RANKS else 2
    machine = nccl.Machine(settings, nccl.find_library(settings))
    with nccl.Job(settings, moe_run(settings, *run),
                  machine.ranks(gpus, hosts)) as job:
        job.expect_success()


def on_two_hosts(settings, *run):
    """Two network namespaces of this machine, and mpirun."""
    as_user = os.geteuid() != 0
    if reason := two_hosts.why_not(as_user):
        raise Skip(reason)
    with tempfile.TemporaryDirectory(prefix="moe-hosts-") as folder, \
            two_hosts.TwoHosts(Path(folder), as_user) as hosts:
        run_command([*hosts.mpirun(RANKS // 2, RANKS - RANKS // 2),
                     *moe_run(settings, *run)])
        if left := hosts.left():
            raise Failure(f"left processes behind: {left}")


# --- The targets ------------------------------------------------------------ #


@dataclass(frozen=True)
class Target:
    options: tuple[str, ...]  # of moe-compile
    launch: Callable


EXACT = ("--transport=messages", "--schedule=exact")
PADDED = ("--transport=messages", "--schedule=padded")
TARGETS = {
    # All others are compared with the first one.
    "host-direct": Target((), on_one_host),
    "host-messages-exact": Target(EXACT, on_one_host),
    "host-messages-padded": Target(PADDED, on_one_host),
    "two-hosts-exact": Target(EXACT, on_two_hosts),
    "two-hosts-padded": Target(PADDED, on_two_hosts),
    "cuda-direct": Target(("--target=cuda",), on_gpus),
    "nccl-exact": Target(("--target=nccl", "--schedule=exact"), with_nccl),
    "nccl-padded": Target(("--target=nccl", "--schedule=padded"), with_nccl),
}


def file_of(options):
    words = [word.lstrip("-").replace("=", "-") for word in options]
    return "-".join(["moe_layer", *words]) + ".so"


def find_artifact(settings, options, folder):
    """One that came along and is newer than the compiler, or a new one."""
    compiler = settings.bin / "moe-compile"
    made = settings.artifacts_made / file_of(options)
    can_compile = os.access(compiler, os.X_OK)
    sources = [MODULE, compiler] if can_compile else [MODULE]
    if made.is_file() and all(
            made.stat().st_mtime >= source.stat().st_mtime for source in sources):
        return made
    if not can_compile:
        raise Failure(f"there is no {made}, and no {compiler} to make it")
    made = folder / file_of(options)
    if not made.is_file():
        run_command([str(compiler), str(MODULE), *options, "-o", str(made)])
    return made


def prepare(settings):
    """Compiles the module for all targets, for a bundle."""
    for target in TARGETS.values():
        find_artifact(settings, target.options, settings.artifacts_made)


# --- Running them ----------------------------------------------------------- #


def copy_inputs(settings, folder):
    """Those of the example, with fewer tokens where they take long."""
    folder.mkdir()
    for source in (ROOT / "examples" / "data").glob("*.npy"):
        array = np.load(source)
        if source.name.startswith("x.") and settings.stand_in:
            array = array[:TOKENS_ON_STAND_IN]
        np.save(folder / source.name, array)


def compare(results, expected):
    for rank, (seen, wanted) in enumerate(zip(results, expected)):
        for name in run_demo.RESULTS:
            a, b = seen[name], wanted[name]
            if (a.dtype, a.shape) != (b.dtype, b.shape):
                raise Failure(f"%{name} of rank {rank} is {a.dtype}{a.shape}, not "
                              f"{b.dtype}{b.shape}")
            differs = np.argwhere(a.view(np.uint32) != b.view(np.uint32))
            if len(differs):
                at = tuple(differs[0])
                raise Failure(
                    f"%{name} of rank {rank} differs in {len(differs)} of {a.size} "
                    f"elements, first at {at}: {a[at]!r}, not {b[at]!r}")


def run(report, settings, _store):
    folder = settings.work / "targets"
    folder.mkdir()
    data = folder / "data"
    copy_inputs(settings, data)
    done = {}

    def results_of(name):
        """Runs a target, once."""
        if name not in done:
            target = TARGETS[name]
            artifact = find_artifact(settings, target.options, folder)
            out = folder / name
            out.mkdir()
            target.launch(settings, artifact, data, out)
            done[name] = [
                {result: np.load(out / f"{result}.{rank}.npy")
                 for result in run_demo.RESULTS}
                for rank in range(RANKS)
            ]
        return done[name]

    first, *others = TARGETS

    def check_first():
        try:
            run_demo.check(results_of(first), data)
        except run_demo.DemoError as error:
            raise Failure(str(error)) from None

    report.test(f"targets/{first}", check_first)
    for name in others:
        report.test(f"targets/{name}",
                    lambda: compare(results_of(name), results_of(first)))
