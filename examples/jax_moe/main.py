# ===- main.py - a Mixture-of-Experts layer in JAX -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Trains a Mixture-of-Experts layer in JAX, and the same layer without experts spread.

``python examples/jax_moe/main.py`` takes four CPU devices of one process;
``--devices 2`` two of them, and ``--gpu`` GPUs. A router chooses two of six experts, a
dispatch sends rows to the devices that own them, each expert is a network of two layers,
and a combine brings the rows back. Losses and gradients are compared with those of a
dense layer, which computes all experts for all tokens on one device.
"""

from __future__ import annotations

import argparse
import os

EXPERTS, TOP_K, HIDDEN, INNER, TOKENS = 6, 2, 32, 64, 64
STEPS, RATE = 20, 0.3


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=4)
    parser.add_argument("--gpu", action="store_true", help="GPUs instead of CPU devices")
    return parser.parse_args()


OPTIONS = parse()
if not OPTIONS.gpu:
    # Before JAX is imported.
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={OPTIONS.devices}"

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

import moe_mlir as moe

SPREAD, SAME = PartitionSpec("ep"), PartitionSpec()


def route(router, x):
    """The experts of each token, and their weights."""
    weights, idx = jax.lax.top_k(jax.nn.softmax(x @ router), TOP_K)
    return idx.astype(jnp.int32), weights / weights.sum(-1, keepdims=True)


def layer(ep, params, x):
    """The layer on one device: `params` has the experts it owns, `x` its tokens."""
    idx, weights = route(params["router"], x)
    recv = ep.dispatch(x, idx, weights)
    # Rows are grouped by expert, as many as expert_counts says.
    inner = jax.nn.gelu(jax.lax.ragged_dot(recv.x, params["up"], recv.expert_counts))
    y = jax.lax.ragged_dot(inner, params["down"], recv.expert_counts)
    return ep.combine(y, recv.handle, recv.topk_weights)


def dense(owner, params, x):
    """The same for all tokens; `owner` says where the weights of each expert are."""
    idx, weights = route(params["router"], x)
    inner = jax.nn.gelu(jnp.einsum("th,ehi->tei", x, params["up"][owner]))
    all_out = jnp.einsum("tei,eih->teh", inner, params["down"][owner])
    chosen = jnp.take_along_axis(all_out, idx[..., None], 1)
    return (weights[..., None] * chosen).sum(1)


def main() -> None:
    """Train both, step by step."""
    ranks = OPTIONS.devices
    mesh = Mesh(np.array(jax.devices()[:ranks]), ("ep",))
    # Zeros where no token is: weights of experts have gradients of all rows.
    plan = moe.Exchange(
        num_experts=EXPERTS,
        top_k=TOP_K,
        hidden=HIDDEN,
        dtype="f32",
        max_tokens=TOKENS,
        layout="expert_major",
        padding="zero",
        combine_weights=True,
        gradients=True,
    )
    ep = moe.jax.ExpertParallel(plan, mesh, "ep")
    # Each device has room for EL experts; some own one less.
    local = plan.local_experts(ranks)
    owner = [r * local + i for r in range(ranks) for i in range(len(plan.experts_of(r, ranks)))]
    owner = jnp.array(owner)

    keys = jax.random.split(jax.random.key(0), 5)
    params = {
        "router": jax.random.normal(keys[0], (HIDDEN, EXPERTS)) * HIDDEN**-0.5,
        "up": jax.random.normal(keys[1], (ranks * local, HIDDEN, INNER)) * HIDDEN**-0.5,
        "down": jax.random.normal(keys[2], (ranks * local, INNER, HIDDEN)) * INNER**-0.5,
    }
    specs = {"router": SAME, "up": SPREAD, "down": SPREAD}
    x = jax.random.normal(keys[3], (ranks * TOKENS, HIDDEN))
    goal = jnp.sin(3 * x @ jax.random.normal(keys[4], (HIDDEN, HIDDEN)) * HIDDEN**-0.5)

    by_device = jax.shard_map(
        lambda p, x: layer(ep, p, x), mesh=mesh, in_specs=(specs, SPREAD), out_specs=SPREAD
    )

    def trainer(function):
        def loss(p):
            return ((function(p, x) - goal) ** 2).mean()

        @jax.jit
        def step(p):
            value, grads = jax.value_and_grad(loss)(p)
            return value, grads, jax.tree.map(lambda a, g: a - RATE * g, p, grads)

        return step

    step, dense_step = trainer(by_device), trainer(lambda p, x: dense(owner, p, x))
    ours = theirs = params
    worst = 0.0
    for number in range(STEPS):
        value, grads, ours = step(ours)
        expected, wanted, theirs = dense_step(theirs)
        for got, want in zip(jax.tree.leaves(grads), jax.tree.leaves(wanted), strict=True):
            worst = max(worst, float(jnp.abs(got - want).max() / jnp.abs(want).max()))
        if number % 5 == 0 or number == STEPS - 1:
            print(f"step {number:2}: loss {value:.6f}, dense {expected:.6f}")
    print(f"{ranks} devices: gradients differ by at most {worst:.1e} of the largest")
    ep.close()
    # Sums of f32 in another order, over the steps that have moved the weights apart.
    if not worst < 1e-4:
        raise SystemExit("the gradients are not those of the dense layer")


if __name__ == "__main__":
    main()
