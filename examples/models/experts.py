# ===- experts.py - What an expert computes ------------------*- python -*-===//
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===//
"""MLIR of the experts of a model, on rows that have arrived."""


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
