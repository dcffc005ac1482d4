#===- drivers.py - missing, old and limited CUDA drivers -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Libraries that stand where the CUDA driver should be: each is an error with a
reason, through moe-run and through the C API (`unwilling` through the C API
alone)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from faults import expect
from moe_run import one_error, run_tool, send_arguments
from pool import Failure, Pool
from report import Skip

SOURCES = Path(__file__).resolve().parent / "drivers"
# The name under which apart.c and unwilling.c find the machine's driver.
REAL = "libmachine-cuda.so.1"
MiB = 1 << 20
# Calls of one rank that its driver refuses while symmetric memory grows (the
# first and second of a function, which are for different purposes), with what
# its error says.
REFUSALS = (
    ("cuMemCreate", 1, "OUT_OF_MEMORY", "bytes of symmetric memory are wanted"),
    ("cuMemMap", 1, "UNAVAILABLE|INTERNAL", "mapping memory"),
    ("cuMemMap", 2, "UNAVAILABLE|INTERNAL", "mapping symmetric memory"),
    ("cuMemSetAccess", 1, "UNAVAILABLE|INTERNAL", "mapping memory"),
    ("cuMemSetAccess", 2, "UNAVAILABLE|INTERNAL", "opening symmetric memory"),
    ("cuMemExportToShareableHandle", 1, "UNAVAILABLE|INTERNAL",
     "exporting symmetric memory"),
    ("cuMemImportFromShareableHandle", 1, "UNAVAILABLE|INTERNAL",
     "importing the memory of a rank"),
    ("cuMemImportFromShareableHandle", 2, "UNAVAILABLE|INTERNAL",
     "importing the memory of a rank"),
)


def build(folder):
    """Compiles the drivers, each into a folder of its own."""
    compiler = next(
        filter(None, map(shutil.which, ("cc", "gcc", "clang", "clang-22"))), None
    )
    if not compiler:
        raise Skip("no C compiler to build the drivers of this test with")

    def compile(source, out, *more):
        out.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-o", str(out), str(source), *more],
            check=True, timeout=60,
        )

    compile(SOURCES / "old.c", folder / "old" / "libcuda.so.1")
    # A stand-in to link with: only its name counts.
    stand_in = folder / "link" / REAL
    compile(SOURCES / "old.c", stand_in, f"-Wl,-soname,{REAL}")
    for name in ("apart", "unwilling"):
        compile(
            SOURCES / f"{name}.c", folder / name / "libcuda.so.1",
            "-Wl,--no-as-needed", f"-L{stand_in.parent}", f"-l:{REAL}", "-ldl",
        )
    shutil.rmtree(stand_in.parent)


def machine_driver():
    """The path of libcuda.so.1 as the loader finds it."""
    result = subprocess.run(
        [sys.executable, "-c", "import ctypes; ctypes.CDLL('libcuda.so.1'); "
         "print(open('/proc/self/maps').read())"],
        capture_output=True, text=True, timeout=60, check=False,
    )
    paths = re.findall(r"\s(/\S*libcuda\.so\S*)", result.stdout)
    if not paths:
        raise Failure(f"libcuda.so.1 is nowhere\n{result.stderr}")
    return paths[0]


def check(settings, artifacts, ranks, folder, *words):
    """Both moe-run and the C API refuse, with all of the words."""
    environment = {"LD_LIBRARY_PATH": str(folder)}
    args = send_arguments(settings, artifacts, ranks, settings.work / "in")
    one_error(run_tool(settings, args, environment), *words)
    with Pool(settings, ranks, environment=environment) as pool:
        per_rank = [
            (settings.library, r, ranks, settings.target, settings.timeout)
            for r in range(ranks)
        ]
        answers = dict(enumerate(pool.ask("join", per_rank)))
        expect(answers, ("UNAVAILABLE",), *words)


def missing(settings, artifacts, ranks, built):
    folder = settings.work / "missing"
    folder.mkdir()
    (folder / "libcuda.so.1").write_bytes(b"")
    check(settings, artifacts, ranks, folder, "no CUDA driver", r"libcuda\.so\.1")


def old(settings, artifacts, ranks, built):
    check(settings, artifacts, ranks, built / "old", "driver is too old", r"\b11\.0\b")


def before_the_machines(settings, built, name):
    """A folder with the driver `name` and the machine's, on which it depends."""
    folder = settings.work / name
    folder.mkdir()
    shutil.copy(built / name / "libcuda.so.1", folder)
    (folder / REAL).symlink_to(machine_driver())
    return folder


def apart(settings, artifacts, ranks, built):
    """Two GPUs that cannot access each other's memory."""
    folder = before_the_machines(settings, built, "apart")
    check(settings, artifacts, ranks, folder, r"GPU|device", "access|reach|peer")


def unwilling(settings, artifacts, ranks, built):
    """Memory cannot grow on one rank. It grows on none, all say why, and it
    grows when it is asked for again."""
    folder = before_the_machines(settings, built, "unwilling")
    refusal = settings.work / "refusal"
    victim = ranks - 1
    prefix = ["env", f"MOE_TEST_REFUSAL={refusal}.%RANK%"]
    environment = {"LD_LIBRARY_PATH": str(folder)}
    with Pool(settings, ranks, prefix, environment) as pool:
        pool.join(ranks)
        size, taken = 64 * MiB, []
        for function, number, code, text in REFUSALS:
            file = refusal.with_name(f"{refusal.name}.{victim}")
            file.write_text(f"{function} {number} ")
            answers = dict(enumerate(
                pool.ask("symm_alloc", [(size,)] * ranks, 30)
            ))
            if file.exists():
                raise Failure(f"no call {number} of {function}: {answers}")
            expect(answers, (*code.split("|"), "PEER_FAILED"), rf"rank {victim}\b")
            own = answers[victim]
            if own.code == "PEER_FAILED" or text not in own.text:
                raise Failure(f"{function}: no '{text}' in: {own}")
            # Kept, or the next one need not grow.
            taken.append(pool.all("symm_alloc", size))
        for addresses in taken:
            answers = pool.ask("symm_free", [(a,) for a in addresses])
            if not all(answer.ok for answer in answers):
                raise Failure(f"memory cannot be freed: {answers}")
        pool.leave()


def run(report, settings, artifacts):
    if settings.target != "cuda":
        raise Skip("a matter of GPUs")
    built = settings.artifacts_made / "drivers"
    if not (built / "unwilling" / "libcuda.so.1").is_file():
        built = settings.work / "drivers"
        build(built)
    for test in (missing, old, apart, unwilling):
        report.test(
            f"drivers/{test.__name__}", test, settings, artifacts,
            settings.gpus, built,
        )
