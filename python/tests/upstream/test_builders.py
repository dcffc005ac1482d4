# ===- test_builders.py - builders of ops in another MLIR -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Builders: every op is accepted by moe-opt, and mistakes are named."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import job
import pytest

from moe_mlir import upstream
from moe_mlir.upstream import _build

DIALECTS = (upstream.moe, upstream.symm, upstream.coll)
TOOL = Path(__file__).resolve().parents[2] / "tools" / "generate_builders.py"
# Memory spaces of dialects that jaxlib does not have: its memrefs cannot have them,
# so numbers stand for them until the module is text.
SPACE, GROUP = "777", "778"
SPACES = {SPACE: "#symm.space", GROUP: "#gpu.address_space<workgroup>"}


def test_builders_are_those_of_the_op_definitions():
    command = [sys.executable, str(TOOL), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def opt(module, *options):
    """What moe-opt makes of a module: its ops have to verify."""
    return job.run([job.tool("moe-opt"), "-", *options], input=str(module).encode())


@pytest.fixture
def body(ir, context):
    """A function to build in; `body.value(type)` is a new argument of it."""
    from jaxlib.mlir.dialects import func

    class Body:
        def __init__(self):
            self.module = ir.Module.create()
            with ir.InsertionPoint(self.module.body):
                upstream.grid(ir, "ep", 2)
                self.function = func.FuncOp("f", ([], []))
            self.block = self.function.add_entry_block()
            self.types = []

        def value(self, text):
            kind = ir.Type.parse(text)
            self.types.append(kind)
            return self.block.add_argument(kind, ir.Location.unknown())

        def text(self):
            with ir.InsertionPoint(self.block):
                func.ReturnOp([])
            kind = ir.TypeAttr.get(ir.FunctionType.get(self.types, []))
            self.function.operation.attributes["function_type"] = kind
            text = self.module.operation.get_asm(print_generic_op_form=True)
            for number, space in SPACES.items():
                text = text.replace(f", {number}>", f", {space}>")
            return text

    made = Body()
    with ir.InsertionPoint(made.block):
        yield made


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


def test_messages(ir, body):
    x, idx, w = (body.value(f"tensor<?x{t}>") for t in ("16xf32", "2xi32", "2xf32"))
    usual = {"grid": "ep", "num_experts": 4, "max_tokens": 3}

    def dispatch(**change):
        return lambda: upstream.moe.dispatch(ir, x, idx, w, **{**usual, **change})

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
        "coll.exchange: expected 'body' to be a function that builds the ops of the region, "
        "got []"
    )
    assert "coll." not in opt(body.text())


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
