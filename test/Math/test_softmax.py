#===- test_softmax.py - softmax of small floats -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""linalg.softmax adds up in f32 and rounds once: in bf16 a sum of ones ends at
256."""

from __future__ import annotations

import numpy as np
import pytest

from test_math import make_targets  # noqa: F401, the fixture `targets`
from values import TYPES

ROWS, COLUMNS = 8, 512


def module_of(element):
    tensor = f"tensor<{ROWS}x{COLUMNS}x{element}>"
    return f"""
func.func @softmax(%x: {tensor}) -> {tensor} {{
  %init = tensor.empty() : {tensor}
  %y = linalg.softmax dimension(1) ins(%x : {tensor}) outs(%init : {tensor}) -> {tensor}
  return %y : {tensor}
}}"""


@pytest.mark.parametrize("target", ["host", "cuda"])
@pytest.mark.parametrize("element", [name for name in TYPES if name != "f8E4M3FN"])
def test_softmax(element, target, targets, request):
    if target not in targets:
        pytest.skip(f"--math-targets leaves out {target}")
    dtype, seed = TYPES[element], request.config.option.moe_seed
    rng = np.random.default_rng(seed)
    # Equal columns; one far above; minus infinity; and whatever.
    x = rng.normal(0, 4, (ROWS, COLUMNS))
    x[0] = 0
    x[1] = rng.permutation(np.r_[50.0, np.zeros(COLUMNS - 1)])
    x[2, ::2] = -np.inf
    x = x.astype(dtype)
    artifact = targets[target].compiled(f"softmax-{element}", module_of(element))
    seen = targets[target].call(artifact, "softmax", [x], dtype).astype(np.float64)

    wide = x.astype(np.float64)
    power = np.exp(wide - wide.max(axis=1, keepdims=True))
    exact = power / power.sum(axis=1, keepdims=True)
    assert exact[0, 0] == 1 / COLUMNS
    assert np.all(seen[0] == np.float64(np.array(1 / COLUMNS).astype(dtype)))
    # Each step of a sum of positive f32 rounds by half a unit at most, and where the terms
    # are much smaller than the sum they may all round the same way (Higham, Accuracy and
    # Stability of Numerical Algorithms, section 4.2). Differences from the largest value,
    # which are below 64, and the quotient round, too.
    bound = (COLUMNS + 64) * 2.0**-24
    loosely = [(exact * (1 + sign * bound)).astype(dtype).astype(np.float64) for sign in (-1, 1)]
    wrong = (seen < loosely[0]) | (seen > loosely[1]) | np.isnan(seen)
    at = np.unravel_index(np.argmax(wrong), wrong.shape)
    assert not wrong.any(), f"seed {seed}: {at} is {seen[at]}, not {exact[at]}"
