#===- test_oracle_blocks.py - the oracle's blocks, worked out by hand -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What a dispatch keeps of rows (dispatch_s16), against numbers worked out by hand."""

import oracle
from scene import scene


def kept(*args, **attrs):
    return oracle.dispatch(*scene(*args, keep_blocks=True, **attrs))


def test_dispatch_s16_rank_major():
    d = kept()
    assert d.peer_blocks[0].tolist() == [
        [[[0, 2]], [[0, 1]]], [[[0, 2]], [[2, 2]]]
    ]
    assert d.peer_blocks[1].tolist() == [
        [[[2, 2]], [[1, 1]]], [[[0, 1]], [[1, 1]]]
    ]
    assert d.peer_rows[0].tolist() == [[0, 2], [2, 1], [0, 2], [2, 2]]
    assert d.peer_rows[1].tolist() == [[0, 2], [2, 1], [0, 1], [1, 1]]


def test_dispatch_s16_slab():
    d = kept("slab")
    assert d.peer_blocks[0].tolist() == [
        [[[0, 2]], [[0, 1]]], [[[0, 2]], [[4, 2]]]
    ]
    assert d.peer_rows[0].tolist() == [[0, 2], [2, 1], [0, 4], [2, 2]]


def test_dispatch_s16_expert_major():
    d = kept("expert_major")
    mine = [[[0, 1], [1, 1], [3, 1]], [[0, 1], [1, 0], [0, 0]]]
    theirs = [[[0, 1], [1, 1], [3, 1]], [[1, 0], [2, 1], [4, 1]]]
    assert d.peer_blocks[0].tolist() == [mine, theirs]
    assert d.peer_rows[0].tolist() == [[0, 3], [3, 1], [0, 3], [3, 2]]


def test_dispatch_s16_dropped_rows_belong_to_no_block():
    d = kept(capacity=3, overflow="drop")
    assert d.peer_blocks[0][1].tolist() == [[[0, 2]], [[2, 1]]]
    assert d.peer_blocks[1][0].tolist() == [[[2, 1]], [[1, 1]]]
    assert d.peer_rows[0].tolist() == [[0, 2], [2, 1], [0, 2], [2, 1]]
    assert d.peer_rows[1].tolist() == [[0, 1], [1, 1], [0, 1], [1, 1]]
