# ===- train.py - trains with expert parallelism in JAX -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Train the language model of examples/torch_moe in JAX on two devices, and a dense one on one.

The dense model computes every expert for every token. Both begin with the same values and see the
same characters, so their losses have to agree step by step::

    python examples/jax_moe/train.py          # 2 CPU devices of one process, 200 steps
    python examples/jax_moe/train.py --gpu    # 2 GPUs

It ends with an error where they differ by more than rounding can explain.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--gpu", action="store_true", help="GPUs instead of CPU devices")
    parser.add_argument("--artifact", help="the compiled plan, without a compiler")
    parser.add_argument(
        "--json", type=Path, help="write losses and loads here (plot.py draws them)"
    )
    return parser.parse_args()


OPTIONS = parse()
# Before JAX is imported.
if OPTIONS.gpu:
    # The runtime's symmetric memory is what JAX leaves.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
else:
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={OPTIONS.devices}"

sys.path.append(str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import language_model as lm
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import moe_mlir as moe

# GPUs would multiply f32 in 19 bits.
jax.config.update("jax_default_matmul_precision", "highest")
SPREAD, SAME = PartitionSpec("ep"), PartitionSpec()
Parameters = dict[str, jax.Array]


class Outcome(NamedTuple):
    """What a layer returns.

    `out` has its rows, `imbalance` is the part that its tokens have in the load-balancing loss of
    Switch Transformer, `load` has the rows of each expert, and `chosen` the experts of each
    token. `doubt` is how much more probable an expert is that was not chosen.
    """

    out: jax.Array
    imbalance: jax.Array
    load: jax.Array
    chosen: jax.Array
    doubt: jax.Array


def route(x: jax.Array, router: jax.Array, chosen: jax.Array | None) -> tuple[jax.Array, ...]:
    """Probabilities of all experts, the experts of each token, their weights, and the doubt."""
    probabilities = jax.nn.softmax(x @ router)
    best, idx = jax.lax.top_k(probabilities, lm.TOP_K)
    chosen = idx.astype(jnp.int32) if chosen is None else chosen
    weights = jnp.take_along_axis(probabilities, chosen, 1)
    doubt = jax.lax.stop_gradient(best[:, -1] - weights.min(-1)).max()
    return probabilities, chosen, weights / weights.sum(-1, keepdims=True), doubt


def imbalance(probabilities: jax.Array, load: jax.Array) -> jax.Array:
    """What the tokens of this device contribute to the load-balancing loss, which is 1 when even.

    `load` has the rows of all experts from all devices.
    """
    share = load / load.sum()
    return lm.EXPERTS * (share * probabilities.sum(0)).sum() / lm.TOKENS


def moe_layer(ep: moe.jax.ExpertParallel, x: jax.Array, values: Parameters, chosen) -> Outcome:
    """Router, dispatch, experts, combine. `values` has the experts of this device."""
    probabilities, chosen, weights, doubt = route(x, values["moe.router.matrix"], chosen)
    recv = ep.dispatch(x, chosen, weights)
    # Rows are grouped by expert, as many as expert_counts says.
    inner = jax.lax.ragged_dot(recv.x, values["moe.experts.up"], recv.expert_counts)
    y = jax.lax.ragged_dot(jax.nn.silu(inner), values["moe.experts.down"], recv.expert_counts)
    out = ep.combine(y, recv.handle, recv.topk_weights)
    # Each device has room for as many counts; some may own one expert less.
    counts = jnp.zeros((ep.ranks, len(recv.expert_counts)), jnp.int32)
    counts = counts.at[jax.lax.axis_index("ep")].set(recv.expert_counts)
    load = jax.lax.psum(counts, "ep").flatten()[places(ep.plan, ep.ranks)]
    return Outcome(out, imbalance(probabilities, load), load, chosen, doubt)


def dense_layer(x: jax.Array, values: Parameters, chosen) -> Outcome:
    """The same on one device: every expert computes every token."""
    probabilities, chosen, weights, doubt = route(x, values["moe.router.matrix"], chosen)
    inner = jax.nn.silu(jnp.einsum("th,ehi->tei", x, values["moe.experts.up"]))
    every = jnp.einsum("tei,eih->teh", inner, values["moe.experts.down"])
    out = (weights[..., None] * jnp.take_along_axis(every, chosen[..., None], 1)).sum(1)
    load = jnp.bincount(chosen.flatten(), length=lm.EXPERTS)
    return Outcome(out, imbalance(probabilities, load), load, chosen, doubt)


def places(plan: moe.Exchange, ranks: int) -> np.ndarray:
    """Where experts are in arrays that have room for as many on each device."""
    local = plan.local_experts(ranks)
    owned = [range(r * local, r * local + len(plan.experts_of(r, ranks))) for r in range(ranks)]
    return np.concatenate(owned)


def normalize(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6)


def loss(layer: Callable[..., Outcome], values: Parameters, text, follows, chosen):
    """What the tokens of this device contribute to the loss, and load, chosen and doubt."""
    x = values["embedding"][text] + values["position"]
    total, outcomes = jnp.zeros(()), []
    for block in range(lm.BLOCKS):
        prefix = f"blocks.{block}."
        mine = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
        heads = (normalize(x) @ mine["qkv"]).reshape(*x.shape[:2], 3, lm.HEADS, -1)
        attended = jax.nn.dot_product_attention(*jnp.moveaxis(heads, 2, 0), is_causal=True)
        x = x + attended.reshape(x.shape) @ mine["out"]
        experts = None if chosen is None else chosen[block]
        found = layer(normalize(x).reshape(-1, lm.HIDDEN), mine, experts)
        x, total = x + found.out.reshape(x.shape), total + lm.BALANCE * found.imbalance
        outcomes.append(found[2:])
    logits = jax.nn.log_softmax(normalize(x) @ values["head"])
    total -= jnp.take_along_axis(logits, follows[..., None], -1).sum() / lm.TOKENS
    loads, choices, doubts = map(jnp.stack, zip(*outcomes, strict=True))
    return total, (loads, choices, doubts.max())


def train(objective: Callable[..., Any], values: Parameters, data, chosen) -> tuple[list, list]:
    """The loss of each step over the tokens of all devices, and load, chosen and doubt.

    `chosen` has the experts of each token, of each block, of each step, or None.
    """

    @jax.jit
    def step(number, values, moments, *batch):
        (value, found), grads = jax.value_and_grad(objective, has_aux=True)(values, *batch)

        def adam(value, grad, first, second):
            first = lm.BETAS[0] * first + (1 - lm.BETAS[0]) * grad
            second = lm.BETAS[1] * second + (1 - lm.BETAS[1]) * grad * grad
            mean, square = (
                moment / (1 - beta**number)
                for moment, beta in zip((first, second), lm.BETAS, strict=True)
            )
            return value - lm.RATE * mean / (jnp.sqrt(square) + lm.EPSILON), first, second

        moved = {name: adam(values[name], grads[name], *moments[name]) for name in values}
        values = {name: new for name, (new, *_) in moved.items()}
        return value, found, values, {name: new for name, (_, *new) in moved.items()}

    moments = {name: [jnp.zeros_like(value)] * 2 for name, value in values.items()}
    losses, outcomes = [], []
    for number, (batch, experts) in enumerate(zip(data, chosen, strict=True), 1):
        value, found, values, moments = step(float(number), values, moments, *batch, experts)
        losses.append(float(value))
        outcomes.append(jax.device_get(found))
    return losses, outcomes


def main() -> int:
    ranks, data = OPTIONS.devices, lm.batches(OPTIONS.steps)
    kind = "gpu" if OPTIONS.gpu else "cpu"
    devices = [device for device in jax.devices() if device.platform == kind][:ranks]
    if len(devices) < ranks:
        raise SystemExit(f"expected {ranks} devices of kind {kind}, found {len(devices)}")
    mesh = Mesh(np.array(devices), ("ep",))
    plan, values = lm.plan_of(ranks), lm.initial_values()
    spread = {name: SPREAD if lm.is_expert(name) else SAME for name in values}

    def room(name: str, value: np.ndarray) -> np.ndarray:
        """Experts where their devices have them."""
        if not lm.is_expert(name):
            return value
        everywhere = np.zeros((ranks * plan.local_experts(ranks), *value.shape[1:]), value.dtype)
        everywhere[places(plan, ranks)] = value
        return everywhere

    with moe.jax.ExpertParallel(plan, mesh, "ep", artifact=OPTIONS.artifact) as ep:

        def on_device(*given: Any):
            value, (load, chosen, doubt) = loss(functools.partial(moe_layer, ep), *given, None)
            return jax.lax.psum(value, "ep"), (load, chosen, jax.lax.pmax(doubt, "ep"))

        by_device = jax.shard_map(
            on_device, mesh=mesh, in_specs=(spread, SPREAD, SPREAD),
            out_specs=(SAME, (SAME, PartitionSpec(None, "ep"), SAME)),
        )  # fmt: skip
        placed = {
            name: jax.device_put(room(name, value), NamedSharding(mesh, spread[name]))
            for name, value in values.items()
        }
        nothing = [None] * len(data)
        parallel, found = train(lambda *given: by_device(*given[:-1]), placed, data, nothing)
    load, chosen, _ = zip(*found, strict=True)
    whole = {name: jax.device_put(value, devices[0]) for name, value in values.items()}
    dense, found = train(functools.partial(loss, dense_layer), whole, data, chosen)
    result = {
        "framework": "JAX", "device": kind, "ranks": ranks,
        "parallel": parallel, "dense": dense, "load": [rows.tolist() for rows in load],
        "doubt": max(float(doubt) for _, _, doubt in found),
    }  # fmt: skip
    return lm.conclude(result, OPTIONS.json)


if __name__ == "__main__":
    sys.exit(main())
