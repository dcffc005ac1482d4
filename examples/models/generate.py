#!/usr/bin/env python3
# ===- generate.py - Writes the model examples --------------*- python -*-===//
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===//
"""Writes one MoE layer per public model, with the model's own shapes, as
<name>.mlir beside this script. With --check it only compares: exit status 1
when a file differs from what would be written."""

import argparse
import pathlib
import sys
import textwrap

from bodies import BODIES
from experts import tensor
from models import MODELS, RANKS


def constants(m):
    lines = ["%c0 = arith.constant 0 : index", "%c1 = arith.constant 1 : index",
             "%zero = arith.constant 0.0 : f32",
             "%one = arith.constant 1.0 : f32"]
    if m.form != "runs":
        lines.append(f"%local = arith.constant {m.local} : index")
    if m.form != "expert_major":
        lines += [f"%ranks = arith.constant {RANKS} : index",
                  f"%local.i32 = arith.constant {m.local} : i32"]
    if m.form == "rank_major":
        lines.append(f"%top = arith.constant {m.topK} : index")
    if m.form == "runs":
        lines.append("%false = arith.constant false")
    if m.clampedGlu:
        lines += ["%seven = arith.constant 7.0 : f32",
                  "%minus_seven = arith.constant -7.0 : f32",
                  "%minus_alpha = arith.constant -1.702 : f32"]
    return "\n".join(lines)


def wrapTypes(types, start):
    """`start`, then the types in parentheses, in lines that fit."""
    return textwrap.fill(f"({', '.join(types)})", 77, initial_indent=start,
                         subsequent_indent=" " * (len(start) + 1),
                         break_long_words=False)


def layer(m):
    bf16, i32, f32 = "bf16", "i32", "f32"
    x = tensor(m.tokens, m.hidden, bf16)
    idx, weights = (tensor(m.tokens, m.topK, t) for t in (i32, f32))
    recvX = tensor(m.rows, m.hidden, bf16)
    perRow = [m.rows] if m.form == "expert_major" else [m.rows, m.topK]
    recvE, recvW = tensor(*perRow, i32), tensor(*perRow, f32)
    recvSrc, perRank = tensor(m.rows, i32), tensor(RANKS, i32)
    attributes = f"num_experts = {m.experts} : i64"
    results = ("%recv_x, %recv_e, %recv_w, %recv_src, %n_to, %n_from, "
               "%send_row")
    operands, operandTypes = "%y.all, %send_row, %recv_src, %n_from", []
    types = [recvX, recvE, recvW, recvSrc, perRank, perRank]
    if m.form == "expert_major":
        sendRow = idx
        attributes = f"layout = #moe.layout<expert_major>, {attributes}"
        if m.alignment > 1:
            attributes += (f",\n     alignment = {m.alignment} : i64, "
                           f"capacity = {m.capacity} : i64")
        results += ",\n%offsets, %counts"
        operands += " topk(%idx)\n    weights(%recv_w)"
        operandTypes = [idx, recvW]
        types += [sendRow] + [tensor(m.local, i32)] * 2
    else:
        sendRow = tensor(m.tokens, RANKS, i32)
        types += [sendRow]
        if m.form == "runs":
            attributes += ", order = #moe.order<expert>"
    arguments = [f"%x: {x}", f"%idx: {idx}", f"%weights: {weights}"]
    for name, rows, cols in (("gate", m.hidden, m.ffn), ("up", m.hidden, m.ffn),
                             ("down", m.ffn, m.hidden)):
        arguments.append(f"%w_{name}: {tensor(m.local, rows, cols, bf16)}")
        if m.clampedGlu:
            arguments.append(f"%b_{name}: {tensor(m.local, cols, bf16)}")
    body = f"""
{constants(m)}

{results} =
  moe.dispatch %x, %idx, %weights on @ep
    {{{attributes}}}
    : ({x}, {idx}, {weights})
{wrapTypes(types, "   -> ")}

{BODIES[m.form](m)}

%out = moe.combine {operands} on @ep
    {{{attributes}}}
{wrapTypes([recvX, sendRow, recvSrc, perRank, *operandTypes], "    : ")}
   -> {x}
return %out : {x}""".strip("\n")
    return f"""
// The MoE layer of {m.title}: {m.experts} experts, top {m.topK}, hidden \
size {m.hidden},
// expert width {m.ffn}, on {RANKS} ranks of {m.tokens} tokens each.
//
{textwrap.fill(m.notes, 79, initial_indent="// ", subsequent_indent="// ")}
//
// Written by generate.py; edit that.

#row_k = affine_map<(m, k, n) -> (m, k)>
#k_col = affine_map<(m, k, n) -> (k, n)>
#row_col = affine_map<(m, k, n) -> (m, n)>
#all = affine_map<(t, c) -> (t, c)>
{EXTRA_MAPS[m.form] if not m.clampedGlu else BIAS_MAP}
shard.grid @ep(shape = {RANKS})

func.func @layer(
{textwrap.indent((","+chr(10)).join(arguments), "    ")})
    -> {x} {{
{textwrap.indent(body, "  ")}
}}
""".lstrip("\n")


BIAS_MAP = "#col = affine_map<(t, c) -> (c)>\n"
EXTRA_MAPS = {"expert_major": "",
              "rank_major": "#id = affine_map<(c) -> (c)>\n",
              "runs": "#token = affine_map<(t, c) -> (t)>\n"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true",
                        help="compare with the files, write nothing")
    args = parser.parse_args()
    folder = pathlib.Path(__file__).resolve().parent
    stale = []
    for model in MODELS:
        path, text = folder / f"{model.name}.mlir", layer(model)
        if not args.check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    for path in folder.glob("*.mlir"):
        if path.stem not in {m.name for m in MODELS}:
            stale.append(path.name)
    for name in stale:
        print(f"generate.py: error: {name} is not what generate.py writes",
              file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
