#===- test_oracle_alltoallv.py - exchanges of rows by hand -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Rows by counts: what arrives, and counts that are wrong.

Worked out by hand. The labels in the names are those of docs/Spec.md.
"""

import numpy as np
import pytest

import oracle
from oracle import SpecifiedError
from scene import F32, i32


def test_alltoallv_s1_s2():
    send = [np.arange(10, 14, dtype=np.int32), np.arange(20, 23, dtype=np.int32)]
    recv, counts, valid = oracle.alltoallv(send, [i32(1, 2), i32(2, 1)], 4)
    assert recv[0][:3].tolist() == [10, 20, 21]
    assert recv[1][:3].tolist() == [11, 12, 22]
    assert counts[0].tolist() == [1, 2] and counts[1].tolist() == [2, 1]
    assert valid[0].tolist() == [True, True, True, False]


def test_alltoallv_s4():
    send = [np.zeros((3, 2), F32)] * 2
    for bad in (i32(-1, 1), i32(2, 2)):
        with pytest.raises(SpecifiedError) as error:
            oracle.alltoallv(send, [i32(0, 0), bad], 9)
        assert error.value.kind == oracle.INVALID_COUNT
        assert error.value.ranks[0] == 1


def test_alltoallv_s5():
    send = [np.arange(3, dtype=np.int32), np.arange(5, 8, dtype=np.int32)]
    counts = [i32(2, 1), i32(2, 1)]
    with pytest.raises(SpecifiedError) as error:
        oracle.alltoallv(send, counts, 3)
    assert error.value.kind == oracle.CAPACITY_EXCEEDED
    assert error.value.seen == [4] and error.value.ranks == [0]
    recv, seen, _ = oracle.alltoallv(send, counts, 3, "drop")
    assert recv[0].tolist() == [0, 1, 5] and seen[0].tolist() == [2, 2]
