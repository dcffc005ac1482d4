#===- reductions.py - long reductions of linalg -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Reductions of more elements than one thread should add up, which the compiler
splits. Their inputs are read in all orders that a map can spell, and their bodies
may look at the index."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from case import Case, function, tensor

# What of an input the iteration d0 of n reads, and how long the input is.
READS = {
    "d0": (lambda i, n: i, lambda n: n),
    "{last} - d0": (lambda i, n: n - 1 - i, lambda n: n),
    "d0 + 3": (lambda i, n: i + 3, lambda n: n + 3),
    "d0 * 2": (lambda i, n: i * 2, lambda n: 2 * n),
    "d0 mod 8": (lambda i, n: i % 8, lambda n: 8),
    "d0 floordiv 4": (lambda i, n: i // 4, lambda n: -(-n // 4)),
    "0": (lambda i, n: i * 0, lambda n: 1),
}


def long_reduction(rng) -> Case:
    """The sum of x[f(i)] * y[i], or of x[f(i)] * i, over more than 1024 of i. The
    first input gives the extent, since maps such as f(i) = 0 do not."""
    extent = int(rng.choice([1025, 1536, 2048, 4096, 4100]))
    spelled = list(READS)[rng.integers(len(READS))]
    read, length = READS[spelled]
    looks = bool(rng.random() < 0.4)
    rank = int(rng.integers(0, 2))
    i = np.arange(extent)
    y = rng.integers(-9, 10, extent)
    x = rng.integers(-9, 10, length(extent))
    init = rng.integers(-9, 10, (1,) * rank)
    expected = init + (x[read(i, extent)] * (i if looks else y)).sum()

    types = [tensor(a.shape, "i64") for a in (y, x, init)]
    maps = ", ".join(f"affine_map<(d0) -> ({text})>" for text in (
        "d0", spelled.format(last=extent - 1), "0" if rank else ""))
    factor = ["%k = linalg.index 0 : index",
              "%f = arith.index_cast %k : index to i64"] if looks else [
                  "%f = arith.addi %v, %zero : i64"]
    body = [
        "%zero = arith.constant 0 : i64",
        f"%r = linalg.generic {{indexing_maps = [{maps}], iterator_types = "
        f"[\"reduction\"]}} ins(%a0, %a1 : {types[0]}, {types[1]}) "
        f"outs(%a2 : {types[2]}) {{",
        "^bb0(%v: i64, %w: i64, %sum: i64):",
        *(f"  {line}" for line in factor),
        "  %p = arith.muli %w, %f : i64",
        "  %s = arith.addi %sum, %p : i64",
        "  linalg.yield %s : i64",
        f"}} -> {types[2]}",
    ]
    return Case(function(types, types[2:], body, ["%r"]),
                [("linalg.generic", {"i64"}), ("linalg.yield", {"i64"})],
                [y, x, init], [np.asarray(expected)])


def long_nest(rng) -> Case:
    """The sum of all elements of a matrix, as a scalar or as one element."""
    shape = (int(rng.integers(2, 70)), int(rng.choice([600, 1100, 4096])))
    rank = int(rng.integers(0, 2))
    x = rng.integers(-9, 10, shape)
    init = rng.integers(-9, 10, (1,) * rank)
    types = [tensor(a.shape, "i64") for a in (x, init)]
    out = "0" if rank else ""
    body = [
        f"%r = linalg.generic {{indexing_maps = [affine_map<(i, j) -> (i, j)>, "
        f"affine_map<(i, j) -> ({out})>], iterator_types = [\"reduction\", "
        f"\"reduction\"]}} ins(%a0 : {types[0]}) outs(%a1 : {types[1]}) {{",
        "^bb0(%v: i64, %sum: i64):",
        "  %s = arith.addi %sum, %v : i64",
        "  linalg.yield %s : i64",
        f"}} -> {types[1]}",
    ]
    return Case(function(types, types[1:], body, ["%r"]),
                [("linalg.generic", {"i64"}), ("linalg.yield", {"i64"})],
                [x, init], [np.asarray(init + x.sum())])


def templates() -> list[Callable]:
    return [long_reduction, long_reduction, long_reduction, long_nest]
