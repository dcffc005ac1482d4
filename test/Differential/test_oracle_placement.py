#===- test_oracle_placement.py - experts and ranks by hand -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Which rank owns an expert, and tokens that name one twice.

Worked out by hand. The labels in the names are those of docs/Spec.md.
"""

import numpy as np
import pytest

import oracle
from oracle import SpecifiedError
from scene import f32, i32, scene


def test_placement_s1():
    def owned(experts, ranks):
        return [list(oracle.owned_experts(experts, ranks, r)) for r in range(ranks)]

    assert owned(5, 2) == [[0, 1, 2], [3, 4]]
    assert owned(2, 4) == [[0], [1], [], []]
    assert owned(8, 3) == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert [oracle.owner(e, 8, 3) for e in range(8)] == [0, 0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("bad", [5, -2, 2**32, 2**32 - 1, -(2**63)])
def test_placement_s2(bad):
    attrs, x, idx, weights = scene()
    idx = [i.astype(np.int64) for i in idx]
    idx[1][0, 1] = bad
    with pytest.raises(SpecifiedError) as error:
        oracle.dispatch(attrs, x, idx, weights)
    assert error.value.kind == oracle.INVALID_EXPERT
    assert error.value.seen == [bad] and error.value.ranks == [1]


def test_placement_s3():
    # 1 + 2^-24 + 2^-24 from left to right in f32 stays 1.
    tiny = 2.0**-24
    idx, weights = oracle.merge_repeated(
        i32([4, -1, 4, 2, 4]), f32([1, 9, tiny, -0.0, tiny])
    )
    assert idx.tolist() == [[4, -1, -1, 2, -1]]
    assert weights.tolist() == [[1, 0, 0, 0, 0]]
    assert np.signbit(weights[0, 3]) and not np.signbit(weights[0, 1])
