#===- scalars.py - ops of arith and math -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Each op on scalars, with what numpy says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

from oracles import (
    CLASSES, COMPARISONS, FLOAT_OPS, FUNCTIONS, avoid_undefined, binary_ints,
)
from table import FLOATS, INTS
from values import (
    DTYPES, computed_in, from_ints, is_float, on_floats, on_ints,
    to_ints, width,
)

NUMBERS = (*INTS, "index")
FUNCTION_ULPS = 32  # accuracy has tests of its own


@dataclass
class Scalar:
    """An op on scalars. In `syntax`, {0} is the first operand, {T0} its type
    and {R} that of the result."""

    op: str
    syntax: str
    operands: list[str]
    results: list[str]
    oracle: Callable
    draws: list[dict] = field(default_factory=list)
    ulps: float = 0
    fix: Callable | None = None  # makes random inputs valid


def scalars(rng: np.random.Generator) -> list[Callable[[], Scalar]]:
    """A maker for each op, which draws types on its own."""
    makers: list[Callable[[], Scalar]] = []
    pick = lambda options: options[rng.integers(len(options))]

    def add(maker, *args):
        makers.append(lambda: maker(*args))

    def int_binary(name, fn, signed, kind):
        t = pick(NUMBERS)
        return Scalar(f"arith.{name}", f"arith.{name} {{0}}, {{1}} : {{T0}}",
                      [t, t], [t], lambda *a: [on_ints(fn, t, signed)(*a)],
                      fix=avoid_undefined(kind, t))

    for name, (fn, signed, kind) in binary_ints().items():
        add(int_binary, name, fn, signed, kind)

    def cmpi():
        t, name = pick(NUMBERS), pick(list(COMPARISONS))
        signed = name in ("eq", "ne") or bool(rng.integers(2))
        spelled = name if name in ("eq", "ne") else ("s" if signed else "u") + name
        return Scalar("arith.cmpi", f"arith.cmpi {spelled}, {{0}}, {{1}} : {{T0}}",
                      [t, t], ["i1"],
                      lambda *a: [on_ints(COMPARISONS[name], "i1", signed)(*a)])

    def cmpf():
        t, name = pick(FLOATS), pick(list(COMPARISONS))
        ordered = bool(rng.integers(2))

        def oracle(a, b):
            a, b = a.astype(np.float64), b.astype(np.float64)
            nan = np.isnan(a) | np.isnan(b)
            return [np.where(nan, not ordered, COMPARISONS[name](a, b))]
        spelled = ("o" if ordered else "u") + name
        return Scalar("arith.cmpf", f"arith.cmpf {spelled}, {{0}}, {{1}} : {{T0}}",
                      [t, t], ["i1"], oracle, [{"special": True}] * 2)

    add(cmpi)
    add(cmpf)

    def extended(name, fn, signed):
        t = pick(INTS)
        high = (lambda a, b: fn(a, b) >> width(t))
        low = on_ints(fn, t, signed)
        second = "i1" if name == "addui" else t
        return Scalar(f"arith.{name}_extended",
                      f"arith.{name}_extended {{0}}, {{1}} : {{T0}}"
                      + (", {R1}" if name == "addui" else ""),
                      [t, t], [t, second],
                      lambda *a: [low(*a), on_ints(high, second, signed)(*a)])

    add(extended, "addui", lambda a, b: a + b, False)
    add(extended, "mului", lambda a, b: a * b, False)
    add(extended, "mulsi", lambda a, b: a * b, True)

    def int_unary(name, fn, signed):
        t = pick(INTS)
        return Scalar(f"math.{name}", f"math.{name} {{0}} : {{T0}}", [t], [t],
                      lambda a: [on_ints(lambda x: fn(x, width(t)), t, signed)(a)])

    add(int_unary, "absi", lambda x, w: abs(x), True)
    add(int_unary, "ctpop", lambda x, w: bin(x).count("1"), False)
    add(int_unary, "ctlz", lambda x, w: w - x.bit_length(), False)
    add(int_unary, "cttz",
        lambda x, w: w if x == 0 else (x & -x).bit_length() - 1, False)

    def ipowi():
        t = pick(INTS)

        def power(a, b):
            if b >= 0:
                return pow(a, b, 2 ** width(t))
            return {1: 1, -1: -1 if b % 2 else 1}.get(a, 0)

        def fix(arrays):
            # In an i1, 1 is also -1; which of both counts is not specified.
            return [arrays[0], np.zeros_like(arrays[1])] if t == "i1" else arrays
        return Scalar("math.ipowi", "math.ipowi {0}, {1} : {T0}", [t, t], [t],
                      lambda *a: [on_ints(power, t, True)(*a)], fix=fix)

    def fpowi():
        t, e = pick(FLOATS), pick(INTS)

        def oracle(a, b):
            exponents = np.array(to_ints(b, True), np.float64).reshape(b.shape)
            with np.errstate(all="ignore"):
                power = np.power(a.astype(np.float64), exponents)
            return [power.astype(DTYPES[t]) if t == "f64" else
                    power.astype(np.float32).astype(DTYPES[t])]
        return Scalar("math.fpowi", "math.fpowi {0}, {1} : {T0}, {T1}", [t, e],
                      [t], oracle, [{"low": -3.0, "high": 3.0},
                                    {"low": -5, "high": 5}], FUNCTION_ULPS)

    add(ipowi)
    add(fpowi)

    def float_op(op, arity, fn):
        t = pick(FLOATS)
        syntax = ", ".join(f"{{{i}}}" for i in range(arity))
        return Scalar(op, f"{op} {syntax} : {{T0}}", [t] * arity, [t],
                      lambda *a: [on_floats(fn, t)(*a)],
                      [{"special": True}] * arity)

    for op, (arity, fn) in FLOAT_OPS.items():
        add(float_op, op, arity, fn)
    # What becomes of zeros of both signs is not specified.
    for op, fn in (("arith.maxnumf", np.fmax), ("arith.minnumf", np.fmin)):
        def number(op=op, fn=fn):
            t = pick(FLOATS)
            def fix(arrays):
                # A quotient would be signed anew.
                return [np.where(a == 0, np.ones_like(a), a) for a in arrays]
            return Scalar(op, f"{op} {{0}}, {{1}} : {{T0}}", [t, t], [t],
                          lambda *a: [on_floats(fn, t)(*a)],
                          [{"special": True}] * 2, fix=fix)
        add(number)

    def classify(op, fn):
        t = pick(FLOATS)

        def oracle(a):
            if fn is not None:
                return [fn(a.astype(np.float64))]
            wide = a.astype(computed_in(t)).astype(np.float64)
            tiny = float(ml_dtypes.finfo(DTYPES[t]).tiny)
            return [np.isfinite(wide) & (np.abs(wide) >= tiny)]
        return Scalar(op, f"{op} {{0}} : {{T0}}", [t], ["i1"], oracle,
                      [{"special": True}])

    for op, fn in CLASSES.items():
        add(classify, op, fn)

    def clampf():
        t = pick(FLOATS)
        return Scalar("math.clampf", "math.clampf {0} to [{1}, {2}] : {T0}",
                      [t] * 3, [t],
                      lambda *a: [on_floats(
                          lambda x, low, high: np.minimum(np.maximum(x, low), high),
                          t)(*a)],
                      [{"low": -9.0, "high": 9.0}, {"low": -5.0, "high": -1.0},
                       {"low": 1.0, "high": 5.0}])

    def fma():
        t = pick(FLOATS)

        def compute(a, b, c):
            wide = np.longdouble if t == "f64" else np.float64
            return a.astype(wide) * b.astype(wide) + c.astype(wide)

        def oracle(*a):
            wide = [x.astype(computed_in(t)) for x in a]
            with np.errstate(all="ignore"):
                return [compute(*wide).astype(computed_in(t)).astype(DTYPES[t])]
        return Scalar("math.fma", "math.fma {0}, {1}, {2} : {T0}", [t] * 3, [t],
                      oracle, [{"special": True}] * 3, 1)

    add(clampf)
    add(fma)

    def math_function(name, arity, fn, low, high):
        t = pick(FLOATS)
        syntax = ", ".join(f"{{{i}}}" for i in range(arity))

        def oracle(*a):
            exact = fn(*[x.astype(np.float64) for x in a])
            return [np.asarray(exact).astype(computed_in(t)).astype(DTYPES[t])]
        return Scalar(f"math.{name}", f"math.{name} {syntax} : {{T0}}",
                      [t] * arity, [t], oracle,
                      [{"low": float(low), "high": float(high)}] * arity,
                      FUNCTION_ULPS if t in ("f32", "f64") else 1)

    for name, (arity, fn, low, high) in FUNCTIONS.items():
        add(math_function, name, arity, fn, low, high)

    def sincos():
        t = pick(FLOATS)
        rounded = lambda fn: lambda a: fn(a.astype(np.float64)).astype(
            computed_in(t)).astype(DTYPES[t])
        return Scalar("math.sincos", "math.sincos {0} : {T0}", [t], [t, t],
                      lambda a: [rounded(np.sin)(a), rounded(np.cos)(a)],
                      [{"low": 0.2, "high": 1.2}],
                      FUNCTION_ULPS if t in ("f32", "f64") else 1)

    add(sincos)

    def cast(op, sources, results, oracle, fits, draws=None):
        pairs = [(s, r) for s in sources for r in results if fits(s, r)]
        s, r = pick(pairs)
        return Scalar(op, f"{op} {{0}} : {{T0}} to {{R}}", [s], [r],
                      lambda a: [oracle(a, s, r)],
                      [draws(s, r) if draws else {}])

    def to_float(a, s, r):
        if s == "f64" and r not in ("f64", "f32"):
            # Rounded once; ml_dtypes goes by way of f32.
            wide = a.astype(np.float32)
            return wide.astype(DTYPES[r])
        return a.astype(computed_in(r)).astype(DTYPES[r])

    def wider(s, r):
        return width(s) < width(r)

    def narrower(s, r):
        return width(s) > width(r)

    def within(s, r):
        """Values that the integer holds, whatever the float."""
        bits = width(r)
        return {"low": float(-min(2 ** (bits - 1), 200) + 1) if bits > 1 else 0.0,
                "high": float(min(2 ** (bits - 1), 200) - 1) if bits > 1 else 0.9}

    def within_unsigned(s, r):
        return {"low": 0.0, "high": float(min(2 ** width(r), 400) - 1) + (
            0.9 if r == "i1" else 0)}

    def to_int(a, s, r):
        numbers = [int(x) for x in np.trunc(a.astype(np.float64)).flat]
        return from_ints(numbers, r, a.shape)

    def from_int(signed):
        def oracle(a, s, r):
            numbers = np.array(to_ints(a, signed), object).reshape(a.shape)
            wide = np.float64 if r == "f64" else np.float32
            # By way of a string, numpy rounds once.
            flat = [wide(str(n)) for n in numbers.flat]
            with np.errstate(over="ignore"):
                return np.array(flat, wide).reshape(a.shape).astype(DTYPES[r])
        return oracle

    def resize(signed):
        return lambda a, s, r: from_ints(to_ints(a, signed), r, a.shape)

    def bits(a, s, r):
        words = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
        return a.view(words[a.dtype.itemsize]).view(DTYPES[r])

    def finite(s, r):
        # Casts of f64 have a test of their own.
        return {"low": -6.0, "high": 6.0} if s == "f64" else {"special": True}

    add(cast, "arith.extf", FLOATS, FLOATS, to_float, wider, finite)
    add(cast, "arith.truncf", FLOATS, FLOATS, to_float, narrower, finite)
    add(cast, "arith.extsi", INTS, INTS, resize(True), wider)
    add(cast, "arith.extui", INTS, INTS, resize(False), wider)
    add(cast, "arith.trunci", INTS, INTS, resize(True), narrower)
    add(cast, "arith.fptosi", FLOATS, INTS, to_int, lambda s, r: True, within)
    add(cast, "arith.fptoui", FLOATS, INTS, to_int, lambda s, r: True,
        within_unsigned)
    add(cast, "arith.sitofp", INTS, FLOATS, from_int(True), lambda s, r: True)
    add(cast, "arith.uitofp", INTS, FLOATS, from_int(False), lambda s, r: True)
    add(cast, "arith.bitcast", (*FLOATS, *INTS[:-1]), (*FLOATS, *INTS[:-1]),
        bits, lambda s, r: width(s) == width(r))
    add(cast, "arith.index_cast", INTS, ("index",), resize(True),
        lambda s, r: True)
    add(cast, "arith.index_castui", INTS, ("index",), resize(False),
        lambda s, r: True)

    def select():
        t = pick((*FLOATS, *NUMBERS))
        return Scalar("arith.select", "arith.select {0}, {1}, {2} : {C}{T1}",
                      ["i1", t, t], [t], lambda c, a, b: [np.where(c, a, b)])

    add(select)

    def constant():
        t = pick((*FLOATS, *INTS))
        value = 1 if t == "i1" else 3
        spelled = {"i1": "true"}.get(t, "3.0" if is_float(t) else "3")
        spelled += "" if t == "i1" else " : {R}"
        return Scalar("arith.constant", f"arith.constant {spelled}", [t], [t],
                      lambda a: [np.full(a.shape, value).astype(DTYPES[t])])

    add(constant)
    return makers
