# ===- test_builders.py - builders of ops in another MLIR -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Builders: every op is accepted by moe-opt."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from function import GROUP, SPACE, opt

from moe_mlir import upstream
from moe_mlir.upstream import _build

DIALECTS = (upstream.moe, upstream.symm, upstream.coll)
TOOL = Path(__file__).resolve().parents[2] / "tools" / "generate_builders.py"


def test_builders_are_those_of_the_op_definitions():
    command = [sys.executable, str(TOOL), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_op_verifies(ir, body):
    """One of each, so that no spec can disagree with the op it builds."""
    value, parse = body.value, ir.Type.parse
    index, word, flag, number = (value(t) for t in ("index", "i64", "i1", "i32"))
    flags, rows = value(f"memref<4xi64, {SPACE}>"), value(f"memref<8x16xf32, {SPACE}>")
    counter = value(f"memref<1xi64, {SPACE}>")
    source = value("memref<4x16xf32>")
    stage, arrivals = value(f"memref<2x16xf32, {GROUP}>"), value(f"memref<2xi64, {GROUP}>")
    marks, vector = value(f"memref<4xi32, {GROUP}>"), value("vector<4xf32>")
    symm, built = upstream.symm, []

    def add(results):
        built.append(results.operation.name)
        return results

    buffer = add(
        symm.alloc(ir, persistent=True, offset=128, results=[parse(f"memref<4xi64, {SPACE}>")])
    )
    assert buffer.names == ("buffer",)
    lost = symm.alloc(ir, results=[parse(f"memref<4xf32, {SPACE}>")])
    add(symm.free(ir, lost))
    add(symm.alloc_result(ir, [index], index=0, results=[parse("memref<?x16xf32>")]))
    held = value("memref<8x16xf32>")
    add(symm.copy_rows(ir, [rows], [held], value("memref<4xi32>"), every=2))
    me = add(symm.rank(ir))
    assert str(me.rank.type) == "index"
    peer = add(symm.peer(ir, rows, me))
    assert peer.result.type == rows.type
    add(symm.put(ir, source, index, rows, index, me, count=index))
    epoch = add(symm.next_epoch(ir, counter))
    add(symm.signal(ir, flags, index, me, epoch, relaxed=True))
    add(symm.wait(ir, flags, index, me, epoch))
    seen = symm.wait(ir, flags, index, me, word, results=[parse("i64")])
    assert seen.names == ("seen",)
    add(symm.barrier(ir, flags, word))
    add(
        symm.check(
            ir, flag, word, seen=seen, peer=me, failure="invalid_count", what='rows "here"\n'
        )
    )
    add(symm.collective_begin(ir, op="moe.dispatch", site=0))
    add(symm.phase(ir, phase="count"))
    add(symm.collective_end(ir))
    add(symm.failed(ir))
    add(symm.grid_barrier(ir, counter))
    add(symm.take(ir, counter, index))
    collected = add(symm.collect(ir, flags, index, word))
    assert [str(v.type) for v in collected] == ["i32", "i1"]
    add(symm.post(ir, number, flags, index, word))
    add(symm.mark(ir, marks, index, number))
    joined = add(symm.join_loads(ir, [vector, vector], [vector, vector]))
    assert joined.names == ("results_0", "results_1")
    add(symm.bulk_fence(ir))
    add(symm.stage_init(ir, arrivals, arrivals=1))
    add(symm.stage_expect(ir, arrivals, index, index))
    add(symm.stage_arrive(ir, arrivals, index))
    add(symm.stage_wait(ir, arrivals, index, index))
    add(symm.put_wait(ir, pending=0, read=True))
    add(symm.fetch(ir, source, [index, index], stage, index, arrivals, index))
    add(symm.put_each(ir, source, index, rows, index, index, index, lanes=32))

    x, idx, w = (value(f"tensor<3x{t}>") for t in ("16xf32", "2xi32", "2xf32"))
    recv = add(upstream.moe.dispatch(ir, x, idx, w, grid="ep", num_experts=4))
    add(
        upstream.moe.combine(
            ir,
            recv.recv_x,
            recv.send_row,
            recv.recv_src_idx,
            recv.n_tokens_from_rank,
            grid="ep",
            num_experts=4,
            kernel=upstream.moe.kernel_attr(ir, blocks=4, threads=64, transfer="stores", team=2),
        )
    )
    counts = value("tensor<2xi32>")
    add(
        upstream.moe.alltoallv(
            ir,
            x,
            counts,
            grid="ep",
            overflow="drop",
            results=[parse("tensor<9x16xf32>"), parse("tensor<2xi32>")],
        )
    )
    coll = upstream.coll
    mine, theirs = value("memref<2x4xi32>"), value("memref<2x4xi32>")
    add(coll.all_to_all(ir, mine, theirs))
    add(coll.all_gather(ir, value("memref<1x4xi32>"), theirs))
    table = add(coll.read(ir, value("memref<2xi32>")))
    assert str(table.result.type) == "memref<2xi32>"
    add(coll.copy_table(ir, table, value("memref<2xi32>")))
    add(coll.clear_table(ir, value("memref<2xi32>")))
    end = add(coll.table_end(ir, table, value("memref<2xi32>"), value("index")))
    assert str(end.end.type) == "index"
    constant = coll.table(ir, numbers=[0, 16], results=[parse("memref<2xi32>")])
    tables = [add(constant).table, *(value("memref<2xi32>") for _ in range(2))]
    pair = (source, table, tables[0], value("memref<?x16xf32>"), *tables[1:])
    add(coll.exchange(ir, lambda: add(coll.rows(ir, *pair))))

    # Every builder was used.
    every = {
        f"{dialect.__name__.rsplit('.', 1)[1]}.{name}"
        for dialect in DIALECTS
        for name in dialect.__all__
        if not name.endswith("_attr")
    }
    assert every == set(built)
    text = opt(body.text())
    checks = [line for line in text.splitlines() if "symm.check" in line]
    assert r'invalid_count, "rows \22here\22\0A" expected %arg1 seen' in checks[0], checks
    assert "#moe.kernel<blocks = 4, threads = 64, team = 2>" in text
    assert re.search(r"coll.exchange \{\n +coll.rows %\w+\[%\w+, %\w+\] to ", text), text


def test_memref_form_has_no_results(ir, body):
    value = body.value
    x, idx, w = (value(f"memref<3x{t}>") for t in ("16xf32", "2xi32", "2xf32"))
    outs = [
        value(f"memref<{t}>")
        for t in ("6x16xf32", "6x2xi32", "6x2xf32", "6xi32", "2xi32", "2xi32", "3x2xi32")
    ]
    recv = upstream.moe.dispatch(ir, x, idx, w, outs=outs, grid="ep", num_experts=4)
    assert len(recv) == 0
    out = value("memref<3x16xf32>")
    upstream.moe.combine(
        ir, outs[0], outs[6], outs[3], outs[5], outs=[out], grid="ep", num_experts=4
    )
    assert opt(body.text()).count("outs(") == 2


@pytest.mark.parametrize(
    ("layout", "options", "types"),
    [
        ("rank_major", {}, ["6x16", "6x2", "6x2", "6", "2", "2", "3x2"]),
        ("slab", {}, ["6x16", "6x2", "6x2", "6", "2", "2", "3x2"]),
        (
            "expert_major",
            {"alignment": 4},
            ["12x16", "12", "12", "12", "2", "2", "3x2", "2", "2"],
        ),
        ("rank_major", {"capacity": 5}, ["5x16", "5x2", "5x2", "5", "2", "2", "3x2"]),
        (
            "slab",
            {"list_alignment": 4},
            ["6x16", "6x2", "6x2", "6", "2", "2", "3x2", "2", "2", "16", "16"],
        ),
    ],
)
def test_result_types_are_inferred(ir, body, layout, options, types):
    x, idx, w = (body.value(f"tensor<3x{t}>") for t in ("16xf32", "2xi32", "2xf32"))
    recv = upstream.moe.dispatch(ir, x, idx, w, grid="ep", num_experts=4, layout=layout, **options)
    shapes = ["x".join(map(str, ir.RankedTensorType(v.type).shape)) for v in recv]
    assert shapes == types
    opt(body.text())


@pytest.mark.parametrize(("layout", "slots"), [("rank_major", 2), ("expert_major", 3)])
def test_rows_apart_have_a_slot_each(ir, body, layout, slots):
    x, idx, w = (body.value(f"tensor<?x{t}>") for t in ("16xf32", "3xi32", "3xf32"))
    common = {"grid": "ep", "num_experts": 4, "layout": layout, "max_tokens": 5}
    recv = upstream.moe.dispatch(ir, x, idx, w, padding="zero", **common)
    topk = idx if layout == "expert_major" else None
    routes = (recv.send_row, recv.recv_src_idx, recv.n_tokens_from_rank)
    out = upstream.moe.combine(ir, recv.recv_x, *routes, topk=topk, reduce="none", **common)
    assert str(out.out.type) == f"tensor<?x{slots}x16xf32>"
    opt(body.text())


def test_partial_sums_are_rounded_where_asked(ir, body):
    x, idx, w = (body.value(f"tensor<?x{t}>") for t in ("16xbf16", "3xi32", "3xf32"))
    common = {"grid": "ep", "num_experts": 4, "layout": "expert_major", "max_tokens": 5}
    recv = upstream.moe.dispatch(ir, x, idx, w, **common)
    routes = (recv.send_row, recv.recv_src_idx, recv.n_tokens_from_rank)
    upstream.moe.combine(ir, recv.recv_x, *routes, topk=idx, partials="element", **common)
    assert "partials = #moe.partials<element>" in opt(body.text())


def test_reuse_has_rows_alone(ir, body):
    x, idx, w = (body.value(f"tensor<3x{t}>") for t in ("16xf8E4M3FN", "2xi64", "2xf32"))
    scales = body.value("tensor<3x2xbf16>")
    common = {"grid": "ep", "num_experts": 4, "layout": "expert_major"}
    recv = upstream.moe.dispatch(ir, x, idx, w, scales, **common)
    again = upstream.moe.dispatch(ir, x, scales=scales, reuse=[recv.send_row, idx], **common)
    assert again.names == ("recv_x", "recv_scales")
    assert again.recv_scales.type == recv.recv_scales.type
    opt(body.text())


def test_ranks_need_no_grid_when_given(ir, body):
    x, idx, w = (body.value(f"tensor<3x{t}>") for t in ("16xf32", "2xi32", "2xf32"))
    recv = upstream.moe.dispatch(ir, x, idx, w, grid="later", num_experts=4, ranks=5)
    assert ir.RankedTensorType(recv.n_tokens_to_rank.type).shape == [5]


def test_builders_say_what_they_take():
    for dialect in DIALECTS:
        for name in dialect.__all__:
            builder = getattr(dialect, name)
            assert inspect.getdoc(builder)
            if not name.endswith("_attr"):
                for parameter in inspect.signature(builder).parameters.values():
                    assert parameter.annotation is not inspect.Parameter.empty
                    documented = parameter.name in inspect.getdoc(builder)
                    assert documented, (name, parameter.name)


def test_specs_have_no_attribute_that_builders_cannot_make():
    for dialect in DIALECTS:
        for spec in vars(dialect).values():
            if isinstance(spec, _build.OpSpec):
                for attr in spec.attributes:
                    assert attr.kind in (
                        "i64", "i32s", "string", "symbol", "unit", "enum", "any",
                    )  # fmt: skip
                    assert attr.kind != "any" or attr.name == "kernel", (spec.name, attr)
