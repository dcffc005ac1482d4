#===- fuzz.py - modules of all ops and types that entries may hold -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Draws functions of every op of arith, math, linalg and tensor that an entry
may contain, with all element types and with static and dynamic shapes.

A function that the table of moe-check-entries allows has to compile for each
target and to agree with numpy; every other one has to be refused with an error
that names the op and its place. Nothing may end a tool otherwise.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import elementwise
import scalars
import shaped
from case import Case
from table import TARGETS, read_table
from values import DTYPES, differences

HERE = Path(__file__).resolve().parent
COMPILE_SECONDS = 300
RUN_SECONDS = 300
PLACED = re.compile(r"^[^\s:]+\.mlir:(\d+):\d+: error: (.*)$", re.MULTILINE)
HOUSE_STYLE = re.compile(r"^'[\w.]+' op expects ")


def run(command: list[str], cwd: Path, seconds: float,
        environment: dict[str, str] | None = None) -> tuple[int, str]:
    """The exit status, negative after a signal, and what was said on stderr."""
    with subprocess.Popen(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="replace",
        start_new_session=True, env={**os.environ, **(environment or {})},
    ) as process:
        try:
            _, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            _, said = process.communicate()
            return -signal.SIGKILL, f"did not end within {seconds} s\n{said}"
    return process.returncode, said


def read_answers(path: Path) -> dict:
    """What a worker has written before it ended."""
    seen = {}
    if path.is_file():
        with open(path, "rb") as file:
            with contextlib.suppress(EOFError):
                while True:
                    entry, answer = pickle.load(file)
                    seen[entry] = answer
    return seen


def draw_cases(rng: np.random.Generator, count: int) -> list[Case]:
    """`count` cases: every template once before any comes again."""
    makers: list = []
    cases = []
    while len(cases) < count:
        if not makers:
            makers = [
                *(lambda m=m: elementwise.build(rng, m())
                  for m in scalars.scalars(rng)),
                *(lambda m=m: m(rng) for m in shaped.templates()),
            ]
            order = rng.permutation(len(makers))
            makers = [makers[i] for i in order]
        case = makers.pop()()
        case.name = f"f{len(cases)}"
        cases.append(case)
    return cases


class Module:
    """Cases in one file, one after the other."""

    def __init__(self, cases: list[Case], separator: str = ""):
        self.cases, self.starts, lines = cases, [], []
        for case in cases:
            self.starts.append(len(lines) + 1)
            lines += case.text.replace("@NAME", f"@{case.name}").split("\n")
            lines.append(separator)
        if separator:
            lines.pop()
        self.text = "\n".join(lines) + "\n"

    def owner(self, line: int) -> Case:
        at = sum(start <= line for start in self.starts) - 1
        return self.cases[max(at, 0)]


class Fuzzer:
    def __init__(self, bin_dir: Path, work: Path, driver: Path | None):
        self.bin, self.work, self.driver = bin_dir.resolve(), work, driver
        self.library = self.bin.parent / "lib" / "libmoe_runtime.so"
        self.table = read_table()
        self.findings: list[str] = []
        self.counts: collections.Counter = collections.Counter()
        self.number = 0

    def find(self, case: Case, target: str, what: str) -> None:
        self.findings.append(
            f"{target}: {case.name} ({case.uses[0][0]}): {what}\n{case.text}")
        print(f"FOUND {self.findings[-1]}\n", flush=True)

    def write(self, module: Module) -> str:
        self.number += 1
        name = f"m{self.number}"
        (self.work / f"{name}.mlir").write_text(module.text)
        return name

    # --- Which verify ------------------------------------------------------ #

    def verified(self, cases: list[Case]) -> list[Case]:
        """Those that are IR: the others are no input."""
        left = list(cases)
        while left:
            module = Module(left)
            name = self.write(module)
            code, said = run([str(self.bin / "moe-opt"), f"{name}.mlir"],
                             self.work, COMPILE_SECONDS)
            if code == 0:
                break
            places = PLACED.findall(said)
            if not places:
                self.find(left[0], "moe-opt", f"exit status {code}: {said[:2000]}")
                return []
            bad = {module.owner(int(line)).name for line, _ in places}
            for case in left:
                if case.name in bad:
                    self.counts[f"no IR: {case.uses[0][0]}"] += 1
                    if self.counts[f"no IR: {case.uses[0][0]}"] == 1:
                        print(f"NO IR {case.uses} {places[0][1]}\n{case.text}\n")
            left = [case for case in left if case.name not in bad]
        return left

    # --- What is refused --------------------------------------------------- #

    def check_refused(self, cases: list[Case], target: str) -> None:
        """Each is refused where it stands, in a process for all of them."""
        if not cases:
            return
        module = Module(cases, "// -----")
        name = self.write(module)
        code, said = run(
            [str(self.bin / "moe-opt"), f"{name}.mlir", "-split-input-file",
             f"--moe-check-entries=target={target}"],
            self.work, COMPILE_SECONDS)
        errors = collections.defaultdict(list)
        for line, text in PLACED.findall(said):
            errors[module.owner(int(line)).name].append(text)
        for case in cases:
            seen = errors[case.name]
            if code < 0 or len(seen) != 1 or not HOUSE_STYLE.match(seen[0]):
                self.find(case, target, f"not refused as it should be: {seen or said[:500]}")
            self.counts[f"{target}: refused"] += 1

    # --- What compiles ----------------------------------------------------- #

    def compile(self, cases: list[Case], target: str) -> tuple[str, list[Case]]:
        """An artifact of those that compile, and which those are."""
        left = list(cases)
        while left:
            module = Module(left)
            name = self.write(module)
            code, said = run(
                [str(self.bin / "moe-compile"), f"{name}.mlir", "--target", target,
                 "-o", f"{name}.so"], self.work, COMPILE_SECONDS)
            if code == 0:
                return name, left
            places = PLACED.findall(said)
            if code > 0 and places:
                case = module.owner(int(places[0][0]))
                self.find(case, target, f"does not compile: {said[-600:]}")
                left.remove(case)
            elif len(left) == 1:
                self.find(left[0], target, f"exit status {code}: {said[-600:]}")
                return "", []
            else:
                # Nothing says whose fault it is.
                half = len(left) // 2
                parts = [self.compile(part, target)[1]
                         for part in (left[:half], left[half:])]
                rest = [case for part in parts for case in part]
                if len(rest) == len(left):
                    self.find(left[0], target, f"only together: {code}: {said[-600:]}")
                    return "", []
                left = rest
        return "", []

    def call(self, name: str, cases: list[Case], target: str) -> None:
        calls = {
            case.name: [
                (of, array.shape, array.tobytes())
                for of, array in zip(case.input_types, case.inputs)
            ] for case in cases
        }
        source, answers = self.work / f"{name}.in", self.work / f"{name}.out"
        left = list(cases)
        while left:
            source.write_bytes(pickle.dumps({c.name: calls[c.name] for c in left}))
            environment = {}
            if target == "cuda":
                environment = {"LD_LIBRARY_PATH": str(self.driver.resolve()),
                               "MOE_STANDIN_GPUS": "1"}
            code, said = run(
                [sys.executable, str(HERE / "worker.py"), str(self.library),
                 target, str(self.work / f"{name}.so"), str(source),
                 str(answers)], self.work, RUN_SECONDS, environment)
            seen = read_answers(answers)
            answers.unlink(missing_ok=True)
            for case in left:
                if case.name in seen:
                    self.compare(case, target, seen[case.name])
            left = [case for case in left if case.name not in seen]
            if left:
                self.find(left[0], target, f"exit status {code}: {said[-600:]}")
                left.pop(0)

    def compare(self, case: Case, target: str, answer) -> None:
        self.counts[f"{target}: ran"] += 1
        if isinstance(answer, str):
            self.find(case, target, answer)
            return
        for index, (wanted, (dtype, shape, data)) in enumerate(
                zip(case.expected, answer)):
            seen = np.frombuffer(data, DTYPES[dtype]).reshape(shape)
            wanted = np.asarray(wanted)
            if seen.shape != wanted.shape or seen.dtype != wanted.dtype:
                self.find(case, target, f"result {index} is {seen.dtype}{seen.shape}, "
                          f"not {wanted.dtype}{wanted.shape}")
                return
            differs = differences(np.ascontiguousarray(seen),
                                  np.ascontiguousarray(wanted), case.ulps)
            if differs.any():
                at = tuple(int(i[0]) for i in np.nonzero(differs))
                given = [a[at] if a.shape == wanted.shape else "..."
                         for a in case.inputs]
                self.find(case, target,
                          f"result {index} differs at {at}: expected {wanted[at]}, "
                          f"seen {seen[at]}, of {given}")
                return

    # --- All --------------------------------------------------------------- #

    def try_cases(self, cases: list[Case], run_share: dict[str, float],
                  rng: random.Random) -> None:
        cases = self.verified(cases)
        self.counts["verified"] += len(cases)
        for case in cases:
            for op, _ in case.uses:
                self.counts[f"op {op}"] += 1
        for target in TARGETS:
            allowed = [c for c in cases if c.is_allowed(self.table, target)]
            refused = [c for c in cases if not c.is_allowed(self.table, target)]
            self.check_refused(refused, target)
            name, compiled = self.compile(allowed, target)
            self.counts[f"{target}: compiled"] += len(compiled)
            chosen = [c for c in compiled if rng.random() < run_share[target]]
            if chosen and (target == "host" or self.driver):
                self.call(name, chosen, target)


def infer_types(case: Case) -> None:
    """The element types of the arguments, as the function spells them."""
    head = case.text.split("\n", 1)[0].split(") -> (")[0]
    case.input_types = re.findall(r"tensor<[^>]*?(?:x|<)?((?:f|bf|i)\d\w*)>", head)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, default=HERE.parents[1] / "build" / "bin")
    parser.add_argument("--driver", type=Path, default=None,
                        help="folder of the stand-in libcuda.so.1; without it "
                        "nothing runs for target cuda")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--count", type=int, default=400,
                        help="how many functions to draw")
    parser.add_argument("--batch", type=int, default=60, help="functions per module")
    parser.add_argument("--run-cuda", type=float, default=1.0,
                        help="the share of functions to run for target cuda")
    parser.add_argument("--only", default="", help="regular expression for ops")
    options = parser.parse_args()
    seed = options.seed
    if seed is None:
        seed = random.SystemRandom().randrange(2**31)
    print(f"test/Entries: --seed {seed} --count {options.count}", flush=True)
    rng = np.random.default_rng(seed)
    cases = draw_cases(rng, options.count)
    if options.only:
        cases = [c for c in cases if re.search(options.only, c.uses[0][0])]
    for case in cases:
        infer_types(case)
    with tempfile.TemporaryDirectory(prefix="moe-entries-") as work:
        fuzzer = Fuzzer(options.bin, Path(work), options.driver)
        for start in range(0, len(cases), options.batch):
            fuzzer.try_cases(cases[start : start + options.batch],
                             {"host": 1.0, "cuda": options.run_cuda},
                             random.Random(seed + start))
    ops = {key[3:] for key in fuzzer.counts if key.startswith("op ")}
    for key in ("verified", *(f"{t}: {w}" for t in TARGETS
                              for w in ("compiled", "ran", "refused"))):
        print(f"{key}: {fuzzer.counts[key]}")
    print(f"ops: {len(ops)}")
    for key, n in sorted(fuzzer.counts.items()):
        if key.startswith("no IR"):
            print(f"{key}: {n}")
    missing = sorted(
        op for op in fuzzer.table
        if op.split(".")[0] in ("arith", "math", "linalg", "tensor") and op not in ops)
    if options.count >= 400 and not options.only and missing:
        print(f"never drawn: {', '.join(missing)}")
        return 1
    print(f"{len(fuzzer.findings)} findings")
    return 1 if fuzzer.findings else 0


if __name__ == "__main__":
    sys.exit(main())
