#===- shaped.py - ops of linalg and tensor -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Each named op of linalg, with what numpy says of it. Operands of sums are
small whole numbers, so that sums are exact in any order and type."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

import contractions
import packing
import reductions
import tensors
from case import Case, empty_like, function, tensor
from table import FLOATS, INTS
from values import (
    DTYPES, computed_in, draw, draw_exact, is_float, on_floats, on_ints,
)

ARITHMETIC = (*FLOATS, *INTS)
ULPS = 32


def pick(rng, options):
    return options[rng.integers(len(options))]


def draw_shape(rng, rank=None) -> tuple[int, ...]:
    rank = int(rng.integers(1, 4)) if rank is None else rank
    return tuple(int(n) for n in rng.integers(1, 5, rank))


def in_place(op: str, rng, types: list[str], inputs, expected, ulps=0.0,
             attributes: str = "") -> Case:
    """`op` from operands of one shape to a result of that shape."""
    dynamic = bool(rng.random() < 0.4)
    shape = inputs[0].shape
    result = types[-1]
    ins = ", ".join(f"%a{i}" for i in range(len(inputs)))
    spelled = [tensor(shape, t, dynamic) for t in types]
    body = [
        *empty_like("a0", types[0], shape, result, dynamic),
        f"%r = {op}{attributes} ins({ins} : {', '.join(spelled[:-1])}) "
        f"outs(%e : {spelled[-1]}) -> {spelled[-1]}",
    ]
    return Case(function(spelled[:-1], spelled[-1:], body, ["%r"]),
                [(op, set(types))], inputs, [expected], ulps)


# --- Element by element ------------------------------------------------------ #

UNARY = {  # numpy, range, ulps
    "ceil": (np.ceil, None, 0), "floor": (np.floor, None, 0),
    "negf": (np.negative, None, 0), "abs": (np.abs, None, 0),
    "reciprocal": (lambda a: 1 / a, (0.5, 8.0), 0),
    "round": (lambda a: np.copysign(np.floor(np.abs(a) + 0.5), a), None, 0),
    "sqrt": (np.sqrt, (0.3, 60.0), 0), "square": (np.square, None, 0),
    "rsqrt": (lambda a: 1 / np.sqrt(a), (0.3, 60.0), ULPS),
    "tanh": (np.tanh, (0.3, 3.0), ULPS), "exp": (np.exp, (-4.0, 4.0), ULPS),
    "erf": (np.vectorize(math.erf), (0.2, 2.0), ULPS),
    "log": (np.log, (1.3, 90.0), ULPS),
}


def unary(rng, name) -> Case:
    fn, limits, ulps = UNARY[name]
    # On integers they are no IR.
    t = pick(rng, FLOATS)
    low, high = limits or (None, None)
    a = draw(rng, t, draw_shape(rng), low=low, high=high)
    expected = on_floats(fn, t)(a)
    ulps = ulps if t in ("f32", "f64") else min(ulps, 1)
    return in_place(f"linalg.{name}", rng, [t, t], [a], expected, ulps)


BINARY = {  # on floats, on integers, signed
    "add": (np.add, lambda a, b: a + b, True),
    "sub": (np.subtract, lambda a, b: a - b, True),
    "mul": (np.multiply, lambda a, b: a * b, True),
    "max": (np.maximum, max, True), "min": (np.minimum, min, True),
    "div": (np.divide, lambda a, b: int(math.copysign(1, a) * math.copysign(1, b))
            * (abs(a) // abs(b)), True),
    "div_unsigned": (None, lambda a, b: a // b, False),
    "powf": (np.power, None, True),
}


def of_bits(name):
    """What the named ops mean on i1, where addition is "or"."""
    return {"add": np.logical_or, "mul": np.logical_and}.get(name)


def types_of(name: str) -> list[str]:
    """The types on which the op `linalg.<name>` is IR."""
    types = {"powf": FLOATS, "div_unsigned": INTS}.get(name, ARITHMETIC)
    has_bits = name not in ("sub", "div", "div_unsigned")
    return [t for t in types if t != "i1" or has_bits]


def binary(rng, name) -> Case:
    on_float, on_int, signed = BINARY[name]
    t = pick(rng, types_of(name))
    shape = draw_shape(rng)
    limits = {"low": 0.5, "high": 3.0} if name == "powf" and is_float(t) else {}
    a, b = draw(rng, t, shape, **limits), draw(rng, t, shape, **limits)
    if name.startswith("div") and not is_float(t):
        b = np.where(b == 0, 3, b).astype(b.dtype)
        b = np.where(b == -1, 5, b).astype(b.dtype)
    if is_float(t) and on_float is not None:
        expected = on_floats(on_float, t)(a, b)
    elif t == "i1" and of_bits(name):
        expected = of_bits(name)(a, b)
    elif not is_float(t) and on_int is not None:
        expected = on_ints(on_int, t, signed)(a, b)
    else:
        expected = a
    ulps = (ULPS if t in ("f32", "f64") else 1) if name == "powf" else 0
    return in_place(f"linalg.{name}", rng, [t, t, t], [a, b], expected, ulps)


def elementwise(rng) -> Case:
    t, (name, fn) = pick(rng, ARITHMETIC), pick(
        rng, [("add", np.add), ("mul", np.multiply), ("sub", np.subtract)])
    # MLIR's parser crashes where it has no difference of truth values to build.
    if t == "i1" and name == "sub":
        name = "add"
    shape = draw_shape(rng)
    a, b = draw(rng, t, shape), draw(rng, t, shape)
    if is_float(t):
        expected = on_floats(fn, t)(a, b)
    elif t == "i1":
        expected = of_bits(name)(a, b) if of_bits(name) else a
    else:
        expected = on_ints(BINARY[name][1], t, True)(a, b)
    return in_place("linalg.elementwise", rng, [t, t, t], [a, b], expected,
                    attributes=f" kind=#linalg.elementwise_kind<{name}>")


def select(rng) -> Case:
    t = pick(rng, ARITHMETIC)
    shape = draw_shape(rng)
    c, a, b = (draw(rng, of, shape) for of in ("i1", t, t))
    return in_place("linalg.select", rng, ["i1", t, t, t], [c, a, b],
                    np.where(c, a, b))


def copy(rng) -> Case:
    t = pick(rng, ARITHMETIC)
    a = draw(rng, t, draw_shape(rng))
    return in_place("linalg.copy", rng, [t, t], [a], a)


def fill(rng) -> Case:
    t, dynamic = pick(rng, ARITHMETIC), bool(rng.random() < 0.4)
    shape = draw_shape(rng)
    a = draw(rng, t, shape)
    body = [
        *empty_like("a0", t, shape, t, dynamic),
        *(f"%z{i} = arith.constant 0 : index" for i in range(len(shape))),
        f"%v = tensor.extract %a0[{', '.join(f'%z{i}' for i in range(len(shape)))}]"
        f" : {tensor(shape, t, dynamic)}",
        f"%r = linalg.fill ins(%v : {t}) outs(%e : {tensor(shape, t, dynamic)}) "
        f"-> {tensor(shape, t, dynamic)}",
    ]
    of = tensor(shape, t, dynamic)
    return Case(function([of], [of], body, ["%r"]), [("linalg.fill", {t})], [a],
                [np.full_like(a, a.flat[0])])


def map_(rng) -> Case:
    t = pick(rng, ARITHMETIC)
    shape, dynamic = draw_shape(rng), bool(rng.random() < 0.4)
    a, b = draw(rng, t, shape), draw(rng, t, shape)
    name = "arith.addf" if is_float(t) else "arith.addi"
    expected = (on_floats(np.add, t) if is_float(t) else
                on_ints(lambda x, y: x + y, t, True))(a, b)
    of = tensor(shape, t, dynamic)
    body = [
        *empty_like("a0", t, shape, t, dynamic),
        f"%r = linalg.map {{ {name} }} ins(%a0, %a1 : {of}, {of}) outs(%e : {of})",
    ]
    return Case(function([of, of], [of], body, ["%r"]), [("linalg.map", {t})],
                [a, b], [expected])


def index(rng) -> Case:
    """The indices of elements, and what they are with another type's value."""
    shape, dynamic = draw_shape(rng), bool(rng.random() < 0.4)
    dim = int(rng.integers(len(shape)))
    a = draw(rng, "i64", shape, low=-9, high=9)
    letters = ", ".join(f"d{i}" for i in range(len(shape)))
    of = tensor(shape, "i64", dynamic)
    iterators = ", ".join(['"parallel"'] * len(shape))
    body = [
        *empty_like("a0", "i64", shape, "i64", dynamic),
        f"%r = linalg.generic {{indexing_maps = [affine_map<({letters}) -> "
        f"({letters})>, affine_map<({letters}) -> ({letters})>], iterator_types = "
        f"[{iterators}]}} ins(%a0 : {of}) outs(%e : {of}) {{",
        "^bb0(%x: i64, %u: i64):",
        f"  %i = linalg.index {dim} : index",
        "  %j = arith.index_cast %i : index to i64",
        "  %s = arith.addi %x, %j : i64",
        "  linalg.yield %s : i64",
        f"}} -> {of}",
    ]
    indices = np.indices(shape)[dim]
    return Case(function([of], [of], body, ["%r"]),
                [("linalg.index", {"index"}), ("linalg.generic", {"i64"}),
                 ("linalg.yield", {"i64"})], [a], [a + indices])


# --- Reductions and shapes --------------------------------------------------- #


def reduce(rng) -> Case:
    t = pick(rng, ARITHMETIC)
    shape = draw_shape(rng, int(rng.integers(1, 4)))
    kept = [d for d in range(len(shape)) if rng.random() < 0.5]
    dims = [d for d in range(len(shape)) if d not in kept] or [0]
    kept = [d for d in range(len(shape)) if d not in dims]
    dynamic = bool(rng.random() < 0.4)
    name = pick(rng, ["add", "max"])
    a = draw_exact(rng, t, shape)
    out_shape = tuple(shape[d] for d in kept)
    init = draw_exact(rng, t, out_shape)
    if name == "add":
        op = "arith.addf" if is_float(t) else "arith.addi"
        wide = a.astype(np.float64).sum(axis=tuple(dims)) + init.astype(np.float64)
        expected = (wide % 2).astype(bool) if t == "i1" else wide.astype(DTYPES[t])
    else:
        op = "arith.maximumf" if is_float(t) else "arith.maxsi"
        top = (-a.astype(np.int8)).max(axis=tuple(dims)) if t == "i1" else (
            a.astype(np.float64).max(axis=tuple(dims)))
        start = -init.astype(np.int8) if t == "i1" else init.astype(np.float64)
        expected = np.maximum(top, start)
        expected = (expected != 0) if t == "i1" else expected.astype(DTYPES[t])
    of, out = tensor(shape, t, dynamic), tensor(out_shape, t, dynamic)
    body = [f"%r = linalg.reduce {{ {op} }} ins(%a0 : {of}) outs(%a1 : {out}) "
            f"dimensions = [{', '.join(map(str, dims))}]"]
    return Case(function([of, out], [out], body, ["%r"]),
                [("linalg.reduce", {t})], [a, init], [np.asarray(expected)])


def broadcast(rng) -> Case:
    t = pick(rng, ARITHMETIC)
    shape = draw_shape(rng, int(rng.integers(1, 4)))
    added = [d for d in range(len(shape)) if rng.random() < 0.5]
    kept = [d for d in range(len(shape)) if d not in added]
    a = draw(rng, t, tuple(shape[d] for d in kept))
    target = draw(rng, t, shape)
    dynamic = bool(rng.random() < 0.4)
    of, out = tensor(a.shape, t, dynamic), tensor(shape, t, dynamic)
    body = [f"%r = linalg.broadcast ins(%a0 : {of}) outs(%a1 : {out}) "
            f"dimensions = [{', '.join(map(str, added))}]"]
    wide = a.reshape(tuple(n if d in kept else 1 for d, n in enumerate(shape)))
    return Case(function([of, out], [out], body, ["%r"]),
                [("linalg.broadcast", {t})], [a, target],
                [np.broadcast_to(wide, shape)])


def transpose(rng) -> Case:
    t = pick(rng, ARITHMETIC)
    shape = draw_shape(rng, int(rng.integers(1, 4)))
    order = [int(i) for i in rng.permutation(len(shape))]
    a = draw(rng, t, shape)
    expected = np.ascontiguousarray(a.transpose(order))
    target = draw(rng, t, expected.shape)
    dynamic = bool(rng.random() < 0.4)
    of, out = tensor(shape, t, dynamic), tensor(expected.shape, t, dynamic)
    body = [f"%r = linalg.transpose ins(%a0 : {of}) outs(%a1 : {out}) "
            f"permutation = [{', '.join(map(str, order))}]"]
    return Case(function([of, out], [out], body, ["%r"]),
                [("linalg.transpose", {t})], [a, target], [expected])


def softmax(rng) -> Case:
    t = pick(rng, ARITHMETIC)
    shape = draw_shape(rng, int(rng.integers(1, 4)))
    dim = int(rng.integers(len(shape)))
    a = draw(rng, t, shape, **({"low": -3.0, "high": 3.0} if is_float(t) else {}))
    expected = a
    if is_float(t):
        wide = np.exp(a.astype(np.float64))
        expected = (wide / wide.sum(axis=dim, keepdims=True)).astype(
            computed_in(t)).astype(DTYPES[t])
    dynamic = bool(rng.random() < 0.4)
    of = tensor(shape, t, dynamic)
    body = [
        *empty_like("a0", t, shape, t, dynamic),
        f"%r = linalg.softmax dimension({dim}) ins(%a0 : {of}) outs(%e : {of}) "
        f"-> {of}",
    ]
    return Case(function([of], [of], body, ["%r"]), [("linalg.softmax", {t})],
                [a], [expected], ULPS if t in ("f32", "f64") else 3)


FOREIGN = ("i2", "i4", "i7", "i24", "i128", "ui8", "si32", "f80", "f128", "tf32",
           "f8E4M3", "f8E5M2FNUZ", "f4E2M1FN", "complex<f32>")


def foreign(rng) -> Case:
    """An op on a type that no entry has: always refused."""
    t = pick(rng, FOREIGN)
    shape, dynamic = draw_shape(rng), bool(rng.random() < 0.4)
    of = tensor(shape, t, dynamic)
    op, body = pick(rng, [
        ("tensor.cast", [f"%r = tensor.cast %x : {of} to {tensor(shape, t, not dynamic)}"]),
        ("tensor.dim", ["%k = arith.constant 0 : index",
                        f"%r = tensor.dim %x, %k : {of}"]),
        ("linalg.copy", [f"%r = linalg.copy ins(%x : {of}) outs(%x : {of}) -> {of}"]),
        ("arith.select", ["%c = arith.constant true",
                          f"%r = arith.select %c, %x, %x : {of}"]),
    ])
    text = function([], [], body, [])[:-1].replace(
        "func.func @NAME()", f"func.func private @NAME(%x: {of})") + "  return\n}"
    return Case(text, [(op, {t})], [], [])


def templates() -> list[Callable]:
    made: list[Callable] = [
        foreign, foreign, foreign,
        elementwise, select, copy, fill, map_, index, reduce, broadcast,
        transpose, softmax,
    ]
    made += [lambda rng, n=n: unary(rng, n) for n in UNARY]
    made += [lambda rng, n=n: binary(rng, n) for n in BINARY]
    return (made + contractions.templates() + tensors.templates() + packing.templates()
            + reductions.templates())
