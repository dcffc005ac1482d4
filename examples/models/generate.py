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
import dataclasses
import pathlib
import sys
import textwrap

RANKS = 4


@dataclasses.dataclass
class Model:
    name: str
    title: str
    experts: int
    topK: int
    hidden: int
    ffn: int
    tokens: int  # per rank
    form: str  # expert_major | rank_major | runs
    notes: str
    alignment: int = 1
    capacity: int = 0  # 0: the default
    clampedGlu: bool = False  # gpt-oss: biases and a clamped SwiGLU

    @property
    def local(self):
        return self.experts // RANKS

    @property
    def rows(self):
        """Capacity of the receive buffer, in rows."""
        if self.capacity:
            return self.capacity
        factor = 1
        if self.form == "expert_major":
            factor = min(self.topK, self.local)
        return RANKS * self.tokens * factor


MODELS = [
    Model("deepseek_v3", "DeepSeek-V3", 256, 8, 7168, 2048, 1024,
          "expert_major",
          "Groups start at multiples of 128 rows, as tiled grouped products "
          "want them; the capacity has room for the padding. The shared "
          "expert is local to each rank and left out.",
          alignment=128, capacity=RANKS * 1024 * 8 + 64 * 128),
    Model("mixtral_8x7b", "Mixtral-8x7B", 8, 2, 4096, 14336, 512,
          "rank_major",
          "A token goes to each rank once, however many of its experts live "
          "there. The rank gathers the rows of one expert at a time, adds up "
          "the weighted results of a row's experts in f32, and sends one row "
          "back."),
    Model("qwen3_30b_a3b", "Qwen3-30B-A3B", 128, 8, 2048, 768, 1024,
          "expert_major", "Groups follow each other without padding."),
    Model("gpt_oss_120b", "gpt-oss-120b", 128, 4, 2880, 2880, 1024,
          "expert_major",
          "Each product has a bias, and the gate is clamped: "
          "(up + 1) * gate * sigmoid(1.702 * gate), gate <= 7, "
          "-7 <= up <= 7. Weights are bf16 here.",
          clampedGlu=True),
    Model("olmoe", "OLMoE-1B-7B", 64, 8, 2048, 1024, 1024, "expert_major",
          "Groups follow each other without padding."),
    Model("llama4_scout", "Llama-4-Scout", 16, 1, 5120, 8192, 512, "runs",
          "Top-1, so a sender's rows can arrive in the order of their "
          "experts: each run of rows of one expert is one product, and "
          "combine is a permutation. The weight scales the input of the "
          "expert. The shared expert is local to each rank and left out."),
]


def tensor(*dims):
    *shape, element = dims
    return f"tensor<{'x'.join(map(str, [*shape, element]))}>"


def matmul(out, lhs, rhs, init, rows, inner, cols):
    """out = init + lhs * rhs: bf16 data, f32 sums. The reduction stands in
    the middle, so the innermost loop runs over contiguous columns."""
    return f"""
{out} = linalg.generic {{
    indexing_maps = [#row_k, #k_col, #row_col],
    iterator_types = ["parallel", "reduction", "parallel"]}}
    ins({lhs}, {rhs}
        : {tensor(rows, inner, "bf16")}, {tensor(inner, cols, "bf16")})
    outs({init} : {tensor(rows, cols, "f32")}) {{
^bb0(%a: bf16, %b: bf16, %acc: f32):
  %a.f32 = arith.extf %a : bf16 to f32
  %b.f32 = arith.extf %b : bf16 to f32
  %p = arith.mulf %a.f32, %b.f32 : f32
  %s = arith.addf %acc, %p : f32
  linalg.yield %s : f32
}} -> {tensor(rows, cols, "f32")}
""".strip("\n")


def initialSums(m, name, cols):
    """The value a product starts from: the expert's bias, or zeros."""
    out = tensor("?", cols, "f32")
    text = f"%{name}.empty = tensor.empty(%count) : {out}\n"
    if not m.clampedGlu:
        return text + (f"%{name}.init = linalg.fill ins(%zero : f32)\n"
                       f"    outs(%{name}.empty : {out}) -> {out}")
    bias = tensor(cols, "bf16")
    return text + f"""
%{name}.bias = tensor.extract_slice %b_{name}[%j, 0] [1, {cols}] [1, 1]
    : {tensor(m.local, cols, "bf16")} to {bias}
%{name}.init = linalg.generic {{
    indexing_maps = [#col, #all],
    iterator_types = ["parallel", "parallel"]}}
    ins(%{name}.bias : {bias})
    outs(%{name}.empty : {out}) {{
^bb0(%b: bf16, %unused: f32):
  %b.f32 = arith.extf %b : bf16 to f32
  linalg.yield %b.f32 : f32
}} -> {out}""".lstrip("\n")


def activation(m):
    if m.clampedGlu:
        body = """
  %g.clamped = arith.minimumf %g, %seven : f32
  %u.upper = arith.minimumf %u, %seven : f32
  %u.clamped = arith.maximumf %u.upper, %minus_seven : f32
  %scaled = arith.mulf %g.clamped, %minus_alpha : f32
  %exp = math.exp %scaled : f32
  %den = arith.addf %one, %exp : f32
  %glu = arith.divf %g.clamped, %den : f32
  %u.plus = arith.addf %u.clamped, %one : f32
  %h = arith.mulf %glu, %u.plus : f32"""
    else:
        body = """
  %neg = arith.negf %g : f32
  %exp = math.exp %neg : f32
  %den = arith.addf %one, %exp : f32
  %silu = arith.divf %g, %den : f32
  %h = arith.mulf %silu, %u : f32"""
    f32, bf16 = tensor("?", m.ffn, "f32"), tensor("?", m.ffn, "bf16")
    return f"""
%h.empty = tensor.empty(%count) : {bf16}
%h = linalg.generic {{
    indexing_maps = [#all, #all, #all],
    iterator_types = ["parallel", "parallel"]}}
    ins(%gate, %up : {f32}, {f32})
    outs(%h.empty : {bf16}) {{
^bb0(%g: f32, %u: f32, %unused: bf16):{body}
  %h.bf16 = arith.truncf %h : f32 to bf16
  linalg.yield %h.bf16 : bf16
}} -> {bf16}""".lstrip("\n")


def expert(m):
    """%group (?xH bf16, %count rows) through local expert %j: %down (f32)."""
    parts = []
    for name, rows, cols in (("gate", m.hidden, m.ffn), ("up", m.hidden, m.ffn),
                             ("down", m.ffn, m.hidden)):
        parts.append(
            f"%w_{name}.j = tensor.extract_slice %w_{name}[%j, 0, 0] "
            f"[1, {rows}, {cols}]\n    [1, 1, 1] : "
            f"{tensor(m.local, rows, cols, 'bf16')} to "
            f"{tensor(rows, cols, 'bf16')}")
    for name in ("gate", "up"):
        parts.append(initialSums(m, name, m.ffn))
        parts.append(matmul(f"%{name}", "%group", f"%w_{name}.j",
                            f"%{name}.init", "?", m.hidden, m.ffn))
    parts.append(activation(m))
    parts.append(initialSums(m, "down", m.hidden))
    parts.append(matmul("%down", "%h", "%w_down.j", "%down.init", "?", m.ffn,
                        m.hidden))
    return "\n".join(parts)


def roundInto(m, source, offset):
    """Rounds %count rows of `source` (?xH f32) into %y from row `offset`."""
    y, part = tensor(m.rows, m.hidden, "bf16"), tensor("?", m.hidden, "bf16")
    return f"""
%part = tensor.extract_slice %y[{offset}, 0] [%count, {m.hidden}] [1, 1]
    : {y} to {part}
%rounded = linalg.generic {{
    indexing_maps = [#all, #all],
    iterator_types = ["parallel", "parallel"]}}
    ins({source} : {tensor("?", m.hidden, "f32")}) outs(%part : {part}) {{
^bb0(%v: f32, %unused: bf16):
  %r = arith.truncf %v : f32 to bf16
  linalg.yield %r : bf16
}} -> {part}
%next = tensor.insert_slice %rounded into %y[{offset}, 0]
    [%count, {m.hidden}] [1, 1] : {part} into {y}""".strip("\n")


def expertMajorBody(m):
    ids = tensor(m.local, "i32")
    y = tensor(m.rows, m.hidden, "bf16")
    return f"""
// One group of contiguous rows per local expert.
%y.empty = tensor.empty() : {y}
%y.all = scf.for %j = %c0 to %local step %c1 iter_args(%y = %y.empty)
    -> ({y}) {{
  %offset.i32 = tensor.extract %offsets[%j] : {ids}
  %count.i32 = tensor.extract %counts[%j] : {ids}
  %offset = arith.index_cast %offset.i32 : i32 to index
  %count = arith.index_cast %count.i32 : i32 to index
  %group = tensor.extract_slice %recv_x[%offset, 0] [%count, {m.hidden}] [1, 1]
      : {y} to {tensor("?", m.hidden, "bf16")}
{textwrap.indent(expert(m), "  ")}
{textwrap.indent(roundInto(m, "%down", "%offset"), "  ")}
  scf.yield %next : {y}
}}""".strip("\n")


def receivedRows():
    """%n: how many rows arrived."""
    return f"""
%n = scf.for %s = %c0 to %ranks step %c1 iter_args(%sum = %c0) -> (index) {{
  %from.i32 = tensor.extract %n_from[%s] : tensor<{RANKS}xi32>
  %from = arith.index_cast %from.i32 : i32 to index
  %more = arith.addi %sum, %from : index
  scf.yield %more : index
}}""".strip("\n")


def rankMajorBody(m):
    y, sums = tensor(m.rows, m.hidden, "bf16"), tensor(m.rows, m.hidden, "f32")
    part, row = tensor("?", m.hidden, "f32"), tensor(m.hidden, "f32")
    group, dataRow = tensor("?", m.hidden, "bf16"), tensor(m.hidden, "bf16")
    lists, weights = tensor(m.rows, "i32"), tensor(m.rows, "f32")
    ids, idWeights = (tensor(m.rows, m.topK, t) for t in ("i32", "f32"))
    loop = f"""
// The sum of each row's experts, one expert at a time.
%sums.empty = tensor.empty() : {sums}
%sums.part = tensor.extract_slice %sums.empty[0, 0] [%n, {m.hidden}] [1, 1]
    : {sums} to {part}
%sums.filled = linalg.fill ins(%zero : f32)
    outs(%sums.part : {part}) -> {part}
%sums.zero = tensor.insert_slice %sums.filled into %sums.empty[0, 0]
    [%n, {m.hidden}] [1, 1] : {part} into {sums}
%list.empty = tensor.empty() : {lists}
%scale.empty = tensor.empty() : {weights}
%sums.all = scf.for %j = %c0 to %local step %c1 iter_args(%sums = %sums.zero)
    -> ({sums}) {{
  // The rows of expert j and their weights. An expert of this rank has the
  // local number id mod {m.local}; experts of other ranks have the id -1.
  %j.i32 = arith.index_cast %j : index to i32
  %list, %scale, %count = scf.for %r = %c0 to %n step %c1
      iter_args(%l = %list.empty, %v = %scale.empty, %i = %c0)
      -> ({lists}, {weights}, index) {{
    %l.k, %v.k, %i.k = scf.for %k = %c0 to %top step %c1
        iter_args(%l1 = %l, %v1 = %v, %i1 = %i)
        -> ({lists}, {weights}, index) {{
      %id = tensor.extract %recv_e[%r, %k] : {ids}
      %number = arith.remsi %id, %local.i32 : i32
      %mine = arith.cmpi eq, %number, %j.i32 : i32
      %l2, %v2, %i2 = scf.if %mine
          -> ({lists}, {weights}, index) {{
        %r.i32 = arith.index_cast %r : index to i32
        %w = tensor.extract %recv_w[%r, %k] : {idWeights}
        %l3 = tensor.insert %r.i32 into %l1[%i1] : {lists}
        %v3 = tensor.insert %w into %v1[%i1] : {weights}
        %i3 = arith.addi %i1, %c1 : index
        scf.yield %l3, %v3, %i3 : {lists}, {weights}, index
      }} else {{
        scf.yield %l1, %v1, %i1 : {lists}, {weights}, index
      }}
      scf.yield %l2, %v2, %i2 : {lists}, {weights}, index
    }}
    scf.yield %l.k, %v.k, %i.k : {lists}, {weights}, index
  }}
  %group.empty = tensor.empty(%count) : {group}
  %group = scf.for %i = %c0 to %count step %c1 iter_args(%g = %group.empty)
      -> ({group}) {{
    %r.i32 = tensor.extract %list[%i] : {lists}
    %r = arith.index_cast %r.i32 : i32 to index
    %x.row = tensor.extract_slice %recv_x[%r, 0] [1, {m.hidden}] [1, 1]
        : {y} to {dataRow}
    %g.next = tensor.insert_slice %x.row into %g[%i, 0] [1, {m.hidden}] [1, 1]
        : {dataRow} into {group}
    scf.yield %g.next : {group}
  }}
{textwrap.indent(expert(m), "  ")}
  %sums.next = scf.for %i = %c0 to %count step %c1 iter_args(%a = %sums)
      -> ({sums}) {{
    %r.i32 = tensor.extract %list[%i] : {lists}
    %r = arith.index_cast %r.i32 : i32 to index
    %w = tensor.extract %scale[%i] : {weights}
    %d.row = tensor.extract_slice %down[%i, 0] [1, {m.hidden}] [1, 1]
        : {part} to {row}
    %a.row = tensor.extract_slice %a[%r, 0] [1, {m.hidden}] [1, 1]
        : {sums} to {row}
    %added = linalg.generic {{
        indexing_maps = [#id, #id], iterator_types = ["parallel"]}}
        ins(%d.row : {row}) outs(%a.row : {row}) {{
    ^bb0(%d: f32, %acc: f32):
      %p = arith.mulf %w, %d : f32
      %s = arith.addf %acc, %p : f32
      linalg.yield %s : f32
    }} -> {row}
    %a.next = tensor.insert_slice %added into %a[%r, 0] [1, {m.hidden}] [1, 1]
        : {row} into {sums}
    scf.yield %a.next : {sums}
  }}
  scf.yield %sums.next : {sums}
}}
%y.empty = tensor.empty() : {y}
%y.all = scf.for %r = %c0 to %n step %c1 iter_args(%y = %y.empty)
    -> ({y}) {{
  %sum.row = tensor.extract_slice %sums.all[%r, 0] [1, {m.hidden}] [1, 1]
      : {sums} to {row}
  %y.row = tensor.extract_slice %y[%r, 0] [1, {m.hidden}] [1, 1]
      : {y} to {dataRow}
  %rounded = linalg.generic {{
      indexing_maps = [#id, #id], iterator_types = ["parallel"]}}
      ins(%sum.row : {row}) outs(%y.row : {dataRow}) {{
  ^bb0(%v: f32, %unused: bf16):
    %v.bf16 = arith.truncf %v : f32 to bf16
    linalg.yield %v.bf16 : bf16
  }} -> {dataRow}
  %y.next = tensor.insert_slice %rounded into %y[%r, 0] [1, {m.hidden}] [1, 1]
      : {dataRow} into {y}
  scf.yield %y.next : {y}
}}""".strip("\n")
    return receivedRows() + "\n" + loop


def runsBody(m):
    y, group = tensor(m.rows, m.hidden, "bf16"), tensor("?", m.hidden, "bf16")
    ids = tensor(m.rows, 1, "i32")
    scale = tensor("?", "f32")
    return receivedRows() + f"""
// One product per run of rows of the same expert.
%y.empty = tensor.empty() : {y}
%y.all, %end = scf.while (%y.in = %y.empty, %start.in = %c0)
    : ({y}, index) -> ({y}, index) {{
  %more = arith.cmpi slt, %start.in, %n : index
  scf.condition(%more) %y.in, %start.in : {y}, index
}} do {{
^bb0(%y: {y}, %start: index):
  %id = tensor.extract %recv_e[%start, %c0] : {ids}
  %second = arith.addi %start, %c1 : index
  %stop = scf.while (%r = %second) : (index) -> index {{
    %inside = arith.cmpi slt, %r, %n : index
    %same = scf.if %inside -> (i1) {{
      %other = tensor.extract %recv_e[%r, %c0] : {ids}
      %equal = arith.cmpi eq, %other, %id : i32
      scf.yield %equal : i1
    }} else {{
      scf.yield %false : i1
    }}
    scf.condition(%same) %r : index
  }} do {{
  ^bb1(%r: index):
    %r.next = arith.addi %r, %c1 : index
    scf.yield %r.next : index
  }}
  %count = arith.subi %stop, %start : index
  // The local number of an expert of this rank is its id mod {m.local}.
  %j.i32 = arith.remsi %id, %local.i32 : i32
  %j = arith.index_cast %j.i32 : i32 to index
  %x.run = tensor.extract_slice %recv_x[%start, 0] [%count, {m.hidden}] [1, 1]
      : {y} to {group}
  %w.run = tensor.extract_slice %recv_w[%start, 0] [%count, 1] [1, 1]
      : {tensor(m.rows, 1, "f32")} to {scale}
  %group.empty = tensor.empty(%count) : {group}
  %group = linalg.generic {{
      indexing_maps = [#all, #token, #all],
      iterator_types = ["parallel", "parallel"]}}
      ins(%x.run, %w.run : {group}, {scale})
      outs(%group.empty : {group}) {{
  ^bb0(%v: bf16, %w: f32, %unused: bf16):
    %v.f32 = arith.extf %v : bf16 to f32
    %p = arith.mulf %v.f32, %w : f32
    %r = arith.truncf %p : f32 to bf16
    linalg.yield %r : bf16
  }} -> {group}
{textwrap.indent(expert(m), "  ")}
{textwrap.indent(roundInto(m, "%down", "%start"), "  ")}
  scf.yield %next, %stop : {y}, index
}}"""


BODIES = {"expert_major": expertMajorBody, "rank_major": rankMajorBody,
          "runs": runsBody}


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
