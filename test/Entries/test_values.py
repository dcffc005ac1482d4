#===- test_values.py - random values of the element types -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""A cast of a float to an integer that cannot hold it has no result, so values
that are drawn for it have to stay within what the integer holds."""

from __future__ import annotations

import numpy as np
import pytest

from table import FLOATS
from values import DTYPES, draw, round_within


@pytest.mark.parametrize("type_", FLOATS)
@pytest.mark.parametrize("low, high", [(0.0, 1.9), (-0.9, 0.0), (-127.0, 127.0),
                                       (0.0, 255.0)])
def test_values_stay_within_their_bounds(type_, low, high):
    values = draw(np.random.default_rng(1), type_, (4000,), low=low, high=high)
    assert values.dtype == DTYPES[type_]
    wide = values.astype(np.float64)
    assert low <= wide.min() and wide.max() <= high
    # Most of the range is drawn from.
    assert wide.max() - wide.min() > 0.8 * (high - low)


def test_values_that_round_past_a_bound_are_the_next_within():
    def rounded(values, low, high):
        values = np.array(values, np.float32)
        return round_within(values, "f8E5M2", low, high).astype(np.float64).tolist()

    assert rounded([1.9, 1.8, 1.0, 0.0], 0, 1.9) == [1.75, 1.75, 1.0, 0.0]
    assert rounded([-255.0, 255.0], -255, 255) == [-224.0, 224.0]
    assert rounded([2.1, 3.0], 2.1, 3.0) == [2.5, 3.0]
