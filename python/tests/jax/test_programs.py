# ===- test_programs.py - exchanges inside larger programs -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Order of exchanges, loops, recomputation, and what XLA makes of the calls."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import layers
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import moe_mlir.jax
from moe_mlir.exchange import Exchange
from moe_mlir.jax._calls import on_stream

PLAN = Exchange(**layers.USUAL, dtype="f32", layout="expert_major")
ALONG = PartitionSpec("ep")


@pytest.fixture
def ep(request):
    ranks = getattr(request, "param", 4)
    with moe_mlir.jax.ExpertParallel(PLAN, layers.mesh_of(ranks), "ep") as ep:
        yield ep


on_two_and_four = pytest.mark.parametrize("ep", [2, 4], indirect=True)


@on_two_and_four
def test_independent_exchanges_pair_up(ep, generator):
    """XLA may start them in any order; ranks run them in one, and none waits for a thread."""
    many = 8
    x, idx, weights, factor = layers.inputs(generator, PLAN, ep.ranks)

    def on_rank(x, idx, weights, factor):
        # One function that is traced once: all its calls look alike.
        once = jax.jit(lambda x: layers.layer(ep, x, idx, weights, factor))
        return sum(once(x + i) * (i + 1) for i in range(many))

    step = jax.jit(layers.spread(ep, on_rank))
    expected = sum(layers.dense(x + i, idx, weights, factor) * (i + 1) for i in range(many))
    for _ in range(5):
        assert layers.same(step(x, idx, weights, factor), expected)


def test_programs_that_overlap(ep, generator):
    """Calls are enqueued before those ahead of them have ended."""
    x, idx, weights, factor = layers.inputs(generator, PLAN, ep.ranks)
    step = jax.jit(layers.spread(ep, lambda *a: layers.layer(ep, *a)))
    outs = [step(x + i, idx, weights, factor) for i in range(20)]
    for i, out in enumerate(outs):
        assert layers.same(out, layers.dense(x + i, idx, weights, factor))


@on_two_and_four
def test_beside_collectives_of_xla(ep, generator):
    x, idx, weights, factor = layers.inputs(generator, PLAN, ep.ranks)

    def on_rank(x, idx, weights, factor):
        sums = jax.lax.psum(x.sum(0), "ep")
        out = layers.layer(ep, x, idx, weights, factor)
        return out + sums + jax.lax.psum(out.sum(0), "ep")

    out = jax.jit(layers.spread(ep, on_rank))(x, idx, weights, factor)
    dense = layers.dense(x, idx, weights, factor)
    assert layers.same(out, dense + x.sum(0) + dense.sum(0))


@on_two_and_four
def test_scan_and_recomputation(ep, generator):
    """Three layers; routes are used again, or computed again, in the backward pass."""
    x, idx, weights, factor = layers.inputs(generator, PLAN, ep.ranks)
    factors = jnp.stack([factor, factor, factor])

    def stack(layer):
        def on_rank(x, idx, weights, factors):
            def step(x, factor):
                return layer(x, idx, weights, factor), None

            return jax.lax.scan(jax.checkpoint(step), x, factors)[0]

        return on_rank

    by_rank = layers.spread(ep, stack(lambda *a: layers.layer(ep, *a)))
    grad = jax.grad(lambda f, *a: f(*a).sum(), argnums=(1, 3, 4))
    found = jax.jit(lambda *a: grad(by_rank, *a))(x, idx, weights, factors)
    wanted = grad(stack(layers.dense), x, idx, weights, factors)
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_without_a_shard_map(ep, generator):
    """Arrays of all devices, one's below the other's, traced or not."""
    x, idx, weights, factor = layers.inputs(generator, PLAN, ep.ranks)
    factor = jnp.asarray(factor)

    def layer(x):
        return layers.layer(ep, x, idx, weights, factor)

    expected = layers.dense(x, idx, weights, factor)
    assert layers.same(jax.jit(layer)(x), expected)
    grad = jax.jit(jax.grad(lambda x: layer(x).sum()))(x)
    assert layers.same(grad, jax.grad(lambda x: layers.dense(x, idx, weights, factor).sum())(x))
    recv = ep.dispatch(x, idx, weights)
    assert layers.same(recv.expert_counts.sum(), (idx >= 0).sum())


def test_without_checks_of_shard_map(ep, generator):
    x, idx, weights, factor = layers.inputs(generator, PLAN, ep.ranks)
    step = jax.shard_map(
        lambda *a: layers.layer(ep, *a),
        mesh=ep.mesh,
        in_specs=(ALONG, ALONG, ALONG, PartitionSpec()),
        out_specs=ALONG,
        check_vma=False,
    )
    out = jax.jit(step)(x, idx, weights, factor)
    assert layers.same(out, layers.dense(x, idx, weights, factor))


def test_fewer_tokens_and_none(ep, generator):
    for tokens in (3, 0):
        x, idx, weights, factor = layers.inputs(generator, PLAN, ep.ranks, tokens)
        out = jax.jit(layers.spread(ep, lambda *a: layers.layer(ep, *a)))(x, idx, weights, factor)
        assert out.shape == x.shape
        assert layers.same(out, layers.dense(x, idx, weights, factor))


def test_weights_without_gradients_need_no_exchange(ep, generator):
    """The exchange for gradients of weights is left out where nothing asks for them."""
    x, idx, weights, _ = layers.inputs(generator, PLAN, ep.ranks)

    def loss(x):
        def on_rank(x, idx, weights):
            recv = ep.dispatch(x, idx, weights)
            return ep.combine(recv.x, recv.handle)

        return layers.spread(ep, on_rank, factor_last=False)(x, idx, weights).sum()

    text = jax.jit(jax.grad(loss)).lower(x).as_text()
    assert 'entry = "dispatch_backward_x"' in text
    assert 'entry = "dispatch_backward"' not in text

    def loss_of_weights(weights):
        recv = ep.dispatch(x, idx, weights)
        return (recv.topk_weights * recv.x.sum(1)).sum()

    text = jax.jit(jax.grad(loss_of_weights)).lower(weights).as_text()
    assert 'entry = "dispatch_backward_weights"' in text
    assert text.count('entry = "dispatch_backward') == 1


def test_xla_copies_nothing(ep, generator):
    """Rows go from XLA's buffers to XLA's buffers: no copy around the calls."""
    x, idx, weights, _ = layers.inputs(generator, PLAN, ep.ranks)

    def on_rank(x, idx, weights):
        recv = ep.dispatch(x, idx, weights)
        return ep.combine(recv.x, recv.handle)

    step = layers.spread(ep, on_rank, factor_last=False)
    text = jax.jit(step).lower(x, idx, weights).compile().as_text()
    assert len(re.findall(r"custom-call\(", text)) == 2
    assert not re.findall(r" (?:copy|transpose|copy-start)\(", text)


def test_stream_of_its_own():
    """XLA is told of the stream by an attribute, in every release of JAX that is known."""
    double = on_stream(lambda a: [a * 2], "3")
    step = jax.jit(lambda a: double(a)[0] + 1)
    assert '_xla_stream_annotation = "3"' in step.lower(jnp.ones(4)).as_text()
    assert step(jnp.ones(4)).tolist() == [3.0] * 4


def test_compiled_before(generator, tmp_path):
    """An artifact takes the place of the compiler, where it has the plan's entries."""
    ranks, path = 2, tmp_path / "plan.so"
    moe_mlir.compile(PLAN.mlir(ranks)).save(path)
    x, idx, weights, factor = layers.inputs(generator, PLAN, ranks)
    with moe_mlir.jax.ExpertParallel(PLAN, layers.mesh_of(ranks), "ep", artifact=path) as ep:
        step = jax.jit(layers.spread(ep, lambda *a: layers.layer(ep, *a)))
        expected = layers.dense(jnp.asarray(x), idx, weights, jnp.asarray(factor))
        assert layers.same(step(x, idx, weights, factor), expected)
    moe_mlir.compile(dataclasses.replace(PLAN, gradients=False).mlir(ranks)).save(path)
    with pytest.raises(KeyError, match="has no entry 'dispatch_backward'; its entries are"):
        moe_mlir.jax.ExpertParallel(PLAN, layers.mesh_of(ranks), "ep", artifact=path)
