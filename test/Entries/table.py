#===- table.py - what an entry may contain -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Reads lib/Target/Transforms/EntryOps.def, the one list of ops and types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "lib" / "Target" / "Transforms" / "EntryOps.def"

FLOATS = ("f64", "f32", "f16", "bf16", "f8E4M3FN", "f8E5M2")
INTS = ("i64", "i32", "i16", "i8", "i1")
TARGETS = ("host", "cuda")
SETS = {
    "SmallFloat": set(FLOATS[2:]),
    "Float": set(FLOATS),
    "Int": set(INTS),
    "Index": {"index"},
    "Any": {*FLOATS, *INTS, "index"},
    **{name.upper(): {name} for name in (*FLOATS, *INTS)},
}
GROUP = re.compile(
    r"(?:^// (?P<heading>[A-Z].*\n(?:// .*\n)*))?"
    r"^ENTRY_OPS\((?P<host>[^,]*),(?P<cuda>[^,]*),(?P<ops>[^)]*)\)", re.MULTILINE)


@dataclass
class Group:
    """Ops with the same types; the first of a section has its heading."""

    heading: str
    types: dict[str, frozenset[str]]  # by target
    ops: list[str]


def read_types(text: str) -> frozenset[str]:
    """The types of a set such as "Int | Index"."""
    return frozenset().union(*(SETS[name.strip()] for name in text.split("|")))


def read_groups() -> list[Group]:
    groups = []
    for match in GROUP.finditer(TABLE.read_text(encoding="utf-8")):
        heading = re.sub(r"\n(?:// )?", " ", match["heading"] or "").strip()
        types = {target: read_types(match[target]) for target in TARGETS}
        groups.append(
            Group(heading, types, re.findall(r'"([^"]+)"', match["ops"])))
    return groups


def read_table() -> dict[str, dict[str, frozenset[str]]]:
    """By op and target: the element types that its values may have."""
    return {op: group.types for group in read_groups() for op in group.ops}


def spell_types(types: frozenset[str]) -> str:
    """In the order of the lists above, whole lists by their names."""
    words = []
    for name, members in (("floats", FLOATS), ("integers", INTS)):
        if types >= set(members):
            words.append(name)
        else:
            words += [t for t in members if t in types]
    return ", ".join([*words, *(["index"] if "index" in types else [])])


def reference() -> str:
    """docs/generated/EntryOps.md."""
    lines = [
        "<!-- Made from lib/Target/Transforms/EntryOps.def -->",
        "# Ops of entries",
        "",
        "Element types of operands and results. *Floats* are "
        f"{', '.join(FLOATS)}; *integers* are {', '.join(INTS)}.",
    ]
    for group in read_groups():
        if group.heading:
            lines += ["", f"## {re.split(r'[.:;]', group.heading)[0]}", "",
                      "| host | cuda | ops |", "| --- | --- | --- |"]
        lines.append(f"| {spell_types(group.types['host'])} | "
                     f"{spell_types(group.types['cuda'])} | "
                     f"{', '.join(f'`{op}`' for op in sorted(group.ops))} |")
    return "\n".join(lines) + "\n"
