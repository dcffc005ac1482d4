#===- contractions.py - products, convolutions and pooling -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Ops of linalg that sum products or windows. Layouts are spelled with a letter
per dimension, as in their names; d, h and w are those that windows move in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from case import Case, function, tensor
from table import FLOATS, INTS
from values import DTYPES, draw_exact, is_float

PRODUCTS = {
    "matmul": "mk,kn->mn", "batch_matmul": "bmk,bkn->bmn",
    "batch_reduce_matmul": "bmk,bkn->mn", "matvec": "mk,k->m",
    "vecmat": "k,kn->n", "dot": "k,k->", "batch_matvec": "bmk,bk->bm",
    "batch_vecmat": "bk,bkn->bn", "mmt4d": "mkij,nklj->mnil",
    "batch_mmt4d": "bmkij,bnklj->bmnil", "contract": "mk,kn->mn",
}
CONVOLUTIONS = {  # input, kernel, result; in the kernel and in the result
    # d, h and w are the window and its places
    "conv_1d": "w,w,w", "conv_2d": "hw,hw,hw", "conv_3d": "dhw,dhw,dhw",
    "conv_1d_ncw_fcw": "ncw,fcw,nfw", "conv_1d_nwc_wcf": "nwc,wcf,nwf",
    "conv_2d_nchw_fchw": "nchw,fchw,nfhw", "conv_2d_nhwc_fhwc": "nhwc,fhwc,nhwf",
    "conv_2d_nhwc_hwcf": "nhwc,hwcf,nhwf",
    "conv_2d_ngchw_fgchw": "ngchw,fgchw,ngfhw",
    "conv_2d_ngchw_gfchw": "ngchw,gfchw,ngfhw",
    "conv_2d_nhwgc_gfhwc": "nhwgc,gfhwc,nhwgf",
    "conv_3d_ncdhw_fcdhw": "ncdhw,fcdhw,nfdhw",
    "conv_3d_ndhwc_dhwcf": "ndhwc,dhwcf,ndhwf",
    "depthwise_conv_1d_ncw_cw": "ncw,cw,ncw",
    "depthwise_conv_1d_nwc_wc": "nwc,wc,nwc",
    "depthwise_conv_1d_nwc_wcm": "nwc,wcm,nwcm",
    "depthwise_conv_2d_nchw_chw": "nchw,chw,nchw",
    "depthwise_conv_2d_nhwc_hwc": "nhwc,hwc,nhwc",
    "depthwise_conv_2d_nhwc_hwcm": "nhwc,hwcm,nhwcm",
    "depthwise_conv_3d_ncdhw_cdhw": "ncdhw,cdhw,ncdhw",
    "depthwise_conv_3d_ndhwc_dhwc": "ndhwc,dhwc,ndhwc",
    "depthwise_conv_3d_ndhwc_dhwcm": "ndhwc,dhwcm,ndhwcm",
}
POOLINGS = {
    "pooling_nchw": ("nchw", ("max", "sum")), "pooling_ncw": ("ncw", ("max", "sum")),
    "pooling_ndhwc": ("ndhwc", ("max", "min", "sum")),
    "pooling_nhwc": ("nhwc", ("max", "min", "sum", "max_unsigned", "min_unsigned")),
    "pooling_nwc": ("nwc", ("max", "min", "sum", "max_unsigned", "min_unsigned")),
}
UNSIGNED = tuple(t for t in INTS if t != "i1")
# What operands of one type may be summed up in.
WIDER = {"f16": "f32", "bf16": "f32", "f8E4M3FN": "f32", "f8E5M2": "f32",
         "f32": "f64", "i8": "i32", "i16": "i32", "i32": "i64"}


def pick(rng, options):
    return options[rng.integers(len(options))]


def draw_types(rng) -> tuple[str, str]:
    """The type of operands, and that of the result."""
    t = pick(rng, (*FLOATS, *INTS))
    return t, WIDER[t] if t in WIDER and rng.random() < 0.3 else t


def total(numbers: np.ndarray, type_: str) -> np.ndarray:
    """Exact sums of products as `type_`; on i1, products are "and", sums "or"."""
    if type_ == "i1":
        return numbers != 0
    if is_float(type_):
        return numbers.astype(np.float32).astype(DTYPES[type_])
    return numbers.astype(np.int64).astype(DTYPES[type_])


def exact(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)


def product(rng, name) -> Case:
    operands, result = PRODUCTS[name].split("->")
    left, right = operands.split(",")
    t, r = draw_types(rng)
    extents = {c: int(rng.integers(1, 4)) for c in left + right}
    shapes = [tuple(extents[c] for c in letters) for letters in (left, right, result)]
    a, b, init = (draw_exact(rng, of, s) for of, s in zip((t, t, r), shapes))
    sums = np.einsum(PRODUCTS[name], exact(a), exact(b)) + exact(init)
    dynamic = bool(rng.random() < 0.4)
    types = [tensor(s, of, dynamic) for s, of in zip(shapes, (t, t, r))]
    maps = ""
    if name == "contract":
        maps = (" indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<"
                "(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>]")
    body = [f"%r = linalg.{name}{maps} ins(%a0, %a1 : {types[0]}, {types[1]}) "
            f"outs(%a2 : {types[2]}) -> {types[2]}"]
    return Case(function(types, types[2:], body, ["%r"]),
                [(f"linalg.{name}", {t, r})], [a, b, init], [total(sums, r)])


def windows(array, letters, kernel, strides, dilations):
    """`array` with one more dimension, in capitals, per letter of a window."""
    spatial = [c for c in letters if c in "dhw"]
    shape, steps = list(array.shape), list(array.strides)
    names = letters
    for c in spatial:
        at = letters.index(c)
        places = (array.shape[at] - (kernel[c] - 1) * dilations[c] - 1) // strides[c] + 1
        shape[at], step = places, steps[at]
        steps[at] = step * strides[c]
        shape.append(kernel[c])
        steps.append(step * dilations[c])
        names += c.upper()
    return np.lib.stride_tricks.as_strided(array, shape, steps), names


def draw_window(rng, letters):
    spatial = [c for c in letters if c in "dhw"]
    extents = {c: int(rng.integers(1, 3)) for c in "ncfgm"}
    kernel = {c: int(rng.integers(1, 3)) for c in spatial}
    moves = "w" not in letters or rng.random() < 0.7
    strides = {c: int(rng.integers(1, 3)) if moves else 1 for c in spatial}
    dilations = {c: int(rng.integers(1, 3)) if moves else 1 for c in spatial}
    places = {c: int(rng.integers(1, 3)) for c in spatial}
    size = {c: (places[c] - 1) * strides[c] + (kernel[c] - 1) * dilations[c] + 1
            for c in spatial}
    return extents, kernel, strides, dilations, places, size


def window_attributes(letters, strides, dilations) -> str:
    spatial = [c for c in letters if c in "dhw"]
    of = lambda values: (
        f"dense<[{', '.join(str(values[c]) for c in spatial)}]> : "
        f"tensor<{len(spatial)}xi64>")
    return f" {{dilations = {of(dilations)}, strides = {of(strides)}}}"


def convolution(rng, name) -> Case:
    source, filter_, result = CONVOLUTIONS[name].split(",")
    extents, kernel, strides, dilations, places, size = draw_window(rng, source)
    plain = name in ("conv_1d", "conv_2d", "conv_3d")
    if plain:
        strides = dilations = {c: 1 for c in kernel}
        size = {c: places[c] + kernel[c] - 1 for c in kernel}
    t, r = draw_types(rng)
    a = draw_exact(rng, t, tuple(size.get(c) or extents[c] for c in source))
    k = draw_exact(rng, t, tuple(kernel.get(c) or extents[c] for c in filter_))
    init = draw_exact(rng, r, tuple(places.get(c) or extents[c] for c in result))
    wide, names = windows(np.ascontiguousarray(exact(a)), source, kernel, strides,
                          dilations)
    inner = "".join(c.upper() if c in "dhw" else c for c in filter_)
    sums = np.einsum(f"{names},{inner}->{result}", wide, exact(k)) + exact(init)
    dynamic = bool(rng.random() < 0.4)
    types = [tensor(x.shape, of, dynamic) for x, of in ((a, t), (k, t), (init, r))]
    attributes = "" if plain else window_attributes(source, strides, dilations)
    body = [f"%r = linalg.{name}{attributes} ins(%a0, %a1 : {types[0]}, {types[1]})"
            f" outs(%a2 : {types[2]}) -> {types[2]}"]
    return Case(function(types, types[2:], body, ["%r"]),
                [(f"linalg.{name}", {t, r})], [a, k, init], [total(sums, r)])


def pooling(rng, base, kind) -> Case:
    letters = POOLINGS[base][0]
    extents, kernel, strides, dilations, places, size = draw_window(rng, letters)
    # Without a sign they are no IR on floats and truth values.
    t = pick(rng, UNSIGNED if kind.endswith("unsigned") else (*FLOATS, *INTS))
    a = draw_exact(rng, t, tuple(size.get(c) or extents[c] for c in letters))
    init = draw_exact(rng, t, tuple(places.get(c) or extents[c] for c in letters))
    window = np.zeros(tuple(kernel.values()), DTYPES[t])

    def number(x):
        if kind.endswith("unsigned") and not is_float(t):
            # The operands are -1, 0 and 1; without a sign -1 is the greatest.
            return np.where(exact(x) < 0, 2.0, exact(x))
        return -exact(x) if t == "i1" and kind in ("max", "min") else exact(x)
    wide, names = windows(np.ascontiguousarray(number(a)), letters, kernel, strides,
                          dilations)
    over = tuple(range(len(letters), len(names)))
    if kind == "sum":
        result = total(wide.sum(axis=over) + number(init), t)
    else:
        pair = np.maximum if kind.startswith("max") else np.minimum
        best = pair(pair.reduce(wide, axis=over), number(init))
        result = total(np.where(best == 2, -1.0, best), t)
    dynamic = bool(rng.random() < 0.4)
    types = [tensor(a.shape, t, dynamic), tensor(window.shape, t),
             tensor(init.shape, t, dynamic)]
    body = [f"%r = linalg.{base}_{kind}"
            f"{window_attributes(letters, strides, dilations)} "
            f"ins(%a0, %a1 : {types[0]}, {types[1]}) outs(%a2 : {types[2]}) -> "
            f"{types[2]}"]
    return Case(function(types, types[2:], body, ["%r"]),
                [(f"linalg.{base}_{kind}", {t})], [a, window, init], [result])


def templates() -> list[Callable]:
    made = [lambda rng, n=n: product(rng, n) for n in PRODUCTS]
    made += [lambda rng, n=n: convolution(rng, n) for n in CONVOLUTIONS]
    made += [lambda rng, b=b, k=k: pooling(rng, b, k)
             for b, (_, kinds) in POOLINGS.items() for k in kinds]
    return made
