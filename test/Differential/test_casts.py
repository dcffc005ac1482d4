#===- test_casts.py - conversions of f64 against exact ones -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Conversions between f64 and floats of less than 32 bits round once. numpy's
types of ml_dtypes go by way of f32 and round twice, so the oracle knows all
values of a type and finds the nearest two."""

import subprocess

import ml_dtypes
import numpy as np
import pytest

from harness import read_npy
from test_differential import bin_dir

TYPES = {
    "bf16": ml_dtypes.bfloat16,
    "f16": np.float16,
    "f8E4M3FN": ml_dtypes.float8_e4m3fn,
    "f8E5M2": ml_dtypes.float8_e5m2,
}
SECONDS = 60


def module(name, count):
    """`narrow` rounds; `widen` extends what it gets."""
    def cast(function, source, result, op):
        return f"""
func.func @{function}(%x: tensor<{count}x{source}>) -> tensor<{count}x{result}> {{
  %init = tensor.empty() : tensor<{count}x{result}>
  %y = linalg.generic {{indexing_maps = [#id, #id], iterator_types = ["parallel"]}}
      ins(%x : tensor<{count}x{source}>) outs(%init : tensor<{count}x{result}>) {{
  ^bb0(%a: {source}, %b: {result}):
    %c = arith.{op} %a : {source} to {result}
    linalg.yield %c : {result}
  }} -> tensor<{count}x{result}>
  return %y : tensor<{count}x{result}>
}}"""

    return "\n".join([
        "shard.grid @ep(shape = 1)", "#id = affine_map<(i) -> (i)>",
        cast("narrow", "f64", name, "truncf"), cast("widen", name, "f64", "extf"),
    ])


def finite_values(dtype):
    """Those from zero up, in order: their place is their bits."""
    word = np.dtype(f"u{np.dtype(dtype).itemsize}")
    bits = np.arange(1 << (8 * word.itemsize - 1), dtype=np.uint32)
    with np.errstate(invalid="ignore"):  # the NaNs among them
        values = bits.astype(word).view(dtype).astype(np.float64)
    values = values[: np.flatnonzero(~np.isfinite(values))[0]]
    assert np.all(np.diff(values) > 0)
    return values


def nearest(dtype, x):
    """Bits of what is nearest to `x` (finite); ties to even."""
    values = finite_values(dtype)
    # What the next value would be is where the range ends.
    beyond = 2 * values[-1] - values[-2]
    steps = np.append(values, beyond)
    magnitude = np.abs(x)
    above = np.clip(np.searchsorted(steps, magnitude), 1, len(values))
    # Exact: neighbours are close to each other, or x is far beyond both.
    down, up = magnitude - steps[above - 1], steps[above] - magnitude
    odd = (above - 1) % 2 == 1
    bits = np.where((down < up) | ((down == up) & ~odd), above - 1, above)
    bits[magnitude == 0] = 0
    # After the largest come the bits of infinity, or of the NaN of f8E4M3FN.
    word = np.dtype(dtype).itemsize
    return bits + (np.signbit(x).astype(np.int64) << (8 * word - 1))


def inputs(dtype, seed):
    """Values, the middles between them, those just beside, and random ones."""
    rng = np.random.default_rng(seed)
    values = finite_values(dtype)
    if len(values) > 4000:
        values = values[np.sort(rng.choice(len(values) - 1, 4000, replace=False))]
        values = np.append(values, finite_values(dtype)[-3:])
    edges = np.append(values, 2 * values[-1] - values[-2])
    middles = (edges[1:] + edges[:-1]) / 2
    near = [np.nextafter(middles, 0), np.nextafter(middles, np.inf),
            middles * (1 + 2.0**-40), middles * (1 - 2.0**-40)]
    spread = np.ldexp(rng.uniform(1, 2, 4000), rng.integers(-1074, 1023, 4000))
    close = rng.uniform(0, 2, 4000) * values[-1]
    all_of_them = np.concatenate([values, middles, *near, spread, close, [0.0]])
    return np.concatenate([all_of_them, -all_of_them])


def run_entry(tmp_path, artifact, entry, x, dtype):
    np.save(tmp_path / "in.npy", x)
    done = subprocess.run(
        [bin_dir() / "moe-run", artifact, "--entry", entry, "--in",
         tmp_path / "in.npy", "--out", tmp_path / "out.npy"],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )
    assert done.returncode == 0, done.stderr
    return read_npy(tmp_path / "out.npy", np.dtype(dtype)).reshape(-1)


def compile_module(tmp_path, name, count):
    source, artifact = tmp_path / "casts.mlir", tmp_path / "casts.so"
    source.write_text(module(name, count))
    done = subprocess.run(
        [bin_dir() / "moe-compile", source, "-o", artifact],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )
    assert done.returncode == 0, done.stderr
    return artifact


@pytest.mark.parametrize("name", TYPES)
def test_f64_is_rounded_once(name, tmp_path, request):
    dtype, seed = TYPES[name], request.config.option.moe_seed
    word = f"u{np.dtype(dtype).itemsize}"
    x = inputs(dtype, seed)
    artifact = compile_module(tmp_path, name, len(x))
    seen = run_entry(tmp_path, artifact, "narrow", x, dtype).view(word)
    expected = nearest(dtype, x)
    wrong = np.flatnonzero(seen != expected)
    assert not len(wrong), (
        f"seed {seed}: {len(wrong)} of {len(x)} differ, {x[wrong[0]].hex()} "
        f"became {int(seen[wrong[0]]):#x}, not {int(expected[wrong[0]]):#x}"
    )
    # The same as ml_dtypes where f32 rounds nothing.
    with np.errstate(over="ignore"):
        exact = x[x.astype(np.float32).astype(np.float64) == x]
        assert np.array_equal(nearest(dtype, exact), exact.astype(dtype).view(word))


@pytest.mark.parametrize("name", TYPES)
def test_infinity_and_nan(name, tmp_path):
    dtype = TYPES[name]
    artifact = compile_module(tmp_path, name, 3)
    x = np.array([np.inf, -np.inf, np.nan])
    seen = run_entry(tmp_path, artifact, "narrow", x, dtype).astype(np.float64)
    np.testing.assert_array_equal(seen, x.astype(dtype).astype(np.float64))


@pytest.mark.parametrize("name", TYPES)
def test_all_values_are_extended(name, tmp_path):
    dtype = TYPES[name]
    word = np.dtype(f"u{np.dtype(dtype).itemsize}")
    x = np.arange(1 << (8 * word.itemsize), dtype=np.uint32).astype(word)
    artifact = compile_module(tmp_path, name, len(x))
    seen = run_entry(tmp_path, artifact, "widen", x.view(dtype), np.float64)
    with np.errstate(invalid="ignore"):
        expected = x.view(dtype).astype(np.float64)
    np.testing.assert_array_equal(seen, expected)
    is_number = ~np.isnan(expected)
    assert np.array_equal(np.signbit(seen[is_number]), np.signbit(expected[is_number]))
