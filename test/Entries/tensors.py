#===- tensors.py - ops of tensor -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Each op of the tensor dialect, with what numpy says of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from case import Case, empty_like, function, tensor
from table import FLOATS, INTS
from values import DTYPES, draw, width

ARITHMETIC = (*FLOATS, *INTS)


def pick(rng, options):
    return options[rng.integers(len(options))]


def start(rng, rank=None) -> tuple[str, np.ndarray, bool]:
    """A type, an array of it, and whether its shape is dynamic."""
    t = pick(rng, ARITHMETIC)
    rank = int(rng.integers(1, 4)) if rank is None else rank
    shape = tuple(int(n) for n in rng.integers(1, 5, rank))
    return t, draw(rng, t, shape), bool(rng.random() < 0.4)


def made(op, t, arguments, results, body, inputs, expected, others=()) -> Case:
    return Case(function(arguments, results, body, ["%r"]),
                [(op, {t, *others})], inputs, [expected])


def constants(count: int) -> list[str]:
    return [f"%c{i} = arith.constant {i} : index" for i in range(count)]


def sizes_of(name: str, rank: int, of: str) -> list[str]:
    """Lines that make %s0, %s1, ... the extents of %`name`."""
    return [*constants(rank),
            *(f"%s{i} = tensor.dim %{name}, %c{i} : {of}" for i in range(rank))]


def bitcast(rng) -> Case:
    t, a, dynamic = start(rng)
    others = [o for o in ARITHMETIC if width(o) == width(t)]
    r = pick(rng, others)
    words = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
    expected = a if t == "i1" else a.view(words[a.dtype.itemsize]).view(DTYPES[r])
    of, out = tensor(a.shape, t, dynamic), tensor(a.shape, r, dynamic)
    return made("tensor.bitcast", t, [of], [out],
                [f"%r = tensor.bitcast %a0 : {of} to {out}"], [a], expected, [r])


def cast(rng) -> Case:
    t, a, dynamic = start(rng)
    of, out = tensor(a.shape, t, dynamic), tensor(a.shape, t, not dynamic)
    return made("tensor.cast", t, [of], [out],
                [f"%r = tensor.cast %a0 : {of} to {out}"], [a], a)


def dim(rng) -> Case:
    t, a, dynamic = start(rng)
    at = int(rng.integers(a.ndim))
    of = tensor(a.shape, t, dynamic)
    body = [f"%k = arith.constant {at} : index", f"%d = tensor.dim %a0, %k : {of}",
            "%i = arith.index_cast %d : index to i64",
            "%r = tensor.from_elements %i : tensor<i64>"]
    return made("tensor.dim", t, [of], ["tensor<i64>"], body, [a],
                np.array(a.shape[at], np.int64), ["index"])


def rank(rng) -> Case:
    t, a, dynamic = start(rng)
    of = tensor(a.shape, t, dynamic)
    body = [f"%d = tensor.rank %a0 : {of}",
            "%i = arith.index_cast %d : index to i64",
            "%r = tensor.from_elements %i : tensor<i64>"]
    return made("tensor.rank", t, [of], ["tensor<i64>"], body, [a],
                np.array(a.ndim, np.int64), ["index"])


def empty(rng) -> Case:
    """Its elements are not specified, its shape is."""
    t, a, dynamic = start(rng)
    of = tensor(a.shape, t, dynamic)
    body = [*empty_like("a0", t, a.shape, t, dynamic), "%k = arith.constant 0 : index",
            f"%d = tensor.dim %e, %k : {of}", "%i = arith.index_cast %d : index to i64",
            "%r = tensor.from_elements %i : tensor<i64>"]
    return made("tensor.empty", t, [of], ["tensor<i64>"], body, [a],
                np.array(a.shape[0], np.int64), ["index"])


def extract(rng) -> Case:
    t, a, dynamic = start(rng)
    at = tuple(int(rng.integers(n)) for n in a.shape)
    of = tensor(a.shape, t, dynamic)
    body = [f"%i{d} = arith.constant {i} : index" for d, i in enumerate(at)]
    body += [
        f"%x = tensor.extract %a0[{', '.join(f'%i{d}' for d in range(a.ndim))}] : {of}",
        f"%r = tensor.from_elements %x : {tensor((), t)}",
    ]
    return made("tensor.extract", t, [of], [tensor((), t)], body, [a],
                np.array(a[at]), ["index"])


def insert(rng) -> Case:
    t, a, dynamic = start(rng)
    at = tuple(int(rng.integers(n)) for n in a.shape)
    b = draw(rng, t, ())
    of = tensor(a.shape, t, dynamic)
    body = [f"%i{d} = arith.constant {i} : index" for d, i in enumerate(at)]
    body += [
        f"%x = tensor.extract %a1[] : {tensor((), t)}",
        f"%r = tensor.insert %x into %a0[{', '.join(f'%i{d}' for d in range(a.ndim))}]"
        f" : {of}",
    ]
    expected = a.copy()
    expected[at] = b[()]
    return made("tensor.insert", t, [of, tensor((), t)], [of], body, [a, b], expected,
                ["index"])


def from_elements(rng) -> Case:
    t, a, _ = start(rng)
    of = tensor(a.shape, t)
    body, names = constants(5), []
    for number, at in enumerate(np.ndindex(a.shape)):
        body.append(f"%x{number} = tensor.extract "
                    f"%a0[{', '.join(f'%c{i}' for i in at)}] : {of}")
        names.append(f"%x{number}")
    names.reverse()
    body.append(f"%r = tensor.from_elements {', '.join(names)} : {of}")
    return made("tensor.from_elements", t, [of], [of], body, [a],
                a.reshape(-1)[::-1].reshape(a.shape))


def splat(rng) -> Case:
    t, a, dynamic = start(rng)
    b = draw(rng, t, ())
    of, one = tensor(a.shape, t, dynamic), tensor((), t)
    sizes = ", ".join(f"%s{i}" for i in range(a.ndim)) if dynamic else ""
    body = [*(sizes_of("a0", a.ndim, of) if dynamic else []),
            f"%x = tensor.extract %a1[] : {one}",
            f"%r = tensor.splat %x{f'[{sizes}]' if sizes else ''} : {of}"]
    return made("tensor.splat", t, [of, one], [of], body, [a, b],
                np.full(a.shape, b[()], DTYPES[t]))


def generate(rng) -> Case:
    """The elements of the argument, each dimension backwards."""
    t, a, dynamic = start(rng)
    of = tensor(a.shape, t, dynamic)
    sizes = ", ".join(f"%s{i}" for i in range(a.ndim)) if dynamic else ""
    body = sizes_of("a0", a.ndim, of)
    args = ", ".join(f"%i{d}: index" for d in range(a.ndim))
    body += ["%last = arith.constant 1 : index",
             f"%r = tensor.generate{f' {sizes}' if sizes else ''} {{",
             f"^bb0({args}):"]
    for d in range(a.ndim):
        body += [f"  %m{d} = arith.subi %s{d}, %last : index",
                 f"  %j{d} = arith.subi %m{d}, %i{d} : index"]
    body += [
        f"  %x = tensor.extract %a0[{', '.join(f'%j{d}' for d in range(a.ndim))}] : {of}",
        f"  tensor.yield %x : {t}", f"}} : {of}",
    ]
    case = made("tensor.generate", t, [of], [of], body, [a], np.flip(a), ["index"])
    case.uses.append(("tensor.yield", {t}))
    return case


def draw_slice(rng, shape):
    """Offsets, sizes and strides of a part of `shape`."""
    offsets, sizes, strides = [], [], []
    for n in shape:
        step = int(rng.integers(1, 3))
        first = int(rng.integers(n))
        count = int(rng.integers(1, (n - first - 1) // step + 2))
        offsets.append(first)
        sizes.append(count)
        strides.append(step)
    return offsets, sizes, strides


def places(offsets, sizes, strides):
    return tuple(slice(o, o + (n - 1) * s + 1, s)
                 for o, n, s in zip(offsets, sizes, strides))


def spell_slice(rng, offsets, sizes, strides):
    """Lines, the three lists, and whether sizes are dynamic."""
    dynamic = bool(rng.random() < 0.4)
    lines = []

    def spell(letter, values, asValue):
        if not asValue:
            return f"[{', '.join(map(str, values))}]"
        lines.extend(f"%{letter}{i} = arith.constant {v} : index"
                     for i, v in enumerate(values))
        # What is seen to be constant would be folded into the type.
        return f"[{', '.join(f'%{letter}{i}' for i in range(len(values)))}]"
    text = spell("of", offsets, dynamic) + spell("sz", sizes, dynamic) + spell(
        "st", strides, False)
    return lines, text, dynamic


def extract_slice(rng) -> Case:
    t, a, dynamic = start(rng)
    parts = draw_slice(rng, a.shape)
    lines, text, sized = spell_slice(rng, *parts)
    of, out = tensor(a.shape, t, dynamic), tensor(parts[1], t, sized)
    body = [*lines, f"%r = tensor.extract_slice %a0{text} : {of} to {out}"]
    return made("tensor.extract_slice", t, [of], [out], body, [a],
                np.ascontiguousarray(a[places(*parts)]), ["index"])


def insert_slice(rng) -> Case:
    t, a, dynamic = start(rng)
    parts = draw_slice(rng, a.shape)
    lines, text, sized = spell_slice(rng, *parts)
    b = draw(rng, t, tuple(parts[1]))
    of, part = tensor(a.shape, t, dynamic), tensor(parts[1], t, sized)
    expected = a.copy()
    expected[places(*parts)] = b
    body = [*lines, f"%r = tensor.insert_slice %a1 into %a0{text} : {part} into {of}"]
    return made("tensor.insert_slice", t, [of, part], [of], body, [a, b], expected,
                ["index"])


def parallel_insert_slice(rng) -> Case:
    """Rows of the argument in reverse order."""
    t, a, dynamic = start(rng, 2)
    of = tensor(a.shape, t, dynamic)
    row = tensor((1, a.shape[1]), t, dynamic)
    body = [
        *sizes_of("a0", 2, of),
        *empty_like("a0", t, a.shape, t, dynamic),
        f"%r = scf.forall (%i) in (%s0) shared_outs(%o = %e) -> ({of}) {{",
        "  %m = arith.subi %s0, %c1 : index",
        "  %j = arith.subi %m, %i : index",
    ]
    if dynamic:
        size = "%s1"
        row = f"tensor<1x?x{t}>"
    else:
        size = str(a.shape[1])
    body += [
        f"  %x = tensor.extract_slice %a0[%j, 0] [1, {size}] [1, 1] : {of} to {row}",
        "  scf.forall.in_parallel {",
        f"    tensor.parallel_insert_slice %x into %o[%i, 0] [1, {size}] [1, 1] : "
        f"{row} into {of}", "  }", "}",
    ]
    return made("tensor.parallel_insert_slice", t, [of], [of], body, [a],
                np.ascontiguousarray(a[::-1]), ["index"])


def pad(rng) -> Case:
    t, a, dynamic = start(rng)
    b = draw(rng, t, ())
    low = [int(n) for n in rng.integers(0, 3, a.ndim)]
    high = [int(n) for n in rng.integers(0, 3, a.ndim)]
    expected = np.full([n + i + j for n, i, j in zip(a.shape, low, high)], b[()],
                       DTYPES[t])
    expected[tuple(slice(i, i + n) for i, n in zip(low, a.shape))] = a
    of, out = tensor(a.shape, t, dynamic), tensor(expected.shape, t, dynamic)
    args = ", ".join(f"%i{d}: index" for d in range(a.ndim))
    body = [
        f"%x = tensor.extract %a1[] : {tensor((), t)}",
        f"%r = tensor.pad %a0 low[{', '.join(map(str, low))}] "
        f"high[{', '.join(map(str, high))}] {{", f"^bb0({args}):",
        f"  tensor.yield %x : {t}", f"}} : {of} to {out}",
    ]
    return made("tensor.pad", t, [of, tensor((), t)], [out], body, [a, b], expected)


def concat(rng) -> Case:
    t, a, dynamic = start(rng)
    at = int(rng.integers(a.ndim))
    shape = list(a.shape)
    shape[at] = int(rng.integers(1, 4))
    b = draw(rng, t, tuple(shape))
    expected = np.concatenate([a, b], axis=at)
    types = [tensor(x.shape, t, dynamic) for x in (a, b, expected)]
    body = [f"%r = tensor.concat dim({at}) %a0, %a1 : ({types[0]}, {types[1]}) -> "
            f"{types[2]}"]
    return made("tensor.concat", t, types[:2], types[2:], body, [a, b], expected)


def expand_shape(rng) -> Case:
    t = pick(rng, ARITHMETIC)
    rows, columns, rest = (int(n) for n in rng.integers(1, 4, 3))
    a, dynamic = draw(rng, t, (rows * columns, rest)), bool(rng.random() < 0.4)
    of = tensor(a.shape, t, dynamic)
    out = f"tensor<?x{columns}x?x{t}>" if dynamic else tensor((rows, columns, rest), t)
    lines = []
    shape = f"[{rows}, {columns}, {rest}]"
    if dynamic:
        lines = [*sizes_of("a0", 2, of), f"%w = arith.constant {columns} : index",
                 "%q = arith.divui %s0, %w : index"]
        shape = f"[%q, {columns}, %s1]"
    body = [*lines, f"%r = tensor.expand_shape %a0 [[0, 1], [2]] output_shape {shape} : "
            f"{of} into {out}"]
    return made("tensor.expand_shape", t, [of], [out], body, [a],
                a.reshape(rows, columns, rest), ["index"] if dynamic else [])


def collapse_shape(rng) -> Case:
    t, a, dynamic = start(rng, 3)
    expected = a.reshape(a.shape[0] * a.shape[1], a.shape[2])
    of, out = tensor(a.shape, t, dynamic), tensor(expected.shape, t, dynamic)
    body = [f"%r = tensor.collapse_shape %a0 [[0, 1], [2]] : {of} into {out}"]
    return made("tensor.collapse_shape", t, [of], [out], body, [a], expected)


def reshape(rng) -> Case:
    """To a shape that is an argument, or computed."""
    t, a, dynamic = start(rng)
    count = a.size
    first = max(d for d in range(1, count + 1) if count % d == 0 and d <= 3)
    expected = a.reshape(first, count // first)
    index = pick(rng, ["i32", "i64"])
    target = np.array(expected.shape, DTYPES[index])
    of, out = tensor(a.shape, t, dynamic), tensor(expected.shape, t, dynamic)
    body = [f"%r = tensor.reshape %a0(%a1) : ({of}, tensor<2x{index}>) -> {out}"]
    return made("tensor.reshape", t, [of, f"tensor<2x{index}>"], [out], body,
                [a, target], expected, [index])


def gather(rng) -> Case:
    t = pick(rng, ARITHMETIC)
    shape = tuple(int(n) for n in rng.integers(2, 5, 2))
    a, dynamic = draw(rng, t, shape), bool(rng.random() < 0.4)
    dims = pick(rng, [[0], [1], [0, 1]])
    index = pick(rng, ["i32", "i64", "i8"])
    batch = tuple(int(n) for n in rng.integers(1, 4, int(rng.integers(1, 3))))
    at = np.stack([rng.integers(0, shape[d], batch) for d in dims], -1)
    full = bool(rng.random() < 0.5)
    picked = [a[tuple(at[b][dims.index(d)] if d in dims else slice(None)
                      for d in range(2))] for b in np.ndindex(batch)]
    ending = tuple(1 if d in dims else shape[d] for d in range(2)) if full else tuple(
        shape[d] for d in range(2) if d not in dims)
    expected = np.array(picked, DTYPES[t]).reshape(batch + ending)
    of = tensor(shape, t, dynamic)
    ids = tensor(at.shape[:-1], index, dynamic)[:-len(index) - 1] + (
        f"{len(dims)}x{index}>")
    # Gathered dimensions are static.
    trailing = "".join("1x" if full and d in dims else "" if d in dims else
                       ("?x" if dynamic else f"{shape[d]}x") for d in range(2))
    out = "tensor<" + "".join("?x" if dynamic else f"{n}x" for n in batch) + (
        f"{trailing}{t}>")
    body = [f"%r = tensor.gather %a0[%a1] gather_dims([{', '.join(map(str, dims))}]) : "
            f"({of}, {ids}) -> {out}"]
    return made("tensor.gather", t, [of, ids], [out], body,
                [a, at.astype(DTYPES[index])], expected, [index])


def scatter(rng) -> Case:
    t = pick(rng, ARITHMETIC)
    shape = tuple(int(n) for n in rng.integers(2, 5, 2))
    a, dynamic = draw(rng, t, shape), bool(rng.random() < 0.4)
    index = pick(rng, ["i32", "i64", "i8"])
    count = int(rng.integers(1, shape[0] + 1))
    at = rng.permutation(shape[0])[:count].reshape(count, 1)
    full = bool(rng.random() < 0.5)
    source = draw(rng, t, (count, 1, shape[1]) if full else (count, shape[1]))
    expected = a.copy()
    expected[at[:, 0]] = source.reshape(count, shape[1])
    of = tensor(shape, t, dynamic)
    ids = f"tensor<{'?' if dynamic else count}x1x{index}>"
    rest = "?" if dynamic else shape[1]
    part = f"tensor<{'?' if dynamic else count}x{'1x' if full else ''}{rest}x{t}>"
    body = [f"%r = tensor.scatter %a1 into %a0[%a2] scatter_dims([0]) unique : "
            f"({part}, {of}, {ids}) -> {of}"]
    return made("tensor.scatter", t, [of, part, ids], [of], body,
                [a, source, at.astype(DTYPES[index])], expected, [index])


def templates() -> list[Callable]:
    return [
        bitcast, cast, dim, rank, empty, extract, insert, from_elements, splat,
        generate, extract_slice, insert_slice, parallel_insert_slice, pad, concat,
        expand_shape, collapse_shape, reshape, gather, scatter,
    ]
