# ===- test_report.py - what an exchange is said to cost -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The report: figures of the compiler, and expected bytes by counting routings."""

import itertools
from fractions import Fraction

import pytest

from moe_mlir.exchange import Exchange
from moe_mlir.exchange.report import expected_remote_rows, make


def counted(plan, ranks):
    """Rows on other ranks: the mean over ranks and over all choices of experts."""
    owner = {e: r for r in range(ranks) for e in plan.experts_of(r, ranks)}
    rows, cases = 0, 0
    for rank in range(ranks):
        for chosen in itertools.combinations(range(plan.num_experts), plan.top_k):
            owners = [owner[e] for e in chosen if owner[e] != rank]
            rows += len(owners) if plan.is_expert_major else len(set(owners))
            cases += 1
    return Fraction(rows, cases)


@pytest.mark.parametrize("layout", ["rank_major", "slab", "expert_major"])
@pytest.mark.parametrize(
    ("experts", "top_k", "ranks"),
    [(8, 2, 4), (7, 3, 3), (5, 1, 2), (3, 2, 5), (6, 6, 2), (4, 2, 1)],
)
def test_expected_rows_are_the_mean_over_all_routings(layout, experts, top_k, ranks):
    plan = Exchange(num_experts=experts, top_k=top_k, hidden=1, max_tokens=1, layout=layout)
    assert expected_remote_rows(plan, ranks) == pytest.approx(
        float(counted(plan, ranks)), rel=1e-12
    )


def test_figures_of_a_layer(compiler):
    plan = Exchange(num_experts=8, top_k=2, hidden=64, max_tokens=16)
    report = plan.report(4, compiler=compiler)
    assert (report.ranks, report.target, report.rows) == (4, "host", 64)
    dispatch, combine = report.op("dispatch"), report.op("combine")
    # A row of 64 bf16, two ids and weights, and its source.
    assert dispatch.row_bytes == 128 + 2 * 8 + 4
    assert combine.row_bytes == 128
    # At most two rows per token leave a rank; 1 - C(6,2)/C(8,2) = 13/28 on average
    # go to each of three others.
    assert dispatch.wire_bytes_max == 148 * 16 * 2
    assert dispatch.wire_bytes_expected == pytest.approx(148 * 16 * 3 * 13 / 28)
    assert combine.wire_bytes_expected == pytest.approx(128 * 16 * 3 * 13 / 28)
    assert report.transport == "direct" and dispatch.table_bytes is None
    assert report.symmetric_bytes == report.raw["workspace_bytes"] > 0
    assert report.artifact_bytes > 0
    assert [entry.name for entry in report.entries] == ["dispatch", "combine"]
    assert report.kernels == () and dispatch.kernel is None
    with pytest.raises(KeyError):
        report.op("backward")


def test_ops_have_their_entries_and_kernels(compiler):
    plan = Exchange(num_experts=8, top_k=2, hidden=64, max_tokens=16, layout="slab", gradients=True)
    report = plan.report(2, "cuda", compiler=compiler)
    assert [(op.entry, op.op) for op in report.ops] == [
        ("dispatch", "moe.dispatch"),
        ("combine", "moe.combine"),
        ("dispatch_backward", "moe.combine"),
        ("dispatch_backward", "moe.combine"),
        ("dispatch_backward_x", "moe.combine"),
        ("dispatch_backward_weights", "moe.combine"),
        ("combine_backward", "moe.dispatch"),
        ("dispatch_again", "moe.dispatch"),
    ]
    for op in report.ops:
        assert op.kernel.blocks >= 1 and op.kernel.threads % 32 == 0
    # Gradients of weights come as rows of two f32.
    assert report.ops[3].row_bytes == 8


def test_print_is_a_table(compiler):
    plan = Exchange(num_experts=8, top_k=2, hidden=64, max_tokens=16)
    report = plan.report(4, compiler=compiler)
    lines = str(report).splitlines()
    assert lines[0].split("  ")[0] == "entry"
    assert lines[1].split() == [
        "dispatch",
        "moe.dispatch",
        "64",
        "148",
        f"{report.ops[0].symmetric_bytes:,}",
        "3,298",
        "4,736",
    ]
    assert lines[3] == (
        f"4 ranks, target host: {report.symmetric_bytes:,} symmetric bytes per rank"
    )


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("host", {"transport": "messages"}),
        ("host", {"transport": "messages", "schedule": "padded", "pair_capacity": 8}),
        ("nccl:sm_90", {}),
    ],
)
def test_messages_take_no_symmetric_memory(compiler, target, options):
    plan = Exchange(num_experts=8, top_k=2, hidden=64, max_tokens=16)
    report = plan.report(4, target, compiler=compiler, **options)
    assert (report.transport, report.symmetric_bytes) == ("messages", 0)
    dispatch = report.op("dispatch")
    assert (dispatch.row_bytes, dispatch.symmetric_bytes) == (148, 0)
    assert dispatch.table_bytes > 0
    lines = str(report).splitlines()
    assert "table bytes" in lines[0]
    assert f"{dispatch.table_bytes:,}" in lines[1].split()
    assert f"4 ranks, target {target}: messages, no symmetric memory" in lines


def test_padded_messages_are_as_long_whatever_is_chosen(compiler):
    plan = Exchange(num_experts=8, top_k=2, hidden=64, max_tokens=16)
    # Room for all 16 tokens in each of three messages, or as much as is said.
    for options, rows in ({}, 16), ({"pair_capacity": 5}, 5):
        report = plan.report(
            4, compiler=compiler, transport="messages", schedule="padded", **options
        )
        for name, row_bytes in ("dispatch", 148), ("combine", 128):
            op = report.op(name)
            assert op.wire_bytes_max == op.wire_bytes_expected == 3 * rows * row_bytes
    exact = plan.report(4, compiler=compiler, transport="messages", schedule="exact")
    assert exact.op("dispatch").wire_bytes_max == 148 * 16 * 2


def test_rows_that_expand_cross_once(compiler):
    plan = Exchange(
        num_experts=8, top_k=4, hidden=1024, max_tokens=16, layout="expert_major"
    )
    direct, expand = (
        plan.report(2, "cuda", compiler=compiler, dispatch_algorithm=name).op("dispatch")
        for name in ("direct", "expand")
    )
    assert direct.wire_bytes_max == 4 * 16 * direct.row_bytes
    assert direct.wire_bytes_expected == 2 * 16 * direct.row_bytes
    assert expand.wire_bytes_max < direct.wire_bytes_max
    assert expand.wire_bytes_expected <= expand.wire_bytes_max


def test_resources_of_kernels_are_listed():
    plan = Exchange(num_experts=4, top_k=1, hidden=16, max_tokens=4)
    op = {"location": "-:1:1", "rows": 8, "row_bytes": 44, "symmetric_bytes": 1, "wire_bytes": None}
    raw = {
        "ops": [{**op, "op": "moe.dispatch"}, {**op, "op": "moe.combine"}],
        "transport": "direct",
        "workspace_bytes": 2,
        "entries": [],
        "kernels": [
            {
                "name": "k",
                "location": "-:1:1",
                "registers": 40,
                "spill_bytes": 0,
                "local_bytes": 16,
                "shared_bytes": 96,
            }
        ],
    }
    report = make(plan, 2, "cuda", raw)
    assert report.ops[0].wire_bytes_max is None
    assert str(report).splitlines()[-1].split() == ["k", "40", "0", "16", "96"]


def test_a_report_of_another_module_is_refused():
    plan = Exchange(num_experts=4, top_k=1, hidden=16, max_tokens=4)
    with pytest.raises(ValueError) as caught:
        make(plan, 2, "host", {"ops": [{"op": "moe.alltoallv"}]})
    assert str(caught.value) == (
        "expected a report about ['moe.dispatch', 'moe.combine'], got one about ['moe.alltoallv']"
    )
    with pytest.raises(ValueError) as caught:
        plan.report(2, report="none")
    assert str(caught.value) == (
        "expected the compiler's report, which the option report = 'none' leaves out"
    )
