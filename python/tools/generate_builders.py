#!/usr/bin/env python3
# ===- generate_builders.py - op builders from op definitions -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes python/moe_mlir/upstream/{moe,symm,coll}.py from the .td files.

llvm-tblgen prints the records of a dialect as JSON; each op becomes an OpSpec
and a typed function, each attribute of the dialect a function. `--check`
compares what is there with what would be written, `--update` writes it.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import keyword
import pathlib
import re
import subprocess
import sys
import textwrap
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAJOR = (ROOT / "cmake" / "llvm-version.txt").read_text().split(".")[0]
DIALECTS = {
    "moe": "Dialect/MoE/IR/MoEOps.td",
    "symm": "Dialect/Symm/IR/SymmOps.td",
    "coll": "Dialect/Coll/IR/CollOps.td",
}
# What builders are made of, as ruff sorts imports.
PARTS = (
    "Attr",
    "Body",
    "Operand",
    "OpSpec",
    "Result",
    "Results",
    "attribute",
    "build",
    "enum_attribute",
)
OUTPUT = ROOT / "python" / "moe_mlir" / "upstream"
# Ops whose result types are stated in docs/Spec.md, and inferred in _infer.py.
INFERRED = ("moe.dispatch", "moe.combine", "moe.alltoallv")
# Types that a definition fixes.
FIXED_TYPES = {"Index": "index", "I1": "i1", "I32": "i32", "I64": "i64"}
# Traits of ops whose regions have one block, without arguments and a terminator.
BARE_REGIONS = {"NoRegionArguments", "NoTerminator", "SingleBlock"}
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


def wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, 80, initial_indent=indent, subsequent_indent=indent)


def tuple_text(items: list[str], indent: str) -> str:
    if not items:
        return "()"
    inner = "".join(f"\n{indent}    {item}," for item in items)
    return f"({inner}\n{indent})"


def docstring(
    op: dict[str, Any],
    name: str,
    parameters: list[Parameter],
    regions: list[str],
    inferred: bool,
) -> str:
    """The description of the op is in docs/generated; this says how to call."""
    lines = [
        f'"""``{name}``: {op["summary"]}.',
        "",
        "Parameters",
        "----------",
        "ir",
        "    The user's ``ir`` module.",
    ]
    for parameter in parameters:
        what = "operand" if parameter.is_operand else parameter.type
        optional = ", optional" if parameter.default else ""
        lines.append(f"{parameter.python} : {what.replace('Sequence[Any]', 'operands')}{optional}")
        if parameter.text:
            lines += wrapped(parameter.text[:1].upper() + parameter.text[1:] + ".", "    ").split(
                "\n"
            )
    for region in regions:
        lines += [f"{region} : callable", "    Called to build the ops of the region."]
    lines += ["results : sequence of types, optional"]
    lines += ["    Types of the results, when they are not to be inferred."]
    if inferred:
        lines += [
            "ranks : int, optional",
            "    Extent of the grid, when it is not to be looked up.",
        ]
    lines += [
        "loc, ip : optional",
        "    Location and insertion point.",
        "",
        "Returns",
        "-------",
        "Results",
    ]
    names = [arg[1] for arg in op["results"]["args"]]
    if inferred:
        lines.append("    One value per result; its names are those of docs/Spec.md.")
    else:
        lines.append(f"    {', '.join(names) or 'No value'}.")
    return "\n".join(("    " + line).rstrip() for line in lines) + '\n    """'


def op_text(records: Records, op: dict[str, Any], dialect: str) -> str:
    name = f"{dialect}.{op['opName']}"
    parameters = []
    for argument, argument_name in op["arguments"]["args"]:
        make = attribute_parameter if is_attribute(records, argument["def"]) else operand_parameter
        parameters.append(make(records, argument["def"], argument_name))
    regions = [region_name for _, region_name in op["regions"]["args"]]
    traits = {trait["def"] for trait in op["traits"]}
    if op["successors"]["args"] or (regions and not traits >= BARE_REGIONS):
        sys.exit(
            f"{name} has successors, or regions with arguments, terminators or several "
            "blocks, which have no builder yet"
        )
    operands = [p for p in parameters if p.is_operand]
    attributes = [p for p in parameters if not p.is_operand]
    results = [
        result_spec(records, op, result["def"], result_name)
        for result, result_name in op["results"]["args"]
    ]
    segmented = any(t["def"] == "AttrSizedOperandSegments" for t in op["traits"])
    inferred = name in INFERRED
    constant = f"_{op['opName'].upper()}"
    function = op["opName"] + ("_" if keyword.iskeyword(op["opName"]) else "")

    spec = [f'name="{name}"']
    for field, items in (
        ("operands", [p.spec for p in operands]),
        ("attributes", [p.spec for p in attributes]),
        ("results", results),
    ):
        if items:
            spec.append(f"{field}={tuple_text(items, '    ')}")
    if regions:
        spec.append(f"regions=({', '.join(map(repr, regions))},)")
    if segmented:
        spec.append("has_operand_segments=True")

    # Operands that may be left out come last among the positional ones. Any number
    # of values, in front of an operand that has to be there, has to be there too.
    for i, p in enumerate(operands):
        if p.type.startswith("Sequence") and any(not q.default for q in operands[i:]):
            p.default = ""
    signature = ["ir: Any"]
    seen_default = False
    keyword_operands = []
    for p in operands:
        if not p.default and seen_default:
            keyword_operands.append(p)
            continue
        seen_default |= bool(p.default)
        signature.append(f"{p.python}: {p.type}" + (f" = {p.default}" if p.default else ""))
    signature += [f"{region}: Body" for region in regions]
    signature.append("*")
    named = keyword_operands + attributes
    for p in sorted(named, key=lambda p: bool(p.default)):
        signature.append(f"{p.python}: {p.type}" + (f" = {p.default}" if p.default else ""))
    signature.append("results: Sequence[Any] | None = None")
    if inferred:
        signature.append("ranks: int | None = None")
    signature += ["loc: Any = None", "ip: Any = None"]

    def dictionary_of(names: list[str], values: list[str] | None = None) -> str:
        if not names:
            return "{}"
        pairs = zip(names, values or names, strict=True)
        inner = "".join(f'\n            "{name}": {value},' for name, value in pairs)
        return f"{{{inner}\n        }}"

    def dictionary(items: list[Parameter]) -> str:
        return dictionary_of([p.name for p in items], [p.python for p in items])

    extra = ["results=results"]
    if regions:
        extra.insert(0, f"regions={dictionary_of(regions)}")
    if inferred:
        extra += [f"infer=_infer.{op['opName']}", "ranks=ranks"]
    extra += ["loc=loc", "ip=ip"]
    fields = "".join(f"\n    {item}," for item in spec)
    params = "".join(f"\n    {item}," if item != "*" else "\n    *," for item in signature)
    options = "".join(f"\n        {item}," for item in extra)
    return (
        f"\n\n{constant} = OpSpec({fields}\n)\n\n\n"
        f"def {function}({params}\n) -> Results:\n"
        f"{docstring(op, name, parameters, regions, inferred)}\n"
        f"    return build(\n        ir,\n        {constant},\n"
        f"        {dictionary(operands)},\n        {dictionary(attributes)},"
        f"{options}\n    )\n"
    )


def attribute_text(records: Records, record: dict[str, Any], dialect: str) -> str:
    """A function that makes an attribute of the dialect."""
    mnemonic = record["mnemonic"]
    summary = record.get("summary") or mnemonic
    head = f'    """``#{dialect}.{mnemonic}``: {summary}.'
    if "EnumAttr" in record["!superclasses"]:
        cases = enum_cases(records, record["enum"]["def"])
        template = attribute_template(record, dialect)
        text = wrapped(f"`value` is one of: {', '.join(cases)}.", "    ")
        return (
            f"\n\ndef {mnemonic}_attr(ir: Any, value: str) -> Any:\n{head}\n\n"
            f"{text}\n"
            '    """\n'
            f'    return enum_attribute(ir, "{template}", {tuple(cases)!r}, value)\n'
        )
    parameters = record["parameters"]["args"]
    if not parameters:
        return (
            f'\n\ndef {mnemonic}_attr(ir: Any) -> Any:\n{head}"""\n'
            f'    return attribute(ir, "#{dialect}.{mnemonic}")\n'
        )
    if record["assemblyFormat"].replace(" ", "") != "`<`struct(params)`>`":
        sys.exit(f"#{dialect}.{mnemonic}: this format has no builder yet")
    names = [name for _, name in parameters]
    signature = "".join(f"\n    {name}: int | str | None = None," for name in names)
    pairs = ", ".join(f'("{name}", {name})' for name in names)
    return (
        f"\n\ndef {mnemonic}_attr(\n    ir: Any,\n    *,{signature}\n) -> Any:\n{head}\n\n"
        "    What is not given has its default.\n"
        '    """\n'
        f"    given = ({pairs})\n"
        '    text = ", ".join(f"{name} = {value}" for name, value in given\n'
        "                     if value is not None)\n"
        f'    return attribute(ir, f"#{dialect}.{mnemonic}<{{text}}>")\n'
    )


def module_text(records: Records, dialect: str) -> str:
    source = f"include/moe-mlir/{DIALECTS[dialect]}"
    ops = records.instances("Op", dialect, "opDialect")
    attributes = records.instances("AttrDef", dialect, "dialect")
    names = sorted([op["opName"] for op in ops] + [a["mnemonic"] + "_attr" for a in attributes])
    exported = "".join(f'\n    "{name}",' for name in names)
    infer = (
        "from . import _infer\n"
        if any(f"{dialect}.{op['opName']}" in INFERRED for op in ops)
        else ""
    )
    body = "".join(attribute_text(records, record, dialect) for record in attributes)
    body += "".join(op_text(records, op, dialect) for op in ops)
    imported = "\n".join(f"    {part}," for part in PARTS if re.search(rf"\b{part}\b", body))
    header = f"# ===- {dialect}.py - builders of the {dialect} dialect -*- python -*-===#"
    text = f'''{header}
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
# Made by python/tools/generate_builders.py from
# {source}; do not edit.
"""Builders of the {"ops and attributes" if attributes else "ops"} of the ``{dialect}`` dialect.

Each takes the ``ir`` module of the user's own MLIR build. What the ops mean is
in the op reference, docs/generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

{infer}from ._build import (
{imported}
)

__all__ = [{exported}
]
'''
    return text + body


def formatted(text: str, name: str) -> str:
    """As ruff writes it, so that the checks of the tree have nothing to say."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "format",
        "--config",
        str(ROOT / "python" / "ruff.toml"),
        "--stdin-filename",
        name,
        "-",
    ]
    result = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, timeout=60
    )
    if result.returncode != 0:
        sys.exit(f"ruff cannot format {name}:\n{result.stderr}")
    return result.stdout


def generate(llvm: pathlib.Path) -> dict[pathlib.Path, str]:
    files = {}
    for dialect, source in DIALECTS.items():
        command = [
            str(llvm / "llvm-tblgen"),
            "--dump-json",
            "-I",
            str(ROOT / "include"),
            "-I",
            str(llvm.parent / "include"),
            str(ROOT / "include" / "moe-mlir" / source),
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if result.returncode != 0:
            sys.exit(f"{source}: llvm-tblgen failed:\n{result.stderr}")
        text = module_text(Records(result.stdout), dialect)
        file = OUTPUT / f"{dialect}.py"
        files[file] = formatted(text, file.name)
    return files


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true")
    mode.add_argument("--update", action="store_true")
    parser.add_argument(
        "--llvm",
        type=pathlib.Path,
        default=pathlib.Path(f"/usr/lib/llvm-{MAJOR}/bin"),
        help="folder with llvm-tblgen",
    )
    args = parser.parse_args()
    problems = 0
    for file, text in generate(args.llvm).items():
        old = file.read_text(encoding="utf-8") if file.is_file() else ""
        if old == text:
            continue
        if args.update:
            file.write_text(text, encoding="utf-8")
            print(f"wrote {file.relative_to(ROOT)}")
            continue
        problems += 1
        name = str(file.relative_to(ROOT))
        for line in difflib.unified_diff(
            old.splitlines(),
            text.splitlines(),
            name,
            "from the op definitions",
            lineterm="",
        ):
            print(line)
    if problems:
        print("python/tools/generate_builders.py --update brings the builders up to date")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
