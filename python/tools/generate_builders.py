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
import difflib
import keyword
import pathlib
import re
import subprocess
import sys
import textwrap
from typing import Any

from op_records import (
    Parameter,
    Records,
    attribute_parameter,
    attribute_template,
    enum_cases,
    is_attribute,
    operand_parameter,
    result_spec,
)

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
# Traits of ops whose regions have one block, without arguments and a terminator.
BARE_REGIONS = {"NoRegionArguments", "NoTerminator", "SingleBlock"}


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
