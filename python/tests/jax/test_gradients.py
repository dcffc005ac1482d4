# ===- test_gradients.py - layers and gradients against dense ones -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Forward and backward in every layout and type; layers.py says why bits are equal."""

import jax
import jax.numpy as jnp
import layers
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import moe_mlir.jax
from moe_mlir.exchange import Exchange


def run(plan, ranks, generator):
    """Output and gradients by exchanges and by the dense layer."""
    x, idx, weights, factor = layers.inputs(generator, plan, ranks)
    is_number = jnp.issubdtype(x.dtype, jnp.floating)
    numbers = (0, 2, 3) if is_number else (2, 3)
    seed = generator.integers(-1, 2, (len(x), plan.hidden)).astype(np.float32)
    with moe_mlir.jax.ExpertParallel(plan, layers.mesh_of(ranks), "ep") as ep:

        def loss(function):
            def value(*arguments):
                out = function(*arguments)
                return (out.astype(jnp.float32) * seed).sum(), out

            return jax.jit(jax.value_and_grad(value, argnums=numbers, has_aux=True))

        by_rank = layers.spread(ep, lambda *a: layers.layer(ep, *a))
        (_, out), grads = loss(by_rank)(x, idx, weights, factor)
        (_, expected), wanted = loss(layers.dense)(x, idx, weights, factor)
        jax.block_until_ready((out, grads))
    assert layers.same(out, expected)
    for number, grad, want in zip(numbers, grads, wanted, strict=True):
        assert grad.dtype == (x, idx, weights, factor)[number].dtype
        assert layers.same(grad, want), number


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize(
    "options",
    [
        {"layout": "rank_major"},
        {"layout": "slab"},
        {"layout": "slab", "list_alignment": 4},
        {"layout": "expert_major", "alignment": 4},
        {"layout": "expert_major", "combine_weights": True},
    ],
    ids=["rank_major", "slab", "lists", "expert_major", "weights"],
)
def test_layouts(options, ranks, generator):
    run(Exchange(**layers.USUAL, dtype="f32", **options), ranks, generator)


def test_rows_that_come_back_apart(generator):
    """Each row has a gradient of its own; the sum is on the token's rank."""
    plan = Exchange(**layers.USUAL, dtype="f32", layout="expert_major", reduce="none")
    x, idx, weights, factor = layers.inputs(generator, plan, 2)

    with moe_mlir.jax.ExpertParallel(plan, layers.mesh_of(2), "ep") as ep:

        def layer(x, idx, weights, factor):
            recv = ep.dispatch(x, idx, weights)
            y = layers.factors_of(recv.topk_idx, factor)[:, None] * recv.x
            return (weights[..., None] * ep.combine(y, recv.handle)).sum(1)

        def grads(function):
            loss = jax.grad(lambda *a: (function(*a) ** 2).sum(), argnums=(0, 2, 3))
            return jax.jit(loss)(x, idx, weights, factor)

        found = grads(layers.spread(ep, layer))
        for got, want in zip(found, grads(layers.dense), strict=True):
            assert layers.same(got, want)


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f8E4M3FN", "f8E5M2"])
def test_floats(dtype, generator):
    run(Exchange(**layers.USUAL, dtype=dtype, layout="expert_major"), 2, generator)


@pytest.mark.parametrize("dtype", ["i8", "i32"])
def test_whole_numbers_have_gradients_of_weights_alone(dtype, generator):
    run(Exchange(**layers.USUAL, dtype=dtype, combine_dtype="f32"), 2, generator)


def test_64_bits(generator):
    with jax.enable_x64(True):
        plan = Exchange(**layers.USUAL, dtype="i64", combine_dtype="f32", index_dtype="i64")
        run(plan, 2, generator)


def test_scales_travel_with_rows(generator):
    plan = Exchange(**{**layers.USUAL, "gradients": False}, dtype="f8E4M3FN", scales=2)
    x, idx, weights, _ = layers.inputs(generator, plan, 2)
    # A row and its scales say which token they are of.
    number = np.arange(len(x), dtype=np.float32)
    x[:] = number[:, None]
    scales = np.stack([number, -number], 1)
    with moe_mlir.jax.ExpertParallel(plan, layers.mesh_of(2), "ep") as ep:
        recv = jax.jit(ep.dispatch)(x, idx, weights, scales)
        rows = np.asarray(recv.x).astype(np.float32)
        found = np.asarray(recv.scales)
    assert np.array_equal(rows[:, 0], found[:, 0])
    assert np.array_equal(rows[:, 1], -found[:, 1])
    assert len(np.unique(rows)) > 6


def test_groups_along_an_axis_of_a_larger_mesh(generator):
    """Two groups of two ranks each; experts' factors are the same on all devices."""
    plan = Exchange(**layers.USUAL, dtype="f32", layout="expert_major")
    x, idx, weights, factor = layers.inputs(generator, plan, 4)
    mesh = Mesh(np.array(jax.devices()).reshape(2, 2).T, ("dp", "ep"))
    both = PartitionSpec(("dp", "ep"))
    with moe_mlir.jax.ExpertParallel(plan, mesh, "ep") as ep:
        by_rank = jax.shard_map(
            lambda *a: layers.layer(ep, *a),
            mesh=mesh,
            in_specs=(both, both, both, PartitionSpec()),
            out_specs=both,
        )
        grads = jax.jit(jax.grad(lambda *a: by_rank(*a).sum(), argnums=(0, 2, 3)))
        wanted = jax.grad(lambda *a: layers.dense(*a).sum(), argnums=(0, 2, 3))
        found = grads(x, idx, weights, factor)
        for grad, want in zip(found, wanted(x, idx, weights, factor), strict=True):
            assert layers.same(grad, want)


def test_results_are_pytrees(generator):
    plan = Exchange(**layers.USUAL, dtype="f32")
    x, idx, weights, _ = layers.inputs(generator, plan, 2)
    with moe_mlir.jax.ExpertParallel(plan, layers.mesh_of(2), "ep") as ep:
        recv = jax.jit(ep.dispatch)(x, idx, weights)
        assert isinstance(recv, moe_mlir.jax.Received)
        assert isinstance(recv.handle, moe_mlir.jax.Handle)
        leaves, tree = jax.tree.flatten(recv)
        assert len(leaves) == 10  # without scales, offsets and counts
        again = jax.tree.unflatten(tree, leaves)
        assert again.handle.send_row is recv.handle.send_row
        out = jax.jit(ep.combine)(recv.x, recv.handle)
        ranks = [len({e >= 4 for e in row if e >= 0}) for row in idx.tolist()]
        assert layers.same(out, x * np.array(ranks)[:, None])
