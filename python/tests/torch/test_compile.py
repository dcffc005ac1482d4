# ===- test_compile.py - torch.compile without graph breaks -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Layers under torch.compile, on two processes.

The backend is aot_eager, which runs what the operators are traced to: fake kernels,
gradients and functionalization. Code generation of inductor is torch's own.
"""

import warnings

import pytest
import torch
from layer import USUAL, case, dense, layer, run, same

import moe_mlir as moe

FORMS = {
    "rank_major": {"layout": "rank_major", "dtype": "f32"},
    "weights": {"layout": "expert_major", "combine_weights": True, "dtype": "bf16"},
    "scales": {"layout": "expert_major", "dtype": "f8E4M3FN", "scales": 2},
    "kept": {"layout": "expert_major", "dtype": "f32", "keep_blocks": True},
    "kept_scales": {
        "layout": "expert_major", "dtype": "f8E4M3FN", "scales": 2, "keep_blocks": True,
    },
}


def usual(**fields):
    return moe.Exchange(**USUAL, padding="zero", gradients=True, **fields)


def compare(group, fields, counts):
    """Any number of tokens by one graph, bit by bit as the dense layer."""
    torch._dynamo.reset()
    ep = moe.torch.ExpertParallel(usual(**fields), group)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")

    def marked(ep, *tensors):
        for tensor in tensors[:3]:
            torch._dynamo.mark_dynamic(tensor, 0, min=0, max=ep.plan.max_tokens)
        return compiled(ep, *tensors)

    first = True
    for number, tokens in enumerate(counts):
        mine = case(ep.plan, group.rank, number, tokens[group.rank])
        with torch._dynamo.config.patch(error_on_recompile=not first):
            out, grad_x, grad_weights, _ = run(ep, mine, marked)
        first = False
        expected = dense(ep.plan, mine)
        assert same(out, expected[0])
        assert grad_x is None or same(grad_x, expected[1])
        assert same(grad_weights, expected[2])


@pytest.mark.parametrize("form", FORMS)
def test_any_number_of_tokens_by_one_graph(processes, form):
    processes(compare, FORMS[form], [(5, 4), (2, 6), (6, 3)])


def none_at_all(group):
    """Tracers specialize on extents of 0 and 1, so such a graph is one of its own."""
    ep = moe.torch.ExpertParallel(usual(layout="expert_major", dtype="f32"), group)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for number, tokens in enumerate([(0, 3), (3, 0), (0, 0)]):
        mine = case(ep.plan, group.rank, number, tokens[group.rank])
        out, grad_x, *_ = run(ep, mine, compiled)
        expected = dense(ep.plan, mine)
        assert same(out, expected[0]) and same(grad_x, expected[1])


def test_ranks_without_tokens(processes):
    processes(none_at_all)


def names_of_ops(group):
    """What the graphs of both passes contain."""
    found = []

    def see(graph, _):
        found.append([str(node.target) for node in graph.graph.nodes])
        return graph

    from torch._dynamo.backends.common import aot_autograd

    torch._dynamo.reset()
    ep = moe.torch.ExpertParallel(usual(layout="expert_major", dtype="f32"), group)
    compiled = torch.compile(layer, fullgraph=True, backend=aot_autograd(fw_compiler=see))
    run(ep, case(ep.plan, group.rank, 1, 4), compiled)
    return [[name for name in names if "moe_mlir" in name] for names in found]


def test_graphs_have_one_operator_for_each_exchange(processes):
    for forward, backward in processes(names_of_ops):
        assert forward == ["moe_mlir.dispatch.default", "moe_mlir.combine.default"]
        assert backward == [
            "moe_mlir.combine_backward.default",
            "moe_mlir.dispatch_backward.default",
        ]


def written_to(group):
    """Operators that write to given tensors, which functionalization has to see."""
    torch._dynamo.reset()
    plan = moe.Exchange(**USUAL, padding="zero", dtype="f32", layout="expert_major")
    ep = moe.torch.ExpertParallel(plan, group)
    mine = case(plan, group.rank, 1, 4)
    recv, out = ep.empty_received(4), torch.full((4, plan.hidden), 7.0)

    def step(x):
        got = ep.dispatch(x, mine.idx, mine.weights, out=recv)
        ep.combine(got.x * 2, got.handle, out=out)
        return out + 1

    plain = step(mine.x)
    expected = out.clone()
    out.fill_(7.0)
    with warnings.catch_warnings():
        # torch warns that its own cache does not keep such graphs.
        warnings.simplefilter("ignore")
        compiled = torch.compile(step, fullgraph=True, backend="aot_eager")(mine.x)
    assert torch.equal(out, expected) and torch.equal(compiled, plain)


def test_given_tensors_are_written_to(processes):
    processes(written_to)
