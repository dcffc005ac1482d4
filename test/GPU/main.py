#===- main.py - all tests that need GPUs -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""scripts/test-gpu [--gpus N] [--only WORD]...: the conformance suite, the cases
of the differential test, graphs, faults, sanitizers, the Python package and one
module on every target, on N GPUs, or with --stand-in on a driver that interprets PTX.

Works in a checkout after a build, and in an unpacked bundle.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True

ROOT = Path(__file__).resolve().parents[2]
SUITES = (
    "differential", "moe-run", "graphs", "faults", "drivers", "sanitizers",
    "package", "nccl", "targets", "conformance",
)


def die(message):
    print(f"test-gpu: error: {message}", file=sys.stderr)
    sys.exit(2)


try:
    import ml_dtypes  # noqa: F401
    import numpy  # noqa: F401
except ImportError as error:
    die(f"{sys.executable} lacks a package: {error}")

import artifacts as artifact_store  # noqa: E402
import conformance  # noqa: E402
import differential  # noqa: E402
import drivers  # noqa: E402
import faults  # noqa: E402
import graphs  # noqa: E402
import messages  # noqa: E402
import nccl  # noqa: E402
import package  # noqa: E402
import sanitizers  # noqa: E402
import scenes  # noqa: E402
import targets  # noqa: E402
from cuda import CudaError, Driver  # noqa: E402
from report import Report  # noqa: E402


@dataclass
class Settings:
    target: str
    gpus: int
    seed: int
    cases: int  # random ones
    bin: Path
    library: str
    test_artifacts: Path
    artifacts_made: Path
    work: Path
    capability: int  # of the GPUs, its major number
    stand_in: bool  # the driver interprets PTX, and nothing else
    timeout: float = 20.0  # of waits for other ranks


def parse():
    parser = argparse.ArgumentParser(prog="test-gpu", description=__doc__)
    parser.add_argument("--gpus", type=int, default=2, metavar="N",
                        help="GPUs to use; fewer are an error (default: 2)")
    parser.add_argument("--only", action="append", default=[], metavar="WORD",
                        help="only tests whose names contain the word; may be "
                        f"repeated. Names begin with {', '.join(SUITES)}")
    parser.add_argument("--seed", type=int,
                        help="seed of all inputs (default: that of the artifacts "
                        "that came along, else a fresh one)")
    parser.add_argument("--cases", type=int, metavar="N",
                        help="random cases beside the fixed ones (default: 150)")
    parser.add_argument("--share", type=int, default=1, metavar="N",
                        help="one in N of the fixed cases of the suite "
                        "differential, drawn anew for each seed (default: 1, all; "
                        "also where MOE_TEST_ALL is 1)")
    parser.add_argument("--stand-in", action="store_true",
                        help="with a driver that interprets PTX on the CPU, "
                        "instead of GPUs")
    parser.add_argument("--target", choices=("cuda", "host"), default="cuda",
                        help="host: try these tests without a GPU")
    parser.add_argument("--build", type=Path, default=ROOT / "build",
                        help="build directory (default: build)")
    parser.add_argument("--prepare", action="store_true",
                        help="only compile the modules, for a bundle")
    options = parser.parse_args()
    if options.prepare or os.environ.get("MOE_TEST_ALL", "0") != "0":
        options.share = 1
    return options


def use_gpus(count):
    """Checks that `count` GPUs are there and makes them the only visible ones.
    Returns the major number of their compute capability.

    In a process of its own: this one must not start the driver, since its
    children are to see fewer GPUs.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            driver = Driver()
            found = driver.num_devices()
            major = driver.capability(0) if found else 0
            lines = [f"{found} {major}", f"driver of CUDA {driver.version()}"]
            for i in range(min(found, count)):
                reach = [j for j in range(min(found, count))
                         if j == i or driver.reaches(i, j)]
                lines.append(f"GPU {i}: {driver.name(i)}, reaches {reach}")
        except CudaError as error:
            lines = ["0 0", str(error)]
        os.write(write, "\n".join(lines).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        first, *lines = pipe.read().splitlines() or ["0 0", "the driver crashed"]
        found, major = map(int, first.split())
    os.waitpid(pid, 0)
    if found < count:
        die(f"found {found} GPUs, but {count} are asked for (--gpus)\n"
            + "\n".join(lines))
    for line in lines:
        print(line)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    every = visible.split(",") if visible else [str(i) for i in range(found)]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(every[:count])
    return major


def can_share_a_gpu(words):
    """Whether suites run whose ranks are content with one GPU for all of them."""
    return bool(words) and all(word.startswith(("nccl/", "package/")) for word in words)


def use_stand_in(options, build):
    """Starts this program again where the loader finds the stand-in driver."""
    folder = build / "runtime" / "tests" / "driver"
    if not (folder / "libcuda.so.1").is_file():
        die(f"there is no stand-in driver in {folder} (ninja moe-standin-driver)")
    os.environ["LD_LIBRARY_PATH"] = str(folder)
    os.environ["MOE_STANDIN_GPUS"] = str(options.gpus)
    os.environ["MOE_TEST_GPU_ON_STAND_IN"] = "1"
    if options.seed is not None:
        os.environ["MOE_STANDIN_SEED"] = str(options.seed)
    os.execv(sys.executable, [sys.executable, "-u", __file__, *sys.argv[1:]])


def choose_seed(options, made):
    """(seed, cases): those that artifacts were compiled for, if nothing else is
    asked for."""
    note = made / "seed.txt"
    if options.seed is None and options.cases is None and note.is_file():
        seed, cases = map(int, note.read_text().split())
        return seed, cases
    seed = options.seed
    if seed is None:
        seed = random.SystemRandom().randrange(2**31)
    return seed, 150 if options.cases is None else options.cases


def main():
    options = parse()
    build = options.build.resolve()
    made = build / "test" / "GPU" / options.target
    if options.stand_in and "MOE_TEST_GPU_ON_STAND_IN" not in os.environ:
        use_stand_in(options, build)
    if options.gpus < 2 and options.target == "cuda" and not can_share_a_gpu(options.only):
        die("there is nothing to exchange on fewer than 2 GPUs, but for ranks that "
            "share one (--only nccl/ --only package/)")
    capability = 0
    if options.target == "cuda" and not options.prepare:
        capability = use_gpus(options.gpus)
    report = Report(options.only)
    seed, cases = choose_seed(options, made)
    print(f"seed {seed}, {cases} random cases (--seed {seed} --cases {cases} "
          f"--share {options.share} repeats them)")

    with tempfile.TemporaryDirectory(prefix="moe-test-gpu-") as work:
        settings = Settings(
            options.target, options.gpus, seed, cases, build / "bin",
            str(build / "lib" / "libmoe_runtime.so"),
            build / "runtime" / "tests" / "artifacts", made, Path(work),
            capability, options.stand_in,
        )
        folder = settings.work
        if options.prepare:
            made.mkdir(parents=True, exist_ok=True)
            folder = made
        store = artifact_store.Artifacts(
            settings.bin / "moe-compile", options.target, made, folder
        )
        members, texts = differential.case_modules(
            seed, cases, options.target, options.share
        )

        def wants(suite):
            # A word that names no suite picks tests out of all of them.
            return not options.only or any(
                word.startswith(suite)
                or (suite != "conformance" and not word.startswith(SUITES))
                for word in options.only
            )

        wanted, later = {}, {}
        if options.prepare or wants("differential") or wants("moe-run"):
            wanted.update(texts)
        if options.target == "cuda" and (options.prepare or wants("package")):
            wanted.update(package.modules(settings))
        if options.prepare or any(map(wants, SUITES[2:-4])):
            # A bundle is for 2 and for 4 GPUs.
            sizes = (2, 4, 8) if options.prepare else ()
            later = scenes.modules(sizes or scenes.group_sizes(options.gpus))
            wanted.update(later)
            if options.prepare or capability and not options.stand_in:
                later = {}  # GPUs shall not wait for a compiler
        if options.target == "cuda" and (options.prepare or wants("nccl")):
            for gpus in (2, 4) if options.prepare else (options.gpus,):
                wanted.update(messages.modules(gpus, seed, cases))
        begin = time.monotonic()
        store.prepare(wanted, later)
        print(f"{store.num_found} artifacts found, {store.num_compiled} compiled "
              f"in {time.monotonic() - begin:.1f} s, {len(store.later)} left until "
              "they are needed")
        if store.without_ptxas:
            print("no ptxas to assemble the kernels of "
                  + ", ".join(sorted(store.without_ptxas)))
        if options.prepare:
            bad = [f"{key}: {error}" for key, (_, error) in store.paths.items()
                   if error]
            if bad:
                die("\n".join(bad))
            if options.target == "cuda":
                drivers.build(made / "drivers")
                targets.prepare(settings)
            (made / "seed.txt").write_text(f"{seed} {cases}\n")
            return 0

        for suite, function, *more in (
            ("differential", differential.run, store, members),
            ("moe-run", differential.run_tool, store, members),
            ("graphs", graphs.run, store),
            ("faults", faults.run, store),
            ("drivers", drivers.run, store),
            ("sanitizers", sanitizers.run, store),
            ("package", package.run, store),
            ("nccl", nccl.run, store),
            ("targets", targets.run, store),
            ("conformance", conformance.run),
        ):
            if wants(suite):
                report.suite(suite, function, report, settings, *more)
        if options.only and not (report.passed or report.failed):
            print(f"no test ran whose name contains {' or '.join(options.only)}")
        return report.close()


if __name__ == "__main__":
    sys.exit(main())
