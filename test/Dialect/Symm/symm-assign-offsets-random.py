# Buffers share memory only when their lifetimes are disjoint.
#
# RUN: %python %s %moe_bin/moe-opt
# REQUIRES: python
#
#===- symm-assign-offsets-random.py - lifetimes and memory -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Random functions with buffers, loops, branches and calls are laid out by
symm-assign-offsets and then run here, entry after entry: each `symm.alloc`
claims its memory until its `symm.free`, and no two claims may meet. Prints the
seed; takes one as the second argument."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from dataclasses import dataclass, field

FUNCTIONS = 7
MODULES = 25
RUNS = 12
MAX_DEPTH = 3


@dataclass
class Block:
    """A list of statements: ("alloc", id), ("free", id), ("if", Block, Block),
    ("for", Block) or ("call", function)."""

    statements: list = field(default_factory=list)


@dataclass
class Function:
    name: str
    private: bool
    own: bool
    body: Block


class Generator:
    """Draws modules; a function calls private ones with higher numbers only."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.sizes: list[int] = []
        self.persistent: set[int] = set()

    def functions(self) -> list[Function]:
        """Three entries, of which the first may have a workspace of its own and
        then functions of its own, and the functions that they call."""
        own = self.rng.random() < 0.5
        functions = [
            Function(f"f{number}", private=number >= 3,
                     own=own and number == 0, body=Block())
            for number in range(FUNCTIONS)
        ]
        for number, function in enumerate(functions):
            callees = [f for f in functions[max(number + 1, 3):]]
            if own:
                first = number in (0, 3, 4)
                callees = [f for f in callees if (f.name in ("f3", "f4")) == first]
            function.body = self.block(callees, 0)
        return functions

    def block(self, callees: list[Function], depth: int) -> Block:
        rng, block, live = self.rng, Block(), []
        for _ in range(rng.randrange(2, 9)):
            kind = rng.random()
            if kind < 0.45:
                live.append(len(self.sizes))
                self.sizes.append(rng.choice([1, 8, 17, 32, 100, 300]))
                block.statements.append(("alloc", live[-1]))
                if depth == 0 and rng.random() < 0.15:
                    self.persistent.add(live.pop())
            elif kind < 0.7 and live:
                index = rng.randrange(len(live))
                block.statements.append(("free", live.pop(index)))
            elif kind < 0.8 and callees:
                block.statements.append(("call", rng.choice(callees)))
            elif depth < MAX_DEPTH and kind < 0.9:
                block.statements.append(
                    ("if", self.block(callees, depth + 1),
                     self.block(callees, depth + 1)))
            elif depth < MAX_DEPTH:
                block.statements.append(("for", self.block(callees, depth + 1)))
        # Some are never freed, and so live for ever.
        for buffer in live:
            if rng.random() < 0.9:
                block.statements.append(("free", buffer))
        return block

    def text(self, function: Function) -> str:
        own = " attributes {symm.own_workspace}" if function.own else ""
        private = "private " if function.private else ""
        lines = [f"func.func {private}@{function.name}(%c: i1, %n: index){own} {{",
                 "  %zero = arith.constant 0 : index",
                 "  %one = arith.constant 1 : index"]
        self.print_block(function.body, "  ", lines)
        return "\n".join([*lines, "  return", "}"])

    def print_block(self, block: Block, pad: str, lines: list[str]) -> None:
        for kind, *parts in block.statements:
            if kind in ("alloc", "free"):
                buffer = parts[0]
                form = f"memref<{self.sizes[buffer]}xi64, #symm.space>"
                persistent = " persistent" if buffer in self.persistent else ""
                lines.append(
                    f"{pad}%b{buffer} = symm.alloc{persistent} {{id = {buffer}}}"
                    f" : {form}" if kind == "alloc" else
                    f"{pad}symm.free %b{buffer} : {form}")
            elif kind == "call":
                lines.append(f"{pad}func.call @{parts[0].name}(%c, %n)"
                             " : (i1, index) -> ()")
            elif kind == "if":
                lines.append(f"{pad}scf.if %c {{")
                self.print_block(parts[0], pad + "  ", lines)
                lines.append(f"{pad}}} else {{")
                self.print_block(parts[1], pad + "  ", lines)
                lines.append(f"{pad}}}")
            else:
                lines.append(f"{pad}scf.for %i{len(lines)} = %zero to %n step %one {{")
                self.print_block(parts[0], pad + "  ", lines)
                lines.append(f"{pad}}}")


class Workspace:
    """The memory of a rank: which buffer has which bytes."""

    def __init__(self, places: dict[int, tuple[int, int]]) -> None:
        self.places = places
        self.live: dict[int, object] = {}

    def claim(self, buffer: int, owner: object) -> None:
        begin, end = self.places[buffer]
        for other in self.live:
            first, last = self.places[other]
            if other != buffer and begin < last and first < end:
                raise AssertionError(
                    f"buffer {buffer} at {begin}..{end} meets {other}"
                    f" at {first}..{last}")
        self.live[buffer] = owner


def run(block: Block, rng: random.Random, memory: Workspace,
        owner: object) -> None:
    """Runs `block` for `owner`: whether branches are taken is drawn by lot."""
    for kind, *parts in block.statements:
        if kind == "alloc":
            memory.claim(parts[0], owner)
        elif kind == "free":
            del memory.live[parts[0]]
        elif kind == "call":
            run(parts[0].body, rng, memory, owner)
        elif kind == "if":
            run(parts[rng.randrange(2)], rng, memory, owner)
        else:
            for _ in range(rng.randrange(3)):
                run(parts[0], rng, memory, owner)


def run_halted(function: Function, rng: random.Random, memory: Workspace) -> None:
    """Leaves `function` somewhere in its middle, as another stream sees it."""
    prefix = function.body.statements[:rng.randrange(
        len(function.body.statements) + 1)]
    run(Block(prefix), rng, memory, function)


def check(moe_opt: str, seed: int) -> None:
    rng = random.Random(seed)
    generator = Generator(rng)
    functions = generator.functions()
    text = "\n".join(map(generator.text, functions))
    result = subprocess.run(
        [moe_opt, "-", "--symm-assign-offsets"], input=text, text=True,
        capture_output=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    total = int(re.search(r"symm.workspace_bytes = (\d+)", result.stdout)[1])
    places = {}
    for at, buffer in re.findall(
            r"symm.alloc (?:persistent )?at (\d+) \{id = (\d+)", result.stdout):
        begin, size = int(at), 8 * generator.sizes[int(buffer)]
        places[int(buffer)] = (begin, begin + size)
        assert begin + size <= total, f"buffer {buffer} ends behind {total}"
    assert len(places) == len(generator.sizes), result.stdout

    entries = [f for f in functions if not f.private]
    for _ in range(RUNS):
        memory = Workspace(places)
        # Persistent buffers are there from the beginning.
        for buffer in generator.persistent:
            memory.claim(buffer, None)
        # An entry with its own workspace may be in the middle all the time.
        halted = [f for f in entries if f.own]
        if halted:
            run_halted(rng.choice(halted), rng, memory)
        for _ in range(4):
            others = [f for f in entries if not any(
                owner is f for owner in memory.live.values())]
            if others:
                entry = rng.choice(others)
                run(entry.body, rng, memory, object())


def main() -> None:
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**31)
    print(f"seed: {seed}")
    for number in range(MODULES):
        try:
            check(sys.argv[1], seed + number)
        except AssertionError as error:
            sys.exit(f"with seed {seed + number}: {error}")


if __name__ == "__main__":
    main()
