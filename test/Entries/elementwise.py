#===- elementwise.py - ops of arith and math -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Each op on scalars in linalg.generic, on whole tensors, and on one element in
host code, with what numpy says of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

from case import Case, dims, empty_like, function, tensor
from table import FLOATS, INTS
from values import (
    DTYPES, computed_in, draw, from_ints, is_float, on_floats, on_ints,
    to_ints, width,
)

NUMBERS = (*INTS, "index")
PARALLEL = '"parallel"'
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


def binary_ints() -> dict[str, tuple[Callable, bool, str]]:
    """By op: on numbers of Python, whether signed, and what is undefined."""
    def truncated(a, b):
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)

    return {
        "addi": (lambda a, b: a + b, True, ""),
        "subi": (lambda a, b: a - b, True, ""),
        "muli": (lambda a, b: a * b, True, ""),
        "andi": (lambda a, b: a & b, True, ""),
        "ori": (lambda a, b: a | b, True, ""),
        "xori": (lambda a, b: a ^ b, True, ""),
        "maxsi": (max, True, ""),
        "minsi": (min, True, ""),
        "maxui": (max, False, ""),
        "minui": (min, False, ""),
        "divsi": (truncated, True, "division"),
        "remsi": (lambda a, b: a - truncated(a, b) * b, True, "division"),
        "ceildivsi": (lambda a, b: -(-a // b), True, "division"),
        "floordivsi": (lambda a, b: a // b, True, "division"),
        "divui": (lambda a, b: a // b, False, "division"),
        "remui": (lambda a, b: a % b, False, "division"),
        "ceildivui": (lambda a, b: -(-a // b), False, "division"),
        "shli": (lambda a, b: a << b, False, "shift"),
        "shrui": (lambda a, b: a >> b, False, "shift"),
        "shrsi": (lambda a, b: a >> b, True, "shift"),
    }


def avoid_undefined(kind: str, type_: str):
    """No division by zero or out of range, no shift by the width or more."""
    def fix(arrays):
        a, b = arrays
        if kind == "division":
            b = b.copy()
            b[b == 0] = True if type_ == "i1" else 3
            if type_ == "i1":
                return [np.zeros_like(a), b]
            least = np.iinfo(a.dtype).min
            a = np.where(a == least, 7, a).astype(a.dtype)
        elif kind == "shift":
            b = from_ints([x % width(type_) for x in to_ints(b, False)], type_,
                          b.shape)
        return [a, b]
    return fix


COMPARISONS = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
}


def signed_max(sign: int):
    """maximumf and minimumf: NaN wins, and 0 is greater than -0."""
    def pick(a, b):
        r = np.maximum(a, b) if sign > 0 else np.minimum(a, b)
        zero = (a == 0) & (b == 0)
        negative = np.signbit(a) & np.signbit(b) if sign > 0 else (
            np.signbit(a) | np.signbit(b))
        return np.where(zero, np.where(negative, -0.0, 0.0), r)
    return pick


FLOAT_OPS = {
    "arith.addf": (2, np.add), "arith.subf": (2, np.subtract),
    "arith.mulf": (2, np.multiply), "arith.divf": (2, np.divide),
    "arith.remf": (2, np.fmod), "arith.negf": (1, np.negative),
    "arith.maximumf": (2, signed_max(1)), "arith.minimumf": (2, signed_max(-1)),
    "math.absf": (1, np.abs), "math.ceil": (1, np.ceil),
    "math.floor": (1, np.floor), "math.trunc": (1, np.trunc),
    "math.roundeven": (1, np.rint), "math.sqrt": (1, np.sqrt),
    "math.copysign": (2, np.copysign),
    "math.round": (1, lambda a: np.where(
        np.abs(a) < 2.0**52, np.copysign(np.floor(np.abs(a.astype(np.float64)) + 0.5), a), a)),
}
CLASSES = {
    "math.isnan": np.isnan, "math.isinf": np.isinf, "math.isfinite": np.isfinite,
    "math.isnormal": None,
}
vectorize = np.vectorize
FUNCTIONS = {  # (arity, oracle, range)
    "acos": (1, np.arccos, -0.9, 0.9), "acosh": (1, np.arccosh, 1.25, 30),
    "asin": (1, np.arcsin, -0.9, 0.9), "asinh": (1, np.arcsinh, 0.25, 30),
    "atan": (1, np.arctan, -8, 8), "atanh": (1, np.arctanh, 0.2, 0.9),
    "atan2": (2, np.arctan2, 0.3, 6), "cbrt": (1, np.cbrt, 0.3, 60),
    "cos": (1, np.cos, -1, 1), "cosh": (1, np.cosh, -4, 4),
    "erf": (1, vectorize(math.erf), 0.2, 2), "erfc": (1, vectorize(math.erfc), 0.1, 1.5),
    "exp": (1, np.exp, -4, 4), "exp2": (1, np.exp2, -6, 6),
    "expm1": (1, np.expm1, 0.3, 4), "log": (1, np.log, 1.3, 90),
    "log10": (1, np.log10, 1.3, 90), "log1p": (1, np.log1p, 0.4, 50),
    "log2": (1, np.log2, 1.3, 90), "powf": (2, np.power, 0.5, 3),
    "rsqrt": (1, lambda a: 1 / np.sqrt(a), 0.3, 60), "sin": (1, np.sin, 0.2, 1.5),
    "sinh": (1, np.sinh, 0.5, 4), "tan": (1, np.tan, 0.2, 1.2),
    "tanh": (1, np.tanh, 0.3, 3),
}


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


def outside(type_: str) -> str:
    """The type of a tensor of an entry for values of `type_`."""
    return "i64" if type_ == "index" else type_


def build(rng: np.random.Generator, scalar: Scalar) -> Case:
    """`scalar` in one of the forms that frontends write it in."""
    forms = ["generic", "generic", "scalar"]
    if scalar.op != "arith.constant":
        forms.append("tensor")
    form = forms[rng.integers(len(forms))]
    dynamic = bool(rng.random() < 0.4) and form != "scalar"
    shape = (1,) if form == "scalar" else tuple(
        int(n) for n in rng.integers(1, 6, rng.integers(1, 3)))
    inputs = [
        draw(rng, t, shape, **(scalar.draws[i] if i < len(scalar.draws) else {}))
        for i, t in enumerate(scalar.operands)
    ]
    if scalar.fix:
        inputs = scalar.fix(inputs)
    expected = scalar.oracle(*inputs)
    arguments = [tensor(shape, outside(t), dynamic) for t in scalar.operands]
    results = [tensor(shape, outside(t), dynamic) for t in scalar.results]
    if form == "tensor":
        body, returned = on_tensors(scalar, shape, dynamic)
    elif form == "scalar":
        body, returned = on_one(scalar)
    else:
        body, returned = in_generic(scalar, shape, dynamic)
    types = {*scalar.operands, *scalar.results}
    return Case(function(arguments, results, body, returned),
                [(scalar.op, types)], inputs, expected, scalar.ulps)


def spell(scalar: Scalar, names: list[str], wrap: Callable[[str], str],
          condition: str = "") -> str:
    values = {f"T{i}": wrap(t) for i, t in enumerate(scalar.operands)}
    values |= {f"R{i}": wrap(t) for i, t in enumerate(scalar.results)}
    return scalar.syntax.format(
        *names, R=wrap(scalar.results[0]), C=condition, **values)


def compute(scalar: Scalar, names: list[str], wrap: Callable[[str], str],
            condition: str = "") -> tuple[list[str], list[str]]:
    """Lines that compute the op from operands of outside types, and the names
    of its results, which are of outside types again."""
    lines, operands = [], []
    for i, (name, type_) in enumerate(zip(names, scalar.operands)):
        if type_ == "index":
            lines.append(f"%i{i} = arith.index_cast {name} : {wrap('i64')} to "
                         f"{wrap('index')}")
            name = f"%i{i}"
        operands.append(name)
    count = len(scalar.results)
    many = f":{count}" if count > 1 else ""
    lines.append(f"%v{many} = {spell(scalar, operands, wrap, condition)}")
    returned = []
    for i, type_ in enumerate(scalar.results):
        name = f"%v#{i}" if count > 1 else "%v"
        if type_ == "index":
            lines.append(f"%o{i} = arith.index_cast {name} : {wrap('index')} to "
                         f"{wrap('i64')}")
            name = f"%o{i}"
        returned.append(name)
    return lines, returned


def on_tensors(scalar, shape, dynamic):
    wrap = lambda t: tensor(shape, t, dynamic)
    names = [f"%a{i}" for i in range(len(scalar.operands))]
    return compute(scalar, names, wrap, f"{wrap('i1')}, ")


def on_one(scalar):
    lines = ["%zero = arith.constant 0 : index"]
    names = []
    for i, t in enumerate(scalar.operands):
        lines.append(f"%x{i} = tensor.extract %a{i}[%zero] : "
                     f"tensor<1x{outside(t)}>")
        names.append(f"%x{i}")
    more, values = compute(scalar, names, lambda t: t)
    lines += more
    returned = []
    for i, (value, t) in enumerate(zip(values, scalar.results)):
        lines.append(f"%r{i} = tensor.from_elements {value} : "
                     f"tensor<1x{outside(t)}>")
        returned.append(f"%r{i}")
    return lines, returned


def in_generic(scalar, shape, dynamic):
    rank = len(shape)
    letters = ", ".join(f"d{i}" for i in range(rank))
    identity = f"affine_map<({letters}) -> ({letters})>"
    outs = [outside(t) for t in scalar.results]
    lines, inits = [], []
    for i, out in enumerate(outs):
        made = empty_like("a0", outside(scalar.operands[0]), shape, out, dynamic)
        rename = ["e", *(f"{x}{j}" for j in range(rank) for x in "dk")]
        for line in made:
            for name in rename:
                line = line.replace(f"%{name} ", f"%{name}_{i} ").replace(
                    f"%{name})", f"%{name}_{i})").replace(
                    f"%{name},", f"%{name}_{i},")
            lines.append(line)
        inits.append(f"%e_{i}")
    operands = [outside(t) for t in scalar.operands]
    typed = lambda names, types: (
        f"{', '.join(names)} : "
        f"{', '.join(tensor(shape, t, dynamic) for t in types)}")
    count = len(outs)
    result = "%r" if count == 1 else f"%r:{count}"
    lines.append(
        f"{result} = linalg.generic {{indexing_maps = "
        f"[{', '.join([identity] * (len(operands) + count))}], iterator_types = "
        f"[{', '.join([PARALLEL] * rank)}]}} "
        f"ins({typed([f'%a{i}' for i in range(len(operands))], operands)}) "
        f"outs({typed(inits, outs)}) {{")
    names = [f"%x{i}" for i in range(len(operands))]
    block = [f"{n}: {t}" for n, t in zip(names, operands)]
    block += [f"%u{i}: {t}" for i, t in enumerate(outs)]
    lines.append(f"^bb0({', '.join(block)}):")
    more, values = compute(scalar, names, lambda t: t)
    lines += [f"  {line}" for line in more]
    lines.append(f"  linalg.yield {', '.join(values)} : {', '.join(outs)}")
    types = ", ".join(tensor(shape, t, dynamic) for t in outs)
    lines.append(f"}} -> {types}" if count == 1 else f"}} -> ({types})")
    return lines, ["%r"] if count == 1 else [f"%r#{i}" for i in range(count)]
