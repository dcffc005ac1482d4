#===- elementwise.py - forms of ops of arith and math -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Each op of scalars.py in linalg.generic, on whole tensors, and on one element in
host code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from case import Case, empty_like, function, tensor
from scalars import Scalar
from values import draw

PARALLEL = '"parallel"'


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
