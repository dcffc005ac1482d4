# ===- test_layer.py - torchtitan's layer with our dispatcher -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""``torchtitan.models.common.moe.MoE``, unchanged, on meshes of 2 and of 4 ranks."""

import pytest
import titan
import torch
import torch.distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode

RANKS = 4


def dense_reference(dims, tokens, seed):
    """What one process makes of the tokens of all ranks that share experts.

    Returns the part of a rank: its rows, all of the router's gradient, which is the sum
    over the ranks, and the gradient of its experts.
    """
    group = dims.get_mesh("ep").get_group()
    ranks = dist.get_process_group_ranks(group)
    mine, size = dist.get_rank(group), len(ranks)
    given = [titan.inputs(rank, seed, tokens[rank]) for rank in ranks]
    x, grad_out = (torch.cat(part, 1) for part in zip(*given, strict=True))
    out, grad_x, grad_gate, *grads = titan.run(titan.dense(seed), x, grad_out)
    counts = [tokens[rank] for rank in ranks]
    return [
        out.split(counts, 1)[mine],
        grad_x.split(counts, 1)[mine],
        grad_gate,
        *(grad.chunk(size)[mine] for grad in grads),
    ]


def on_ranks(layer, dims, tokens, seed):
    """What the layer makes of the tokens of this rank, with the router's gradients added."""
    x, grad_out = titan.inputs(dist.get_rank(), seed, tokens[dist.get_rank()])
    found = titan.run(layer, x, grad_out, dims)
    dist.all_reduce(found[2], group=dims.get_mesh("ep").get_group())
    return found


def follows_one_process(group, ep, backend, tokens):
    dims = titan.mesh(ep, RANKS, backend)
    layer = titan.parallel(titan.ours(), dims, titan.dense(3))
    found = on_ranks(layer, dims, tokens, 3)
    for value, expected in zip(found, dense_reference(dims, tokens, 3), strict=True):
        titan.close(value, expected)
        assert value.abs().max() > 0


@pytest.mark.parametrize("backend", ["spmd_types", "partial_dtensor"])
@pytest.mark.parametrize("ep", [2, 4])
def test_layer_is_that_of_one_process(processes, ep, backend):
    processes(follows_one_process, ep, backend, (5, 8, 1, 6))


def same_as_all_to_all(group, ep, tokens):
    dims = titan.mesh(ep, RANKS, "partial_dtensor")
    found, expected = (
        on_ranks(titan.parallel(cfg, dims, titan.dense(4)), dims, tokens, 4)
        for cfg in (titan.ours(), titan.config())
    )
    # Experts get the same rows in the same order, and so do their gradients.
    for grad, expected_grad in zip(found[3:], expected[3:], strict=True):
        assert torch.equal(grad, expected_grad)
    # Sums of K = 3 products, which both make in float32, but not in the same order.
    for value, wanted in zip(found[:3], expected[:3], strict=True):
        torch.testing.assert_close(value, wanted, rtol=2**-18, atol=2**-18)


@pytest.mark.parametrize("ep", [2, 4])
def test_layer_is_that_of_torchtitans_all_to_all(processes, ep):
    processes(same_as_all_to_all, ep, (5, 8, 1, 6))


def compiles(group, counts):
    """One graph without breaks for any number of tokens, with the results of no graph."""
    torch._dynamo.reset()
    dims = titan.mesh(RANKS, RANKS, "spmd_types")
    layer = titan.parallel(titan.ours(), dims, titan.dense(5))
    compiled = titan.parallel(titan.ours(), dims, titan.dense(5))
    compiled.compile(fullgraph=True, dynamic=True, backend="aot_eager")
    for seed, tokens in enumerate(counts):
        with torch._dynamo.config.patch(error_on_recompile=seed > 0):
            found = on_ranks(compiled, dims, tokens, seed)
        for value, expected in zip(found, on_ranks(layer, dims, tokens, seed), strict=True):
            assert torch.equal(value, expected)


def test_layer_compiles_without_graph_breaks(processes):
    processes(compiles, [(5, 8, 4, 6), (8, 2, 3, 7), (3, 3, 8, 2)])


def no_tokens(group, tokens):
    """Below torchtitan's layer, which has no view for results of 0 tokens."""
    dims = titan.mesh(RANKS, RANKS, "spmd_types")
    alone, shared = titan.dense(6), titan.parallel(titan.ours(), dims, titan.dense(6))
    rank = dist.get_rank()

    def step(layer, rank):
        own = torch.Generator().manual_seed(rank)
        x = torch.randn((tokens[rank], titan.DIM), generator=own).requires_grad_()
        scores = torch.rand((tokens[rank], titan.TOP_K), generator=own).requires_grad_()
        ids = torch.rand((tokens[rank], titan.EXPERTS), generator=own).topk(titan.TOP_K)[1]
        # Nothing for the experts of the last rank.
        ids = ids % (titan.EXPERTS - 2)
        counts = ids.flatten().bincount(minlength=titan.EXPERTS)
        routed = layer.routed_experts
        rows, sizes, metadata = routed.token_dispatcher.dispatch(x, scores, ids, counts)
        out = routed.token_dispatcher.combine(routed.inner_experts(rows, sizes), metadata, x)
        out.square().sum().backward()
        return out.detach(), x.grad, scores.grad

    with titan.context(dims):
        found = step(shared, rank)
    for value, expected in zip(found, step(alone, rank), strict=True):
        titan.close(value, expected)
    return titan.local(shared.routed_experts.inner_experts.w2_EDF.grad).abs().sum().item()


def test_ranks_without_tokens_and_experts_without_rows(processes):
    *some, nothing = processes(no_tokens, (0, 7, 0, 3))
    assert all(some) and nothing == 0


class Exchanges(TorchDispatchMode):
    """Counts the exchanges of rows to experts."""

    def __init__(self):
        super().__init__()
        self.dispatches = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.dispatches += func is torch.ops.moe_mlir.dispatch.default
        return func(*args, **(kwargs or {}))


def checkpoints(group, tokens):
    """Selective checkpointing as torchtitan has it, and with our operators known."""
    import dataclasses

    from torchtitan.config import Configurable
    from torchtitan.distributed.activation_checkpoint import SelectiveAC

    @dataclasses.dataclass(kw_only=True, slots=True)
    class Root(Configurable.Config):
        activation_checkpoint: SelectiveAC.Config

    dims = titan.mesh(RANKS, RANKS, "spmd_types")
    given = [titan.inputs(dist.get_rank(), 7, tokens[dist.get_rank()])]
    results, dispatches = [], []
    plain = Root(activation_checkpoint=SelectiveAC.Config(force_recompute_mm_shapes_by_fqns=[]))
    known = titan.override(dataclasses.replace(plain), "moe_mlir.torchtitan.selective_ac")
    for root in (None, plain, known):
        layer = titan.parallel(titan.ours(), dims, titan.dense(7))
        model = layer
        if root is not None:
            model = root.activation_checkpoint.build(dump_folder="")._wrap_block(layer)
        x, grad_out = given[0]
        x = x.clone().requires_grad_()
        with titan.context(dims):
            out = model(x)
            with Exchanges() as seen:
                out.backward(grad_out)
        dispatches.append(seen.dispatches)
        results.append([out.detach(), x.grad, layer.routed_experts.inner_experts.w1_EFD.grad])
    for other in results[1:]:
        for value, expected in zip(other, results[0], strict=True):
            assert torch.equal(titan.local(value), titan.local(expected))
    return dispatches


def test_selective_checkpointing_keeps_what_was_exchanged(processes):
    assert processes(checkpoints, (5, 8, 4, 6)) == [[0, 1, 0]] * RANKS
