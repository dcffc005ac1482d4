#===- packing.py - pack and unpack -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""linalg.pack and linalg.unpack, with what numpy says of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from case import Case, tensor
from tensors import ARITHMETIC, made, pick
from values import draw


def draw_packing(rng):
    t = pick(rng, ARITHMETIC)
    shape = tuple(int(n) for n in rng.integers(1, 8, 2))
    positions = pick(rng, [[0], [1], [0, 1], [1, 0]])
    tiles = [int(n) for n in rng.integers(1, 4, len(positions))]
    order = pick(rng, [None, [0, 1], [1, 0]])
    outer = [-(-n // tiles[positions.index(d)]) if d in positions else n
             for d, n in enumerate(shape)]
    return t, shape, positions, tiles, order, outer


def pack_array(a, padding, positions, tiles, order, outer):
    full = np.full([outer[d] * (tiles[positions.index(d)] if d in positions else 1)
                    for d in range(2)], padding, a.dtype)
    full[: a.shape[0], : a.shape[1]] = a
    split, where, outers, inner = [], {}, [], []
    for d in range(2):
        outers.append(len(split))
        split.append(outer[d])
        if d in positions:
            where[d] = len(split)
            split.append(tiles[positions.index(d)])
    inner = [where[d] for d in positions]
    outers = [outers[d] for d in order] if order else outers
    return np.ascontiguousarray(full.reshape(split).transpose(outers + inner))


def spell_packing(positions, tiles, order) -> str:
    text = f" outer_dims_perm = [{order[0]}, {order[1]}]" if order else ""
    return (f"{text} inner_dims_pos = [{', '.join(map(str, positions))}] "
            f"inner_tiles = [{', '.join(map(str, tiles))}]")


def packed_type(shape, t, dynamic, tiles) -> str:
    """Outer dimensions may be dynamic; tiles are given."""
    outer = "".join("?x" if dynamic else f"{n}x" for n in shape[:2])
    return f"tensor<{outer}{''.join(f'{n}x' for n in tiles)}{t}>"


def pack(rng) -> Case:
    t, shape, positions, tiles, order, outer = draw_packing(rng)
    a, b = draw(rng, t, shape), draw(rng, t, ())
    dynamic = bool(rng.random() < 0.4)
    expected = pack_array(a, b[()], positions, tiles, order, outer)
    target = draw(rng, t, expected.shape)
    of = tensor(shape, t, dynamic)
    out = packed_type(expected.shape, t, dynamic, tiles)
    body = [f"%x = tensor.extract %a2[] : {tensor((), t)}",
            f"%r = linalg.pack %a0 padding_value(%x : {t})"
            f"{spell_packing(positions, tiles, order)} into %a1 : {of} -> {out}"]
    return made("linalg.pack", t, [of, out, tensor((), t)], [out], body,
                [a, target, b], expected)


def unpack(rng) -> Case:
    t, shape, positions, tiles, order, outer = draw_packing(rng)
    a, dynamic = draw(rng, t, shape), bool(rng.random() < 0.4)
    packed = pack_array(a, a.flat[0], positions, tiles, order, outer)
    target = draw(rng, t, shape)
    of, out = packed_type(packed.shape, t, dynamic, tiles), tensor(shape, t, dynamic)
    body = [f"%r = linalg.unpack %a0{spell_packing(positions, tiles, order)} into %a1 : "
            f"{of} -> {out}"]
    return made("linalg.unpack", t, [of, out], [out], body, [packed, target], a)


def templates() -> list[Callable]:
    return [pack, unpack]
