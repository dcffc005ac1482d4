#===- test_math.py - accuracy of float ops on all targets -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Float ops are right to half a unit in the last place of f32 (and what f64
leaves of an error), for all operands, on all targets, which give the same bits;
small floats are computed in f32 and rounded once. See docs/Math.md."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

import harness
from functions import ALL, FPOWI, UNARY, Function
from values import TYPES, operands, random_f32

# The nearest value of f32 to a result in f64 that is off by a few units of its
# own, relative to half a unit of f32.
BOUND = 0.5 + 2.0**-20
QUICK = {"host": 20000, "cuda": 1500}

SMALL = [name for name in TYPES if name != "f32"]


@pytest.fixture(scope="session", name="targets")
def make_targets(request, tmp_path_factory):
    names = request.config.option.math_targets.split(",")
    folder = tmp_path_factory.mktemp("math")
    return {name: harness.Target(name, folder) for name in names}


@pytest.fixture(scope="session", name="results")
def make_results(targets):
    """results(target, function, type, count, seed): (operands, results), once."""
    known = {}

    def results(target, function, element, count, seed):
        key = (target, function.op, element, count, seed)
        if key not in known:
            args = operands(function, TYPES[element], count, seed)
            known[key] = args, targets[target].run(function, element, args)
        return known[key]

    return results


def sizes(config, target):
    return config.option.math_values or QUICK[target]


def ulp(x):
    """What f32 is apart around `x`."""
    exponent = np.frexp(np.minimum(np.abs(x), 2.0**127))[1]
    return np.ldexp(1.0, np.maximum(exponent - 24, -149))


def reference(function: Function, args):
    """The results in f64, which for small floats are those of f32 operands."""
    with np.errstate(all="ignore"):
        return function.wide(*(arg.astype(np.float64) for arg in args))


def errors_of(seen, wide):
    """Errors of f32 in units of the last place; infinite where a special value
    is wrong."""
    with np.errstate(all="ignore"):
        nearest = wide.astype(np.float32)
        seen64 = seen.astype(np.float64)
        # Infinity stands where the next value would be.
        seen64 = np.where(np.isinf(seen64), np.copysign(2.0**128, seen64), seen64)
        error = np.abs((seen64 - wide).astype(np.float64)) / ulp(wide.astype(np.float64))
    same = (seen == nearest) & (np.signbit(seen) == np.signbit(nearest))
    same |= np.isnan(seen) & np.isnan(nearest)
    special = ~np.isfinite(wide) | np.isnan(seen) | (np.signbit(seen) != np.signbit(wide))
    # What rounds to infinity, or to zero, may be far from it.
    error = np.where(same & ~np.isfinite(nearest), 0.0, error)
    return np.where(same & special, 0.0, np.where(special, np.inf, error))


def exact_error(function: Function, args, seen):
    """The error of one result of f32, by mpmath."""
    exact = function.exact(*(mpmath.mpf(float(arg)) for arg in args))
    seen = float(seen)
    if math.isinf(seen):
        limit = mpmath.mpf(2) ** 128 - mpmath.mpf(2) ** 103
        return 0.0 if exact * math.copysign(1, seen) >= limit else math.inf
    exponent = math.frexp(float(min(abs(exact), mpmath.mpf(2) ** 127)))[1]
    return float(abs(seen - exact) * mpmath.mpf(2) ** -max(exponent - 24, -149))


def describe(function, args, seen, wide, at):
    hexes = ", ".join(float(arg[at]).hex() for arg in args)
    return (f"{function.op}({hexes}) is {float(seen[at]).hex()}, "
            f"not {float(wide[at]).hex()}")


@pytest.mark.parametrize("target", ["host", "cuda"])
@pytest.mark.parametrize("function", ALL, ids=lambda f: f.op)
def test_f32_is_right_to_half_a_unit(function, target, targets, results, request):
    if target not in targets:
        pytest.skip(f"--math-targets leaves out {target}")
    config = request.config
    seed = config.option.moe_seed
    args, seen = results(target, function, "f32", sizes(config, target), seed)
    wide = reference(function, args)
    error = errors_of(seen, wide)
    worst = int(np.argmax(error))
    assert error[worst] <= BOUND, (
        f"seed {seed}: {np.count_nonzero(error > BOUND)} of {len(error)} wrong, "
        + describe(function, args, seen, wide, worst)
    )
    rows = config.__dict__.setdefault("math_errors", {})
    rows.setdefault(function.op, {})[target] = (float(error[worst]), len(error))
    if function.exact is None:
        return
    # The reference itself: those that come closest to the bound, and others.
    # mpmath has no signed zeros.
    usual = np.all([np.isfinite(arg) & (arg != 0) for arg in args], axis=0)
    candidates = np.flatnonzero(usual & np.isfinite(wide) & (wide != 0))
    count = min(config.option.math_mpmath, len(candidates))
    rng = np.random.default_rng(seed)
    closest = candidates[np.argsort(error[candidates])[len(candidates) - count // 4:]]
    drawn = rng.choice(candidates, count - len(closest), replace=False)
    for at in np.concatenate([closest, drawn]):
        off = exact_error(function, [arg[at] for arg in args], seen[at])
        assert off <= BOUND, (
            f"seed {seed}: {off} units, " + describe(function, args, seen, wide, at)
        )


@pytest.mark.parametrize("target", ["host", "cuda"])
@pytest.mark.parametrize("element", SMALL)
@pytest.mark.parametrize("function", ALL, ids=lambda f: f.op)
def test_small_floats_are_rounded_once(function, element, target, targets, results, request):
    """The nearest value of f32, rounded to the type."""
    if target not in targets:
        pytest.skip(f"--math-targets leaves out {target}")
    config = request.config
    seed = config.option.moe_seed
    dtype = TYPES[element]
    # All values on the host, which is fast.
    count = 2**16 if target == "host" and function in UNARY else sizes(config, target)
    args, seen = results(target, function, element, count, seed)
    wide = reference(function, args)
    with np.errstate(all="ignore"):
        single = wide.astype(np.float32)
        expected = single.astype(dtype)
    word = f"u{dtype.itemsize}"
    wrong = seen.view(word) != expected.view(word)
    wrong &= ~(np.isnan(seen.astype(np.float32)) & np.isnan(expected.astype(np.float32)))
    at = int(np.argmax(wrong))
    assert not wrong.any(), (
        f"seed {seed}: {np.count_nonzero(wrong)} of {len(wrong)} wrong, "
        + describe(function, args, seen.astype(np.float32), expected.astype(np.float32), at)
    )


@pytest.mark.parametrize("element", TYPES)
@pytest.mark.parametrize("function", ALL, ids=lambda f: f.op)
def test_targets_give_the_same_bits(function, element, targets, results, request):
    if len(targets) < 2:
        pytest.skip("--math-targets names one target")
    config = request.config
    count, seed = sizes(config, "cuda"), config.option.moe_seed
    _, host = results("host", function, element, count, seed)
    args, cuda = results("cuda", function, element, count, seed)
    word = f"u{TYPES[element].itemsize}"
    differ = host.view(word) != cuda.view(word)
    # NaN that comes out of arithmetic depends on the target (determinism_s1).
    differ &= ~(np.isnan(host.astype(np.float32)) & np.isnan(cuda.astype(np.float32)))
    at = int(np.argmax(differ))
    assert not differ.any(), (
        f"seed {seed}: {np.count_nonzero(differ)} of {len(differ)} differ, "
        + describe(function, args, cuda.astype(np.float32), host.astype(np.float32), at)
    )


@pytest.mark.parametrize(
    "target, option",
    # No fused multiply-add; nothing inlined or folded.
    [("host", "--cpu=x86-64"), ("host", "-O0"), ("cuda", "-O0")],
    ids=lambda value: value.strip("-"),
)
def test_options_do_not_change_bits(target, option, targets, request):
    if target not in targets:
        pytest.skip(f"--math-targets leaves out {target}")
    seed = request.config.option.moe_seed
    other = harness.Target(target, targets[target].folder, (option,))
    for function in ALL:
        args = operands(function, TYPES["f32"], 300, seed)
        expected = targets[target].run(function, "f32", args)
        seen = other.run(function, "f32", args)
        differ = seen.view(np.uint32) != expected.view(np.uint32)
        differ &= ~(np.isnan(seen) & np.isnan(expected))
        at = int(np.argmax(differ))
        assert not differ.any(), f"seed {seed}: " + describe(function, args, seen, expected, at)


def test_f64_of_host_code_is_that_of_the_c_library(targets, request):
    """Within what glibc promises; log1p and expm1 are no log and exp."""
    if "host" not in targets:
        pytest.skip("--math-targets leaves out host")
    seed = request.config.option.moe_seed
    rng = np.random.default_rng(seed)
    host, dtype = targets["host"], np.dtype(np.float64)
    artifact = host.compiled("f64", harness.module_of("f64"))
    with np.errstate(invalid="ignore"):
        x = np.r_[random_f32(rng, 100).astype(np.float64), 1e-7, -1e-7, 1e-12]
    x *= 1 + rng.integers(0, 2**20, len(x)) * 2.0**-52
    for function in UNARY:
        if function.exact is None:
            continue
        with np.errstate(all="ignore"):
            wide = function.wide(x)
        seen = host.call(artifact, function.name, [x], dtype)
        normal = np.flatnonzero(np.isfinite(wide) & (np.abs(wide) > 2.0**-1022))
        assert np.array_equal(np.isnan(seen), np.isnan(wide)), function.op
        for at in normal:
            exact = function.exact(mpmath.mpf(float(x[at])))
            # At most three units in the last place, of which each is two of these.
            off = float(abs(mpmath.mpf(float(seen[at])) / exact - 1)) * 2.0**53
            assert off <= 6, (
                f"seed {seed}: {off} units, " + describe(function, [x], seen, wide, at)
            )


def special_powers():
    """The cases of C's pow (Annex F) that have a result of their own."""
    inf, nan, tiny = np.inf, np.nan, 2.0**-149
    return [
        (-inf, 3, -inf), (nan, 0, 1), (1, nan, 1), (-0.0, 3, -0.0), (nan, -0.0, 1),
        (0.0, -3, inf), (-0.0, -3, -inf), (-0.0, -2, inf), (-0.0, -inf, inf),
        (-0.0, 2, 0.0), (-1, inf, 1), (-1, -inf, 1), (-2, 0.5, nan), (-tiny, 0.5, nan),
        (0.5, -inf, inf), (2, -inf, 0.0), (0.5, inf, 0.0), (-2, inf, inf),
        (-inf, -3, -0.0), (-inf, -2, 0.0), (-inf, 2, inf), (-inf, 2.5, inf),
        (inf, -1, 0.0), (inf, tiny, inf), (-8, 2.0**24 + 2, inf), (-2, -3, -0.125),
        (-2, 2, 4), (-3, 0, 1), (-6, 2, 36), (-2.5, 2, 6.25), (0, 2, 0.0),
    ]


@pytest.mark.parametrize("target", ["host", "cuda"])
def test_special_powers(target, targets):
    if target not in targets:
        pytest.skip(f"--math-targets leaves out {target}")
    power = next(f for f in ALL if f.name == "powf")
    x, y, expected = np.array(special_powers(), np.float32).T.copy()
    seen = targets[target].run(power, "f32", [x, y])
    np.testing.assert_array_equal(seen, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(seen)[numbers], np.signbit(expected)[numbers])


@pytest.mark.parametrize("target", ["host", "cuda"])
def test_powers_of_integers_keep_the_sign(target, targets):
    """An exponent is not rounded to f32 before its last bit has been seen."""
    if target not in targets:
        pytest.skip(f"--math-targets leaves out {target}")
    odd = 2**24 + 1
    x = np.array([-1, -1, -1, 1 + 2.0**-23, 0, -0.0, np.nan, -2], np.float32)
    n = np.array([odd, odd + 1, -odd, odd, -1, -odd, 0, -(2**31)], np.int32)
    seen = targets[target].run(FPOWI, "f32", [x, n])
    with np.errstate(all="ignore"):
        close = np.float32((1 + 2.0**-23) ** odd)
    expected = np.array([-1, 1, -1, close, np.inf, -np.inf, 1, 0], np.float32)
    np.testing.assert_array_equal(seen, expected)
