# ===- test_interchange.py - modules of another MLIR run here -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""A module built with jaxlib's MLIR, which does not know our ops, is compiled and
run by ours, and computes what the same module written by hand computes.
"""

import io

import job
import numpy as np
import pytest

from moe_mlir import upstream

RANKS, EXPERTS, TOP_K, HIDDEN, BOUND = 2, 6, 2, 8, 5

BY_HAND = """
shard.grid @ep(shape = 2)
func.func @layer(%x: tensor<?x8xf32>, %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>)
    -> (tensor<?x8xf32>, tensor<3xi32>) {
  %recv_x, %ids, %ws, %src, %n_to, %n_from, %send_row, %offsets, %counts =
    moe.dispatch %x, %idx, %w on @ep
      {alignment = 4 : i64, capacity = 40 : i64, layout = #moe.layout<expert_major>,
       max_tokens = 5 : i64, num_experts = 6 : i64, overflow = #moe.overflow<drop>}
      : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
     -> (tensor<40x8xf32>, tensor<40xi32>, tensor<40xf32>, tensor<40xi32>, tensor<2xi32>,
         tensor<2xi32>, tensor<?x2xi32>, tensor<3xi32>, tensor<3xi32>)
  %empty = tensor.empty() : tensor<40x8xf32>
  %y = linalg.add ins(%recv_x, %recv_x : tensor<40x8xf32>, tensor<40x8xf32>)
                  outs(%empty : tensor<40x8xf32>) -> tensor<40x8xf32>
  %out = moe.combine %y, %send_row, %src, %n_from topk(%idx) weights(%ws) on @ep
      {layout = #moe.layout<expert_major>, max_tokens = 5 : i64, num_experts = 6 : i64}
      : (tensor<40x8xf32>, tensor<?x2xi32>, tensor<40xi32>, tensor<2xi32>, tensor<?x2xi32>,
         tensor<40xf32>) -> tensor<?x8xf32>
  return %out, %counts : tensor<?x8xf32>, tensor<3xi32>
}
"""


def build(ir):
    """The same with builders; what doubles the rows is an op jaxlib has."""
    from jaxlib.mlir.dialects import arith, func

    parse = ir.Type.parse
    module = ir.Module.create()
    with ir.InsertionPoint(module.body):
        upstream.grid(ir, "ep", RANKS)
        inputs = [parse("tensor<?x8xf32>"), parse("tensor<?x2xi32>"), parse("tensor<?x2xf32>")]
        outputs = [parse("tensor<?x8xf32>"), parse("tensor<3xi32>")]
        layer = func.FuncOp("layer", (inputs, outputs))
        with ir.InsertionPoint(layer.add_entry_block()):
            x, idx, weights = layer.arguments
            recv = upstream.moe.dispatch(
                ir,
                x,
                idx,
                weights,
                grid="ep",
                num_experts=EXPERTS,
                layout="expert_major",
                alignment=4,
                capacity=40,
                overflow="drop",
                max_tokens=BOUND,
            )
            y = arith.AddFOp(recv.recv_x, recv.recv_x)
            out = upstream.moe.combine(
                ir,
                y,
                recv.send_row,
                recv.recv_src_idx,
                recv.n_tokens_from_rank,
                topk=idx,
                weights=recv.recv_topk_weights,
                grid="ep",
                num_experts=EXPERTS,
                layout=ir.Attribute.parse("#moe.layout<expert_major>"),
                max_tokens=BOUND,
            )
            func.ReturnOp([out.out, recv.expert_counts])
    return module


def forms(module):
    """The module as text and as bytecode."""
    bytecode = io.BytesIO()
    module.operation.write_bytecode(bytecode)
    return {
        "pretty text": str(module).encode(),
        "generic text": module.operation.get_asm(print_generic_op_form=True).encode(),
        "text with locations": module.operation.get_asm(enable_debug_info=True).encode(),
        "bytecode": bytecode.getvalue(),
    }


def test_a_foreign_module_runs_as_one_written_by_hand(ir, context, compiler, generator, tmp_path):
    tokens = [BOUND, 2]
    x = [generator.standard_normal((t, HIDDEN)).astype(np.float32) for t in tokens]
    idx = [generator.integers(-1, EXPERTS, (t, TOP_K)).astype(np.int32) for t in tokens]
    weights = [generator.random((t, TOP_K)).astype(np.float32) for t in tokens]

    def values(module):
        return job.Loaded(compiler(module), tmp_path)["layer"](x, idx, weights)

    expected = values(BY_HAND)
    assert any(array.any() for array in expected[0])
    written = forms(build(ir))
    assert b'"moe.dispatch"' in written["pretty text"]
    assert written["bytecode"][:4] == b"ML\xefR"
    for form, module in written.items():
        for found, wanted in zip(values(module), expected, strict=True):
            for rank in range(RANKS):
                assert np.array_equal(found[rank], wanted[rank]), form


def test_all_forms_are_the_same_module(ir, context):
    command = [job.tool("moe-opt"), "-"]
    read = {form: job.run(command, input=text) for form, text in forms(build(ir)).items()}
    assert "moe.dispatch %arg0, %arg1, %arg2 on @ep" in read["bytecode"]
    assert set(read.values()) == {read["bytecode"]}


def test_symmetric_marks_are_kept(ir, context, compiler):
    from jaxlib.mlir.dialects import func

    parse = ir.Type.parse
    module = ir.Module.create()
    routes = ["tensor<?x2xi32>", "tensor<10xi32>", "tensor<2xi32>"]
    with ir.InsertionPoint(module.body):
        upstream.grid(ir, "ep", RANKS)
        inputs = [parse(t) for t in ("tensor<10x8xbf16>", *routes)]
        back = func.FuncOp("back", (inputs, [parse("tensor<?x8xbf16>")]))
        upstream.mark_symmetric(ir, back, arguments=[1])
        upstream.mark_symmetric(ir, back, arguments=[0])
        with ir.InsertionPoint(back.add_entry_block()):
            out = upstream.moe.combine(
                ir, *back.arguments, grid="ep", num_experts=4, max_tokens=BOUND, defer_release=True
            )
            func.ReturnOp([out.out])
    with pytest.raises(IndexError) as caught:
        upstream.mark_symmetric(ir, back, results=[1])
    assert str(caught.value) == "expected a number below 1 in res_attrs, got 1"
    # Both marks are there; one is on a dynamic shape, which is refused.
    with pytest.raises(job.ToolError, match="symmetric"):
        compiler(str(module))
    text = str(module).replace("moe.symmetric}, {moe.symmetric", "moe.symmetric}, {")
    entry = compiler(text).manifest["entries"][0]
    assert [arg.get("symmetric", False) for arg in entry["args"]] == [True, False, False, False]
