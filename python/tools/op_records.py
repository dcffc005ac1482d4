# ===- op_records.py - what definitions of ops say -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Operands, attributes and results of ops, in the records that llvm-tblgen prints."""

from __future__ import annotations

import dataclasses
import json
import keyword
import re
from typing import Any

# Types that a definition fixes.
FIXED_TYPES = {"Index": "index", "I1": "i1", "I32": "i32", "I64": "i64"}
# Names of parameters that every builder has.
RESERVED = {"ir", "results", "ranks", "loc", "ip"}


class Records:
    """The records that llvm-tblgen prints."""

    def __init__(self, text: str) -> None:
        self.records: dict[str, Any] = json.loads(text)

    def __getitem__(self, name: str) -> dict[str, Any]:
        record: dict[str, Any] = self.records[name]
        return record

    def kinds(self, name: str) -> list[str]:
        """Names of the classes a record is of."""
        return list(self.records[name]["!superclasses"])

    def instances(self, kind: str, dialect: str, field: str) -> list[dict[str, Any]]:
        """Records of a class that belong to a dialect, in order of definition."""
        found = []
        for name in self.records["!instanceof"].get(kind, []):
            record = self.records[name]
            owner = self.records[record[field]["def"]] if record.get(field) else {}
            if owner.get("name") == dialect:
                found.append(record)

        # "File.td:123": by file, then by line.
        def place(record: dict[str, Any]) -> tuple[str, int]:
            file, line = record["!locs"][0].rsplit(":", 1)
            return file, int(line)

        return sorted(found, key=place)


@dataclasses.dataclass
class Parameter:
    """A parameter of a builder."""

    name: str
    spec: str  # of the OpSpec
    type: str
    default: str  # "" when the caller has to give it
    is_operand: bool
    text: str = ""  # of the docstring

    @property
    def python(self) -> str:
        """Its name as Python takes it."""
        if self.name in RESERVED or keyword.iskeyword(self.name):
            return self.name + "_"
        return self.name


def operand_parameter(records: Records, definition: str, name: str) -> Parameter:
    record = records[definition]
    kinds = records.kinds(definition)
    if "OpVariable" in kinds:
        definition = record["constraint"]["def"]
        record, kinds = records[definition], records.kinds(definition)
    text = record.get("summary", "") or ""
    if "Variadic" in kinds:
        spec = f'Operand("{name}", "variadic")'
        return Parameter(name, spec, "Sequence[Any]", "()", True, text)
    if "Optional" in kinds:
        spec = f'Operand("{name}", "optional")'
        return Parameter(name, spec, "Any", "None", True, text)
    return Parameter(name, f'Operand("{name}")', "Any", "", True, text)


def bounds(records: Records, record: dict[str, Any]) -> dict[str, int]:
    """Smallest and largest value that the constraints of an attribute allow."""
    found: dict[str, int] = {}
    for constraint in record.get("attrConstraints", ()):
        name = constraint["def"]
        summary = records[name].get("summary", "")
        for pattern, key in (
            (r"minimum value is (-?\d+)", "minimum"),
            (r"maximum value is (-?\d+)", "maximum"),
        ):
            if match := re.search(pattern, summary):
                found[key] = int(match.group(1))
        if name == "IntPositive":
            found["minimum"] = 1
        elif name == "IntNonNegative":
            found["minimum"] = 0
    return found


def enum_cases(records: Records, enum: str) -> list[str]:
    return [records[case["def"]]["str"] for case in records[enum]["enumerants"]]


def attribute_template(record: dict[str, Any], dialect: str) -> str:
    """How text writes the attribute: pretty only when its body is in <>."""
    if record["assemblyFormat"].replace(" ", "").startswith("`<`"):
        return f"#{dialect}.{record['mnemonic']}<{{}}>"
    return f"#{dialect}<{record['mnemonic']} {{}}>"


def attribute_parameter(records: Records, definition: str, name: str) -> Parameter:
    is_optional, default = False, ""
    limits: dict[str, int] = {}
    record = records[definition]
    while {"OptionalAttr", "DefaultValuedAttr", "ConfinedAttr"} & set(records.kinds(definition)):
        kinds = records.kinds(definition)
        is_optional |= "ConfinedAttr" not in kinds
        default = record.get("defaultValue") or default
        limits |= bounds(records, record)
        definition = record["baseAttr"]["def"]
        record = records[definition]
    kinds = records.kinds(definition)
    text = record.get("summary", "") or ""
    if definition == "UnitAttr":
        spec, kind = f'Attr("{name}", "unit")', "bool"
        return Parameter(name, spec, kind, "False", False, text)
    if "EnumAttr" in kinds:
        cases = enum_cases(records, record["enum"]["def"])
        dialect = records[record["dialect"]["def"]]["name"]
        template = attribute_template(record, dialect)
        quoted = repr(tuple(cases))
        spec = f'Attr("{name}", "enum", "{template}", {quoted})'
        text += f": {', '.join(cases)}"
        kind = "str"
    elif definition == "I64Attr":
        extra = "".join(f", {key}={value}" for key, value in limits.items())
        spec, kind = f'Attr("{name}", "i64"{extra})', "int"
    elif definition == "DenseI32ArrayAttr":
        spec, kind = f'Attr("{name}", "i32s")', "Sequence[int]"
        text = "whole numbers of 32 bits"
    elif definition in ("FlatSymbolRefAttr", "SymbolRefAttr"):
        spec, kind = f'Attr("{name}", "symbol")', "str"
        text += ": the name of a shard.grid" if name == "grid" else ""
    elif definition == "StrAttr":
        spec, kind = f'Attr("{name}", "string")', "str"
    else:
        spec, kind = f'Attr("{name}", "any")', "Any"
    if default:
        text += f"; {default.rsplit('::', 1)[-1]} when not given"
    if is_optional:
        kind = kind if kind == "Any" else f"{kind} | None"
        return Parameter(name, spec, kind, "None", False, text)
    return Parameter(name, spec, kind, "", False, text)


def result_spec(records: Records, op: dict[str, Any], definition: str, name: str) -> str:
    parts = [f'"{name}"']
    record, kinds = records[definition], records.kinds(definition)
    if "Variadic" in kinds:
        parts.append('"variadic"')
    elif "Optional" in kinds:
        parts.append('"optional"')
    elif definition in FIXED_TYPES:
        parts.append(f'type="{FIXED_TYPES[definition]}"')
    for trait in op["traits"]:
        record = records[trait["def"]]
        others = [v for v in record.get("values") or () if v != name]
        if "AllTypesMatch" in record["!superclasses"] and name in record["values"]:
            parts.append(f'same_as="{others[0]}"')
        elif (
            "TypesMatchWith" in record["!superclasses"]
            and record["rhs"] == name
            and record["transformer"] == "$_self"
        ):
            parts.append(f'same_as="{record["lhs"]}"')
    return f"Result({', '.join(parts)})"


def is_attribute(records: Records, definition: str) -> bool:
    return "AttrConstraint" in records.kinds(definition)
