# ===- bodies.py - What a rank does with the rows it has -----*- python -*-===//
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===//
"""MLIR between dispatch and combine, for each form of the received rows."""

import textwrap

from experts import expert, roundInto, tensor
from models import RANKS


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
