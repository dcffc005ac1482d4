#===- test_oracle_lists.py - lists and padding by hand -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Lists of a dispatch, and what its rows without a token hold.

Worked out by hand. The labels in the names are those of docs/Spec.md.
"""

import numpy as np
import pytest

import oracle
from oracle import DispatchAttrs
from scene import scene


@pytest.mark.parametrize("layout", ["rank_major", "slab"])
def test_dispatch_s14_lists(layout):
    d = oracle.dispatch(*scene(layout, list_alignment=4))
    rows = {"rank_major": [0, 1, 2, 3], "slab": [0, 1, 4, 5]}[layout]
    # dispatch_s15: 16 entries and 3 times 3 places, rounded down to a multiple.
    assert [a.shape for a in d.list_rows] == [(24,), (24,)]
    # Rank 0: expert 0: (0,0); expert 1: (0,1) (1,1); expert 2: (0,1) (1,0).
    assert d.expert_offsets[0].tolist() == [0, 4, 8]
    assert d.expert_counts[0].tolist() == [1, 2, 2]
    places = [0, 4, 5, 8, 9]
    assert np.flatnonzero(d.list_rows[0] >= 0).tolist() == places
    assert d.list_rows[0][places].tolist() == [
        rows[i] for i in (0, 1, 3, 1, 2)
    ]
    assert d.list_weights[0][places].tolist() == [0.5, 2, 0.875, 1, 4]
    # Rank 1 owns two experts, EL is 3: one surplus entry.
    assert d.expert_offsets[1].tolist() == [0, 4, 8]
    assert d.expert_counts[1].tolist() == [1, 1, 0]
    places = [0, 4]
    assert np.flatnonzero(d.list_rows[1] >= 0).tolist() == places
    assert d.list_rows[1][places].tolist() == [0, {"slab": 4}.get(layout, 1)]
    assert d.list_weights[1][places].tolist() == [0.25, 3]
    for row, weight in zip(d.list_rows, d.list_weights):
        assert (row[row < 0] == -1).all() and not weight[row < 0].any()
    # Without alignment groups follow one another.
    d = oracle.dispatch(*scene(layout, list_alignment=1))
    assert d.list_rows[0].tolist() == [
        rows[i] for i in (0, 1, 3, 1, 2)
    ] + [-1] * 11
    assert d.expert_offsets[0].tolist() == [0, 1, 3]


def test_dispatch_s14_dropped_rows():
    d = oracle.dispatch(
        *scene(capacity=2, overflow="drop", list_alignment=2)
    )
    # Rows (1,0) and (1,1) of rank 0 are not there.
    assert d.list_rows[0].tolist() == [0, -1, 1, -1, 1, -1]
    assert d.list_weights[0].tolist() == [0.5, 0, 2, 0, 1, 0]
    assert d.expert_counts[0].tolist() == [1, 1, 1]
    assert d.n_tokens_from_rank[0].tolist() == [2, 2]


def test_dispatch_s15_few_entries():
    attrs = DispatchAttrs(2, 200, static_tokens=1, list_alignment=128)
    # Two rows and two slots: no more than four groups have an entry.
    assert attrs.list_places(2) == 4 * 128
    attrs.static_tokens = 0
    assert attrs.list_places(2) == 0


def test_dispatch_s12_padding():
    attrs, *args = scene("expert_major", alignment=4, padding="zero")
    d = oracle.dispatch(attrs, *args, scales=args[0])
    # Groups of 1, 2 and 2 rows from rows 0, 4 and 8.
    assert d.recv_x[0][:, 0].tolist() == [
        10, 0, 0, 0, 11, 21, 0, 0, 11, 20, *[0] * 6
    ]
    assert d.recv_scales[0].tolist() == d.recv_x[0].tolist()
    assert d.recv_topk_idx[0][:6].tolist() == [0, -1, -1, -1, 1, 1]
    assert d.recv_topk_weights[0][:6].tolist() == [0.5, 0, 0, 0, 2, 0.875]
    assert d.recv_src_idx[0][:6].tolist() == [0, -1, -1, -1, 1, 5]
    assert not np.signbit(d.recv_x[0]).any()

    attrs, *args = scene("slab", padding="zero")
    d = oracle.dispatch(attrs, *args)
    assert d.recv_x[1][:, 0].tolist() == [10, 0, 0, 0, 20, 0, 0, 0]
    assert d.recv_topk_idx[1][:2].tolist() == [[-1, 3], [-1, -1]]
    assert d.recv_topk_weights[1][:2].tolist() == [[0, 0.25], [0, 0]]
    # A reuse may pad where its dispatch did not.
    attrs, x, idx, weights = scene()
    d = oracle.dispatch(attrs, x, idx, weights)
    attrs.padding = "zero"
    recv_x, _, valid = oracle.dispatch_reuse(attrs, x, d.send_row)
    assert recv_x[1][:, 0].tolist() == [10, 20, 0, 0, 0, 0, 0, 0]
    assert valid[1].tolist() == [True] * 2 + [False] * 6
