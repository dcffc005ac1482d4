# ===- test_builder_errors.py - mistakes in calls of builders -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Builders: mistakes are named, and leave nothing behind."""

import pytest
from function import opt

from moe_mlir import upstream


def test_messages(ir, body):
    x, idx, w = (body.value(f"tensor<?x{t}>") for t in ("16xf32", "2xi32", "2xf32"))
    usual = {"grid": "ep", "num_experts": 4, "max_tokens": 3}

    def dispatch(**change):
        return lambda: upstream.moe.dispatch(ir, x, idx, w, **{**usual, **change})

    buffer, row = body.value("memref<4x16xf32>"), body.value("tensor<16xf32>")
    anything = body.value("tensor<*xf32>")
    recv = dispatch()()
    for call, kind, message in (
        (
            dispatch(num_experts=0),
            ValueError,
            "moe.dispatch: expected 'num_experts' to be from 1 to 2147483647, got 0",
        ),
        (
            dispatch(num_experts="4"),
            TypeError,
            "moe.dispatch: expected 'num_experts' to be an int, got '4'",
        ),
        (
            dispatch(num_experts=True),
            TypeError,
            "moe.dispatch: expected 'num_experts' to be an int, got True",
        ),
        (
            lambda: upstream.moe.dispatch(ir, buffer, idx, w, **usual),
            TypeError,
            "moe.dispatch: expected 'x' to be a tensor, got memref<4x16xf32>; with memrefs it "
            "needs 'outs', and has no results",
        ),
        (
            lambda: upstream.moe.dispatch(ir, row, idx, w, **usual),
            TypeError,
            "moe.dispatch: expected 'x' to be a tensor of rank 2, got tensor<16xf32>",
        ),
        (
            lambda: upstream.moe.dispatch(ir, x, row, w, **usual),
            TypeError,
            "moe.dispatch: expected 'topk_idx' to be a tensor of rank 2, got tensor<16xf32>",
        ),
        (
            lambda: upstream.moe.combine(
                ir, anything, recv.send_row, x, x, grid="ep", num_experts=4
            ),
            TypeError,
            "moe.combine: expected 'y' to be a tensor of rank 2, got tensor<*xf32>",
        ),
        (
            lambda: upstream.moe.combine(ir, x, buffer, x, x, grid="ep", num_experts=4),
            TypeError,
            "moe.combine: expected 'send_row' to be a tensor, got memref<4x16xf32>; with "
            "memrefs it needs 'outs', and has no results",
        ),
        (
            dispatch(max_tokens=0),
            ValueError,
            "moe.dispatch: expected 'max_tokens' to be at least 1, got 0",
        ),
        (
            dispatch(layout="rows"),
            ValueError,
            "moe.dispatch: expected 'layout' to be one of rank_major, expert_major, slab, "
            "got 'rows'",
        ),
        (
            dispatch(layout=1),
            TypeError,
            "moe.dispatch: expected 'layout' to be a str or an attribute, got 1",
        ),
        (
            dispatch(max_tokens=None),
            ValueError,
            "moe.dispatch: expected 'max_tokens', since the number of tokens of 'x' is dynamic",
        ),
        (
            dispatch(grid="other"),
            ValueError,
            "expected a shard.grid @other around the op, found none; make one with "
            "upstream.grid(), or pass ranks=",
        ),
        (
            lambda: upstream.moe.combine(ir, recv, None, None, None, grid="ep", num_experts=4),
            TypeError,
            "expected a value, got the 7 results of moe.dispatch; choose one of: recv_x, "
            "recv_topk_idx, recv_topk_weights, recv_src_idx, n_tokens_to_rank, "
            "n_tokens_from_rank, send_row",
        ),
        (
            lambda: upstream.moe.combine(ir, x, None, None, None, grid="ep", num_experts=4),
            TypeError,
            "moe.combine: operand 'send_row' is missing",
        ),
        (
            lambda: upstream.moe.combine(ir, 3, x, x, x, grid="ep", num_experts=4),
            TypeError,
            "expected a value of an ir module, got 3",
        ),
        (
            lambda: upstream.moe.alltoallv(ir, x, idx, grid="ep"),
            TypeError,
            "moe.alltoallv: expected 'results', the types of 'recv' and 'recv_counts'; the "
            "capacity does not follow from the operands",
        ),
        (
            lambda: upstream.symm.alloc(ir),
            TypeError,
            "symm.alloc: expected 'results', the type of 'buffer'; it does not follow from the "
            "operands",
        ),
        (
            lambda: upstream.symm.put_wait(ir, pending=0, read=3),
            TypeError,
            "symm.put_wait: expected 'read' to be True or False, got 3",
        ),
        (
            lambda: upstream.grid(ir, "g", 0),
            ValueError,
            "shard.grid: expected 1 to 65536 ranks, got 0",
        ),
        (
            lambda: upstream.grid(ir, "g", True),
            TypeError,
            "shard.grid: expected a number of ranks, got True",
        ),
        (
            lambda: upstream.moe.layout_attr(ir, "rows"),
            ValueError,
            "expected one of rank_major, expert_major, slab, got 'rows'",
        ),
        (
            lambda: recv.expert_counts,
            AttributeError,
            "moe.dispatch has no result 'expert_counts'; it has: recv_x, recv_topk_idx, "
            "recv_topk_weights, recv_src_idx, n_tokens_to_rank, n_tokens_from_rank, send_row",
        ),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert str(caught.value) == message


def test_a_strict_context_is_named(ir):
    with ir.Context() as context, ir.Location.unknown():
        assert not context.allow_unregistered_dialects
        with pytest.raises(RuntimeError) as caught:
            upstream.grid(ir, "ep", 2)
    assert str(caught.value) == (
        "expected a context that knows 'shard.grid' or allows what it does not know; set "
        "context.allow_unregistered_dialects = True"
    )


def test_region_that_cannot_be_built_leaves_nothing_behind(ir, body):
    table, buffer = body.value("memref<2xi32>"), body.value("memref<4x16xf32>")

    def stop():
        upstream.coll.rows(ir, buffer, table, table, buffer, table, table)
        raise KeyError("no such buffer")

    with pytest.raises(KeyError, match="no such buffer"):
        upstream.coll.exchange(ir, stop)
    with pytest.raises(TypeError) as caught:
        upstream.coll.exchange(ir, [])
    assert str(caught.value) == (
        "coll.exchange: expected 'body' to be a function that builds the ops of the region, got []"
    )
    assert "coll." not in opt(body.text())
