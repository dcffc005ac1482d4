#!/usr/bin/env python3
# ===- kernel_resources.py - what kernels take with many ranks -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Registers, shared memory and symmetric memory of kernels as ranks become more.

The exchange of DeepSeek-V3 (bf16, hidden size 7168, top-8 of 256 experts) is compiled
in every layout and with every algorithm. Nothing is run, so no GPU is needed; ptxas of
the CUDA toolkit is, which says what a kernel takes.

    kernel_resources.py run --json benchmarks/results/kernel-resources-<date>.json
    kernel_resources.py table benchmarks/results/kernel-resources-<date>.json
    kernel_resources.py check --ranks 8 72 72:288     fails where a kernel does not fit
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gpu.modules import COMPILE_SECONDS, exchange_module
from gpu.shapes import LISTED, QUICK_MODEL, Model, find
from recording import ROOT, save

# With the experts of the model where none are given: 288 are 256 and copies of 32.
RANKS = ("8", "16", "32", "64", "72", "72:288")
TOKENS = (128, 4096)
TARGET = "cuda:sm_90"
PTXAS_PLACES = "PATH, CUDA_HOME or /usr/local/cuda"
# Of sm_90: registers of a multiprocessor and of a thread, shared memory of a block.
REGISTERS = 65536
REGISTERS_OF_THREAD = 255
SHARED_BYTES = 227 * 1024
# The entries of a module, in the order of the compiler's report.
ENTRIES = ("dispatch", "combine", "combine_deferred")


@dataclass(frozen=True)
class Case:
    """An exchange to compile: names of its algorithms, and what asks for them."""

    layout: str
    dispatch: str
    combine: str
    variant: str | None
    options: tuple[str, ...]


CASES = (
    *(Case(layout, "", combine, None, (f"--combine-algorithm={combine}",))
      for layout in ("rank_major", "slab") for combine in ("pull", "push")),
    *(Case(layout, "lists", "pull", LISTED, ("--combine-algorithm=pull",)) for layout in ("rank_major", "slab")),
    Case("expert_major", "direct", "pull", None, ("--dispatch-algorithm=direct", "--combine-algorithm=pull")),
    Case("expert_major", "expand", "push, f32", "once_per_rank", ()),
    Case("expert_major", "expand", "push, element", "once_per_rank_rounded", ()),
)


@dataclass(frozen=True)
class Record:
    """A kernel: which exchange it is of, its launch, and what it takes.

    Registers, spills and local memory are those of a thread, shared memory that of a
    block, and symmetric memory that of a rank.
    """

    layout: str
    entry: str
    algorithm: str
    ranks: int
    experts: int
    tokens: int
    blocks: int
    threads: int
    registers: int
    spill_bytes: int
    local_bytes: int
    shared_bytes: int
    symmetric_bytes: int

    @property
    def kernel(self) -> str:
        return f"{self.entry} ({self.algorithm})" if self.algorithm else self.entry

    @property
    def name(self) -> str:
        return f"{self.layout}: {self.kernel}"

    @property
    def problems(self) -> list[str]:
        """What keeps a block from being launched, or registers from being registers."""
        found = []
        if self.spill_bytes or self.local_bytes:
            found.append(f"{self.spill_bytes} bytes spilled, {self.local_bytes} bytes of local memory")
        if self.registers > REGISTERS_OF_THREAD or self.registers * self.threads > REGISTERS:
            found.append(f"{self.registers} registers in each of {self.threads} threads")
        if self.shared_bytes > SHARED_BYTES:
            found.append(f"{self.shared_bytes} bytes of shared memory")
        return found


@dataclass(frozen=True)
class Tools:
    """The programs that are asked."""

    moe_compile: Path
    ptxas: Path

    def versions(self) -> dict[str, str]:
        """Of both, as they say it."""
        compiler, assembler = (
            subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout.strip().splitlines()
            for tool in (self.moe_compile, self.ptxas)
        )
        return {"compiler": compiler[0], "ptxas": next(line for line in assembler if "release" in line)}


def find_ptxas(given: Path | None) -> Path | None:
    """Where ptxas is: as given, in PATH, or where the CUDA toolkit puts it."""
    if given:
        return given if os.access(given, os.X_OK) else None
    places = (shutil.which("ptxas"), f"{os.environ.get('CUDA_HOME', '')}/bin/ptxas", "/usr/local/cuda/bin/ptxas")
    return next((Path(place) for place in places if place and os.access(place, os.X_OK)), None)


def measure(tools: Tools, case: Case, model: Model, ranks: int, tokens: int) -> list[Record]:
    """The kernels of one exchange.

    Parameters
    ----------
    tools
        What compiles and assembles it.
    case
        Layout and algorithms.
    model
        Experts, top-k and hidden size.
    ranks, tokens
        How many ranks there are, and the tokens of each.

    Returns
    -------
    list of Record
        In the order of the entries.

    Raises
    ------
    RuntimeError
        The compiler fails, or its report does not have a kernel for each entry.
    """
    text = exchange_module(model, ranks, tokens, case.layout, case.variant)
    with tempfile.TemporaryDirectory(prefix="moe-kernel-resources-") as folder:
        command: list[str | Path] = [
            tools.moe_compile, "-", f"--target={TARGET}", f"--ptxas={tools.ptxas}", "--report=json", *case.options,
            "-o", Path(folder) / "exchange.so"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{case} with {ranks} ranks: moe-compile failed:\n{done.stderr}")
    report = json.loads(done.stdout)
    kernels = {kernel["location"]: kernel for kernel in report.get("kernels", ())}
    if len(report["ops"]) != len(ENTRIES) or len(kernels) != len(ENTRIES):
        raise RuntimeError(f"{case} with {ranks} ranks: expected {len(ENTRIES)} ops and kernels, got "
                           f"{len(report['ops'])} and {len(kernels)}")
    records = []
    for entry, op in zip(ENTRIES, report["ops"], strict=True):
        kernel = kernels[op["location"]]
        algorithm = case.dispatch if entry == "dispatch" else case.combine
        records.append(Record(
            case.layout, entry, algorithm, ranks, model.experts, tokens, op["kernel"]["blocks"],
            op["kernel"]["threads"], kernel["registers"], kernel["spill_bytes"], kernel["local_bytes"],
            kernel["shared_bytes"], op["symmetric_bytes"]))
    return records


def read_ranks(text: str) -> tuple[int, Model]:
    """Ranks, and experts where other than the model's: ``72`` or ``72:288``."""
    ranks, _, experts = text.partition(":")
    model = find(QUICK_MODEL)
    return int(ranks), replace(model, experts=int(experts)) if experts else model


def measure_all(tools: Tools, ranks: Iterable[tuple[int, Model]], tokens: Iterable[int],
                jobs: int) -> Iterator[Record]:
    """The kernels of all cases; those that several cases have, once."""
    wanted = [(case, model, r, t) for r, model in ranks for t in tokens for case in CASES]
    seen = set()
    with ThreadPoolExecutor(jobs) as pool:
        for records in pool.map(lambda one: measure(tools, *one), wanted):
            for record in records:
                key = (record.name, record.ranks, record.experts, record.tokens)
                if key not in seen:
                    seen.add(key)
                    yield record


def memory(size: int) -> str:
    """Bytes of symmetric memory, to three digits."""
    for unit, bytes_of_unit in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_of_unit:
            value = size / bytes_of_unit
            return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"
    return f"{size} B"


def describe(record: Record, what: str) -> str:
    """A cell of a table: ``registers``, ``shared`` or ``symmetric`` memory of a kernel."""
    if what == "symmetric":
        return memory(record.symmetric_bytes)
    if what == "shared":
        return f"{record.shared_bytes:,}"
    return f"{record.registers}{f' ({record.spill_bytes} bytes spilled)' if record.spill_bytes else ''}"


def table(records: list[Record], what: str) -> str:
    """A row per kernel, a column per number of ranks.

    Cells have a value for each number of tokens. Combines that do not tell others at
    their end that rows have been read are left out: they have a little less to do.
    """
    chosen = [record for record in records if record.entry in ENTRIES[:2]]
    columns = sorted({(record.ranks, record.experts) for record in chosen})
    usual = columns[0][1]
    heads = [f"{ranks}" if experts == usual else f"{ranks}, {experts} experts" for ranks, experts in columns]
    cells: dict[tuple[str, str], dict[tuple[int, int], list[str]]] = {}
    for record in sorted(chosen, key=lambda record: record.tokens):
        row = cells.setdefault((record.layout, record.kernel), {})
        row.setdefault((record.ranks, record.experts), []).append(describe(record, what))
    # Kernels that take the same share a row.
    rows: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for layout, kernel in dict.fromkeys((record.layout, record.kernel) for record in chosen):
        row_cells = tuple(" / ".join(cells[layout, kernel].get(column, [])) for column in columns)
        rows.setdefault(row_cells, {}).setdefault(kernel, []).append(layout)
    lines = [f"| R = | {' | '.join(heads)} |", f"| --- |{' --- |' * len(columns)}"]
    for row_cells, kernels in rows.items():
        name = "; ".join(f"{', '.join(layouts)}: {kernel}" for kernel, layouts in kernels.items())
        lines.append(f"| {name} | {' | '.join(row_cells)} |")
    return "\n".join(lines)


def print_tables(records: list[Record]) -> None:
    tokens = " / ".join(str(number) for number in sorted({record.tokens for record in records}))
    for title, what in (("Registers of a thread", "registers"), ("Bytes of shared memory of a block", "shared"),
                        ("Symmetric memory of a rank", "symmetric")):
        print(f"{title}, T = {tokens}:\n\n{table(records, what)}\n")


def print_problems(records: list[Record]) -> bool:
    """Says which kernels do not fit; whether there are any."""
    found = False
    for record in records:
        for problem in record.problems:
            found = True
            print(f"{record.name}, {record.ranks} ranks, {record.experts} experts, {record.tokens} tokens: {problem}",
                  file=sys.stderr)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("run", "compile, and print what kernels take"),
                       ("check", "compile, and fail where a kernel spills or does not fit")):
        command = commands.add_parser(name, help=what)
        command.add_argument("--ranks", type=read_ranks, nargs="+", default=[read_ranks(r) for r in RANKS],
                             metavar="R[:EXPERTS]")
        command.add_argument("--tokens", type=int, nargs="+", default=TOKENS, metavar="T")
        command.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
        command.add_argument("--moe-compile", type=Path, default=ROOT / "build" / "bin" / "moe-compile", metavar="FILE")
        command.add_argument("--ptxas", type=Path, metavar="FILE", help=f"default: that in {PTXAS_PLACES}")
        if name == "run":
            command.add_argument("--json", type=Path, metavar="FILE", help="write the records there, too")
    commands.add_parser("table", help="print the tables of a result").add_argument("result", type=Path)
    args = parser.parse_args()

    if args.command == "table":
        result = json.loads(args.result.read_text())
        print_tables([Record(**record) for record in result["kernels"]])
        return 0
    ptxas = find_ptxas(args.ptxas)
    if not ptxas:
        print(f"{parser.prog}: skipped: no ptxas {f'at {args.ptxas}' if args.ptxas else f'in {PTXAS_PLACES}'}")
        return 0
    # A path without a folder would be looked for in PATH.
    tools = Tools(args.moe_compile.absolute(), ptxas.absolute())
    records = list(measure_all(tools, args.ranks, args.tokens, args.jobs))
    has_problems = print_problems(records)
    if args.command == "check":
        print(f"{len(records)} kernels, at most {max(r.registers for r in records)} registers")
        return int(has_problems)
    print_tables(records)
    kernels = [asdict(record) for record in records]
    save(args.json, {**tools.versions(), "target": TARGET, "kernels": kernels}, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
