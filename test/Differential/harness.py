#===- harness.py - compile, run and compare a case -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Runs cases through moe-compile and moe-run and compares with the oracle."""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import subprocess
import time
import zlib
from pathlib import Path

import numpy as np

import oracle
from ir import Data
from moe_ops import Alltoallv, Dispatch
from oracle import DTYPES, bits
from program import module_text

COMPILE_SECONDS = 300
RUN_SECONDS = 60
ERROR_SECONDS = 20  # bad input must end all ranks within seconds
UNTOUCHED = 0xA5  # every byte of memory that moe-run --into gives for results


class Failure(AssertionError):
    """A difference between what was specified and what happened."""


# --- .npy files ------------------------------------------------------------- #


def read_npy(path: Path, dtype: np.dtype) -> np.ndarray:
    """Reads an array of `dtype`, checking the header.

    numpy alone cannot: the types of ml_dtypes are not in its descriptors.
    """
    raw = path.read_bytes()
    if raw[:6] != b"\x93NUMPY":
        raise Failure(f"{path.name} is not a .npy file")
    size_bytes = 2 if raw[6] == 1 else 4
    start = 8 + size_bytes
    size = int.from_bytes(raw[8:start], "little")
    header = ast.literal_eval(raw[start : start + size].decode("latin1").strip())
    accepted = {np.lib.format.dtype_to_descr(dtype).lstrip("<|=")}
    if dtype.itemsize == 1 and oracle.is_float(dtype):
        accepted |= {"V1", "f1"}
    if header["descr"].lstrip("<|=") not in accepted:
        raise Failure(f"{path.name} has dtype {header['descr']}, not {dtype}")
    if header["fortran_order"]:
        raise Failure(f"{path.name} is in Fortran order")
    data = raw[start + size :]
    shape = header["shape"]
    if len(data) != int(np.prod(shape, dtype=np.int64)) * dtype.itemsize:
        raise Failure(f"{path.name} has {len(data)} bytes, shape {shape}")
    return np.frombuffer(data, dtype).reshape(shape)


# --- Processes -------------------------------------------------------------- #


def run_bounded(command, cwd, seconds):
    """Runs a command in a session of its own and sees that all of it ends."""
    process = subprocess.Popen(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, errors="replace",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill_group(process.pid)
        out, err = process.communicate()
        raise Failure(
            f"did not end within {seconds} s\nstdout:\n{out}\nstderr:\n{err}"
        ) from None
    deadline = time.monotonic() + 5
    while group_alive(process.pid):
        if time.monotonic() > deadline:
            kill_group(process.pid)
            raise Failure("left a process behind")
        time.sleep(0.01)
    return process.returncode, out, err


def group_alive(group) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def kill_group(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


# --- Modules ---------------------------------------------------------------- #


def group_cases(cases, most=12):
    """{module name: its cases}: cases of equal rank count go together."""
    by_ranks, members = {}, {}
    for case in cases:
        by_ranks.setdefault(case.ranks, []).append(case)
    for ranks, group in by_ranks.items():
        for i in range(0, len(group), most):
            members[f"ranks{ranks}_{i // most}"] = group[i : i + most]
    return members


class Modules:
    """Compiles cases of equal rank count together, once, when first needed.

    `messages` is the schedule of messages, or None for ranks that share memory.
    """

    def __init__(
        self, bin_dir: Path, work_dir: Path, cases, target="host", kernels=None,
        seed=0, messages=None,
    ):
        self.bin_dir, self.work_dir = bin_dir, work_dir
        self.target, self.seed = target, seed
        self.kernels, self.messages = kernels, messages
        most = {"most": kernels.cases_per_module} if kernels else {}
        self.members = group_cases(cases, **most)
        self.module_of = {
            case.name: key for key, group in self.members.items()
            for case in group
        }
        self.compiled = {}

    def tool(self, name) -> str:
        return str(self.bin_dir / name)

    def compile(self, key, cases):
        """Writes and compiles a module; returns (text, error or None)."""
        text = module_text(cases[0].ranks, [case.entry for case in cases])
        (self.work_dir / f"{key}.mlir").write_text(text)
        command = [
            self.tool("moe-compile"), f"{key}.mlir", "--target", self.target,
            "-o", f"{key}.so",
        ]
        if self.messages:
            command += ["--transport=messages", f"--schedule={self.messages}"]
        if self.kernels:
            command += self.kernels.compile_options(key)
        code, _, err = run_bounded(command, self.work_dir, COMPILE_SECONDS)
        if code == 0 and (self.work_dir / f"{key}.so").is_file():
            return text, None
        return text, f"{shlex.join(command)} exited with {code}:\n{err[:4000]}"

    def artifact(self, case):
        """The (module name, text) that holds a case, compiled.

        When a module does not compile, its cases are tried one by one, so
        that only those that are to blame fail.
        """
        key = self.module_of[case.name]
        if key not in self.compiled:
            self.compiled[key] = self.compile(key, self.members[key])
        text, error = self.compiled[key]
        if error is None:
            return key, text
        if case.name not in self.compiled:
            self.compiled[case.name] = self.compile(case.name, [case])
        text, error = self.compiled[case.name]
        if error is not None:
            raise Failure(error)
        return case.name, text


def line_of(text, case) -> int:
    """The line of the one op of an error case."""
    lines = text.split("\n")
    at = next(
        i for i, line in enumerate(lines)
        if line.startswith(f"func.func @{case.entry.name}(")
    )
    while case.failing_op.mnemonic not in lines[at]:
        at += 1
    return at + 1


# --- Running ---------------------------------------------------------------- #


class Run:
    """One call of moe-run for a case, in a directory of its own."""

    def __init__(self, modules: Modules, case):
        self.case = case
        self.has_exact_messages = modules.messages == "exact"
        self.module, self.text = modules.artifact(case)
        self.dir = modules.work_dir / case.name
        self.inputs, self.outputs = self.dir / "in", self.dir / "out"
        self.inputs.mkdir(parents=True)
        self.outputs.mkdir()
        self.command = modules.kernels.run_prefix(case) if modules.kernels else []
        self.command += [
            modules.tool("moe-run"), "-n", str(case.ranks),
            "--target", modules.target, f"../{self.module}.so", "--entry", case.entry.name,
        ]
        for arg, data in zip(case.entry.args, case.inputs):
            self.command += ["--in", f"in/{arg.name}.{{rank}}.npy"]
            for rank, array in enumerate(data.arrays):
                np.save(self.inputs / f"{arg.name}.{rank}.npy", array)
        for result in case.entry.returned:
            self.command += ["--out", f"out/{result.name}.{{rank}}.npy"]
        if case.bench:
            self.command += ["--bench", str(case.bench)]
        # Some calls write to memory that the caller gives.
        lot = zlib.crc32(f"{modules.seed} {case.name}".encode())
        self.is_given = lot % 3 == 0
        if self.is_given:
            self.command.append("--into")
        self.code, self.out, self.err = None, "", ""

    def execute(self, seconds):
        self.code, self.out, self.err = run_bounded(
            self.command, self.dir, seconds
        )

    def check(self):
        """Runs the case and raises Failure unless it does as specified."""
        try:
            expected = self.case.expected(self.has_exact_messages)
        except oracle.SpecifiedError as error:
            self.execute(ERROR_SECONDS)
            self.check_error(error)
        else:
            self.execute(RUN_SECONDS)
            self.check_results(expected)

    def check_results(self, expected):
        if self.code != 0:
            raise Failure(f"exited with {self.code}\n{self.err[:4000]}")
        check_outputs(self.case, expected, self.outputs, self.is_given)

    def check_error(self, error):
        """One clear error, a failing exit, and no file."""
        said = f"\nstdout:\n{self.out[:2000]}\nstderr:\n{self.err[:4000]}"
        want = f"expected the error '{error.kind}' ({error})"
        if self.code == 0:
            raise Failure(f"{want}, but moe-run succeeded{said}")
        if self.code < 0:
            raise Failure(f"{want}, but moe-run died of signal {-self.code}")
        left = sorted(p.name for p in self.outputs.iterdir())
        if left:
            raise Failure(f"{want}, and no file, but found {left}{said}")
        count = len(re.findall(r"\berror:", self.err))
        if count != 1:
            raise Failure(f"{want}, once, but found {count} errors{said}")
        place = f"{self.module}.mlir:{line_of(self.text, self.case)}:"
        missing = missing_in_report(
            self.err, error, self.case.failing_op.mnemonic, place
        )
        if missing:
            raise Failure(f"{want}; the report lacks {missing}{said}")


def received(case):
    """Returned values whose rows an op of the entry receives."""
    return [
        value for op in case.entry.body
        if isinstance(op, (Dispatch, Alltoallv)) for value in op.results
        if case.entry.returned.count(value) == 1
    ]


def check_outputs(case, expected, folder: Path, is_given):
    """A folder has the results of all ranks, NAME.RANK.npy, and nothing else. With
    `is_given` they were written to memory that was UNTOUCHED before."""
    wanted = set()
    for value, data in zip(case.entry.returned, expected):
        for rank in range(case.ranks):
            name = f"{value.name}.{rank}.npy"
            wanted.add(name)
            path = folder / name
            if not path.is_file():
                raise Failure(f"wrote no {name}")
            seen = read_npy(path, DTYPES[value.type.dtype])
            what = f"%{value.name} of rank {rank}"
            compare(what, seen, data, rank)
            if is_given and value in received(case):
                check_untouched(what, seen, data, rank)
    extra = {p.name for p in folder.iterdir()} - wanted
    if extra:
        raise Failure(f"left other files behind: {sorted(extra)}")


def check_untouched(what, seen, data: Data, rank):
    """Unspecified rows of memory that the caller gives stay as they are."""
    spare = np.ascontiguousarray(seen[~data.valid[rank]]).view(np.uint8)
    written = int((spare != UNTOUCHED).sum())
    if written:
        raise Failure(f"{what}: {written} bytes of unspecified rows are written")


def missing_in_report(report, error, mnemonic, place):
    """What an error message should say of a specified error, and does not."""
    missing = [text for text in (mnemonic, place) if text not in report]
    kinds = report.lower().replace("_", " ")
    if error.kind != oracle.TOO_MANY_TOKENS and error.kind not in kinds:
        missing.append(error.kind)
    if error.expected is not None and not has_number(report, [error.expected]):
        missing.append(f"the limit {error.expected}")
    if not has_number(report, error.seen):
        missing.append(f"what was seen, one of {error.seen}")
    if not any(
        re.search(rf"\b(rank|peer)\W{{0,3}}{rank}\b", report)
        for rank in error.ranks
    ):
        missing.append(f"one of the ranks {error.ranks}")
    return missing


def check_refusals(case, error, answers, again, place):
    """Every rank reports a specified error, and the origin tells all about it.

    An answer has `ok`, the name of a `code`, and a `text`. A rank whose combine
    pulls may find its bad row when others are through already. They are told at
    their next call, `again`.
    """
    said = "\n".join(f"rank {r}: {a}" for r, a in enumerate(answers))
    want = f"expected '{error.kind}' ({error}) on every rank"
    mnemonic = case.failing_op.mnemonic
    if mnemonic == "moe.combine":
        answers = [a if not a.ok else b for a, b in zip(answers, again)]
    if any(answer.ok for answer in answers):
        raise Failure(f"{want}\n{said}")
    if any(answer.ok for answer in again):
        raise Failure(f"the group goes on after an error\n{said}")
    origins = [a for a in answers if a.code != "PEER_FAILED"]
    if not origins:
        raise Failure(f"{want}, but no rank says that it is its own\n{said}")
    reports = [f"{a.code} {a.text}" for a in origins]
    missing = [missing_in_report(r, error, mnemonic, place) for r in reports]
    if all(missing):
        raise Failure(f"{want}; the report lacks {missing[0]}\n{said}")
    for rank, answer in enumerate(answers):
        if mnemonic not in answer.text:
            raise Failure(f"{want}; rank {rank} does not name {mnemonic}\n{said}")


def has_number(text, numbers) -> bool:
    return any(
        re.search(rf"(?<![\w.-]){re.escape(str(n))}(?![\w.]*\d)", text)
        for n in numbers
    )


def compare(what, seen, data: Data, rank):
    """Bit for bit in the specified rows (types_s1, determinism_s1); NaNs out of
    sums match any NaN."""
    wanted = data.arrays[rank]
    if seen.shape != wanted.shape:
        raise Failure(f"{what} has shape {seen.shape}, not {wanted.shape}")
    differs = bits(seen) != bits(wanted)

    def by_row(mask):
        return mask.reshape(mask.shape + (1,) * (differs.ndim - 1))

    differs &= by_row(data.valid[rank])
    if oracle.is_float(wanted.dtype) and data.loose:
        both = np.isnan(seen.astype(np.float32))
        both &= np.isnan(wanted.astype(np.float32))
        differs &= ~(both & by_row(data.loose_rows[rank]))
    if not differs.any():
        return
    at = tuple(int(i[0]) for i in np.nonzero(differs))
    width = wanted.dtype.itemsize * 2
    raise Failure(
        f"{what} differs in {int(differs.sum())} of {differs.size} elements, "
        f"first at {list(at)}: expected {wanted[at]} "
        f"(0x{int(bits(wanted)[at]):0{width}x}), "
        f"seen {seen[at]} (0x{int(bits(seen)[at]):0{width}x})"
    )
