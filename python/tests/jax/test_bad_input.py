# ===- test_bad_input.py - what is refused, when, and how -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Messages with what was expected and seen: at trace time where that can be."""

import jax
import jax.numpy as jnp
import layers
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import moe_mlir.jax
from moe_mlir import Group, MoEError
from moe_mlir.exchange import Exchange
from moe_mlir.runtime import Code

PLAN = Exchange(**layers.USUAL, dtype="f32", layout="expert_major")
ALONG = PartitionSpec("ep")


@pytest.fixture(scope="module")
def ep():
    with moe_mlir.jax.ExpertParallel(PLAN, layers.mesh_of(2), "ep") as ep:
        yield ep


def message(kind, function, *arguments) -> str:
    with pytest.raises(kind) as caught:
        function(*arguments)
    return str(caught.value)


def test_types_and_shapes(ep, generator):
    x, idx, weights, _ = layers.inputs(generator, PLAN, 2)
    trace = jax.jit(ep.dispatch).lower  # nothing runs
    assert message(TypeError, trace, x.astype(np.float16), idx, weights) == (
        "dispatch: expected x to be float32[T, 8], got float16[6, 8]"
    )
    assert message(ValueError, trace, x[:, :4], idx, weights) == (
        "dispatch: expected x to be float32[T, 8], got float32[6, 4]"
    )
    assert message(ValueError, trace, x, idx[:6], weights) == (
        "dispatch: expected topk_idx to be int32[6, 3], got int32[3, 3]"
    )
    assert message(TypeError, trace, x, idx, weights, x) == (
        "dispatch: expected no scales, as the plan says, got some"
    )
    wide = Exchange(**{**layers.USUAL, "index_dtype": "i64"})
    with moe_mlir.jax.ExpertParallel(wide, layers.mesh_of(2), "ep") as other:
        text = message(
            TypeError, jax.jit(other.dispatch).lower, x.astype(jnp.bfloat16), idx, weights
        )
    assert text == (
        "dispatch: expected topk_idx to be int64[6, 3], got int32[6, 3] (JAX has 64-bit "
        "integers with jax_enable_x64 alone)"
    )


def test_more_tokens_than_max_tokens(ep, generator):
    x, idx, weights, _ = layers.inputs(generator, PLAN, 2, layers.TOKENS + 1)
    assert message(ValueError, jax.jit(ep.dispatch).lower, x, idx, weights) == (
        "dispatch: expected at most 6 tokens on a rank, which is max_tokens of the plan, got 7"
    )


def test_no_handle(ep, generator):
    x, *_ = layers.inputs(generator, PLAN, 2)
    assert "expected the handle of a dispatch (recv.handle), got None" in message(
        TypeError, jax.jit(lambda x: ep.combine(x, None)).lower, x
    )


def test_meshes():
    mesh = layers.mesh_of(2)
    make = moe_mlir.jax.ExpertParallel
    assert message(ValueError, make, PLAN, mesh, "tp") == (
        "ExpertParallel: expected axis to be one of ep, got 'tp'"
    )
    text = message(TypeError, make, PLAN, 2, "ep")
    assert "expected mesh to be a jax.sharding.Mesh, got 2" in text
    assert "expected plan to be an Exchange, got 'x'" in message(TypeError, make, "x", mesh, "ep")
    symmetric = Exchange(**layers.USUAL, symmetric_recv=True)
    assert "expected a plan without symmetric_recv, since XLA allocates the arrays" in message(
        ValueError, make, symmetric, mesh, "ep"
    )
    kept = Exchange(**layers.USUAL, keep_blocks=True)
    assert "expected a plan without keep_blocks, a part of which lies in memory of the host" in (
        message(ValueError, make, kept, mesh, "ep")
    )


def test_another_number_of_devices(ep, generator):
    x, idx, weights, _ = layers.inputs(generator, PLAN, 4)
    step = jax.shard_map(
        ep.dispatch, mesh=layers.mesh_of(4), in_specs=(ALONG,) * 3, out_specs=ALONG
    )
    assert message(ValueError, jax.jit(step).lower, x, idx, weights) == (
        "dispatch: expected the axis 'ep' to have the 2 devices of the ExpertParallel's mesh, got 4"
    )


def test_devices_in_another_order(ep, generator):
    """Position on the axis and rank would differ, and with them whose experts are whose."""
    x, idx, weights, _ = layers.inputs(generator, PLAN, 2)
    mesh = Mesh(np.array(jax.devices()[1::-1]), ("ep",))
    step = jax.shard_map(ep.dispatch, mesh=mesh, in_specs=(ALONG,) * 3, out_specs=ALONG)
    text = message(
        jax.errors.JaxRuntimeError,
        lambda *a: jax.block_until_ready(jax.jit(step)(*a)),
        x,
        idx,
        weights,
    )
    assert "expected the mesh that the ExpertParallel was made with" in text
    ep.reset()


def test_other_devices(ep, generator):
    x, idx, weights, _ = layers.inputs(generator, PLAN, 2)
    mesh = Mesh(np.array(jax.devices()[2:]), ("ep",))
    step = jax.shard_map(ep.dispatch, mesh=mesh, in_specs=(ALONG,) * 3, out_specs=ALONG)
    text = message(
        jax.errors.JaxRuntimeError,
        lambda *a: jax.block_until_ready(jax.jit(step)(*a)),
        x,
        idx,
        weights,
    )
    assert "expected a device of the mesh that the ExpertParallel was made with, got device" in text


def test_groups_that_do_not_fit():
    groups = Group.local(3)
    text = message(
        ValueError,
        lambda: moe_mlir.jax.ExpertParallel(PLAN, layers.mesh_of(2), "ep", group=groups),
    )
    assert text.startswith("ExpertParallel: expected group to be rank 0, 1 of 2, as the devices")
    for group in groups:
        assert not group.is_closed
        group.close()


def test_derivatives_that_are_not_defined(ep, generator):
    x, idx, weights, _ = layers.inputs(generator, PLAN, 2)
    plain = Exchange(**{**layers.USUAL, "gradients": False}, dtype="f32")
    with moe_mlir.jax.ExpertParallel(plain, layers.mesh_of(2), "ep") as other:
        text = message(TypeError, jax.grad(lambda x: other.dispatch(x, idx, weights).x.sum()), x)
    assert text.startswith("dispatch: expected a plan with gradients = True")

    def loss(x):
        recv = ep.dispatch(x, idx, weights)
        return (ep.combine(recv.x, recv.handle) ** 2).sum()

    text = message(TypeError, jax.grad(lambda x: jax.grad(loss)(x).sum()), x)
    assert "expected a first derivative" in text
    text = message(TypeError, jax.jvp, loss, (x,), (x,))
    assert "(jvp) to a custom_vjp" in text
    scaled = Exchange(**layers.USUAL, dtype="f8E4M3FN", scales=1)
    with moe_mlir.jax.ExpertParallel(scaled, layers.mesh_of(2), "ep") as other:
        x8 = x.astype(layers.numpy_type("f8E4M3FN"))
        text = message(
            TypeError,
            jax.grad(lambda s: other.dispatch(x8, idx, weights, s).topk_weights.sum()),
            np.ones((len(x), 1), np.float32),
        )
    assert text.startswith("dispatch: expected scales without a derivative")


def test_derivatives_of_lists(generator):
    """Those of the weights that lists repeat come by `topk_weights` alone."""
    x, idx, weights, _ = layers.inputs(generator, PLAN, 2)
    plan = Exchange(**layers.USUAL, dtype="f32", list_alignment=4)
    with moe_mlir.jax.ExpertParallel(plan, layers.mesh_of(2), "ep") as ep:

        def listed(weights):
            return ep.dispatch(x, idx, weights).list_weights.sum()

        text = message(TypeError, jax.grad(listed), weights)
        # What nothing depends on needs none.
        found = jax.grad(lambda x: ep.dispatch(x, idx, weights).list_weights.sum())(x)
        assert not found.any()
    assert text == (
        "dispatch: expected list_weights without a derivative, which only those of topk_weights "
        "have (jax.lax.stop_gradient)"
    )


def test_derivatives_that_come_back_with_8_bits(generator):
    """Wider ones would be rounded; those of 8-bit rows have 8 bits in all of JAX."""
    x, idx, weights, _ = layers.inputs(generator, PLAN, 2)
    plan = Exchange(**layers.USUAL, dtype="f32", combine_dtype="f8E4M3FN")
    with moe_mlir.jax.ExpertParallel(plan, layers.mesh_of(2), "ep") as ep:
        text = message(TypeError, jax.grad(lambda x: ep.dispatch(x, idx, weights).x.sum()), x)
    assert text == (
        "dispatch: expected x without a derivative, since it would come back as float8_e4m3fn, "
        "the combine_dtype of the plan, and x is float32; choose a combine_dtype of 16 bits or "
        "more (or jax.lax.stop_gradient)"
    )


def test_errors_of_ranks(generator):
    """They come as the call's error; check() has the fields, and reset() goes on."""
    x, idx, weights, factor = layers.inputs(generator, PLAN, 2)
    wrong = idx.copy()
    wrong[7, 1] = 9
    with moe_mlir.jax.ExpertParallel(PLAN, layers.mesh_of(2), "ep") as ep:
        step = jax.jit(layers.spread(ep, lambda *a: layers.layer(ep, *a)))
        text = message(
            jax.errors.JaxRuntimeError,
            lambda: jax.block_until_ready(step(x, wrong, weights, factor)),
        )
        assert "expert id" in text and "9" in text
        with pytest.raises(MoEError) as caught:
            ep.check()
        assert caught.value.cause == Code.INVALID_EXPERT
        assert caught.value.origin == 1
        ep.reset()
        out = step(x, idx, weights, factor)
        assert layers.same(out, layers.dense(x, idx, weights, factor))


def test_closed(generator):
    x, idx, weights, factor = layers.inputs(generator, PLAN, 2)
    ep = moe_mlir.jax.ExpertParallel(PLAN, layers.mesh_of(2), "ep")
    step = jax.jit(layers.spread(ep, lambda *a: layers.layer(ep, *a)))
    jax.block_until_ready(step(x, idx, weights, factor))
    ep.close()
    ep.close()
    text = message(
        jax.errors.JaxRuntimeError, lambda: jax.block_until_ready(step(x, idx, weights, factor))
    )
    assert "expected an open ExpertParallel" in text
    text = message(MoEError, jax.jit(lambda x: ep.dispatch(x, idx, weights)).lower, x)
    assert text == (
        "dispatch: expected an open ExpertParallel, got <ExpertParallel of 2 devices along 'ep', "
        "closed>"
    )


def test_a_given_group_that_is_closed(generator):
    x, idx, weights, factor = layers.inputs(generator, PLAN, 2)
    groups = Group.local(2)
    ep = moe_mlir.jax.ExpertParallel(PLAN, layers.mesh_of(2), "ep", group=groups)
    step = jax.jit(layers.spread(ep, lambda *a: layers.layer(ep, *a)))
    jax.block_until_ready(step(x, idx, weights, factor))
    for group in groups:
        group.close()
    text = message(
        jax.errors.JaxRuntimeError, lambda: jax.block_until_ready(step(x, idx, weights, factor))
    )
    assert "the group is closed" in text
    assert ep.is_closed
    ep.close()
