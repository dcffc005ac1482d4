# ===- gpu_scenes.py - JAX programs on GPUs -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What needs GPUs and a JAX with CUDA, so no test of this folder runs it.

``python gpu_scenes.py threads GPUS [STREAM]`` takes GPUs of one process, and
``python gpu_scenes.py processes GPUS [STREAM]`` a process for each. Layers and gradients
in each layout are compared bit by bit with dense ones, errors are shown, and a program of
4096 tokens is timed. STREAM is the name of one of XLA's, such as ``collective``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

# The runtime's symmetric memory is what JAX leaves.
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")

import jax
import jax.numpy as jnp
import layers
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import moe_mlir.jax
from moe_mlir.exchange import Exchange

ADDRESS = "127.0.0.1:9476"
STREAM = sys.argv[3] if len(sys.argv) > 3 else None
ALONG = PartitionSpec("ep")
LAYOUTS = (
    {"layout": "rank_major"},
    {"layout": "slab"},
    {"layout": "expert_major", "alignment": 4},
    {"layout": "expert_major", "combine_weights": True},
    {"layout": "expert_major", "dtype": "bf16"},
    {"layout": "expert_major", "dtype": "f8E4M3FN"},
)


def spread_over(mesh: Mesh, arrays):
    """Arrays of all processes; each puts its own part on its devices."""
    specs = (ALONG, ALONG, ALONG, PartitionSpec())
    return [
        jax.make_array_from_callback(a.shape, NamedSharding(mesh, s), lambda i, a=a: a[i])
        for a, s in zip(arrays, specs, strict=False)
    ]


def mine(array) -> list[tuple[object, np.ndarray]]:
    return [(shard.index, np.asarray(shard.data)) for shard in array.addressable_shards]


def gradients(mesh: Mesh) -> None:
    ranks = mesh.size
    for options in LAYOUTS:
        plan = Exchange(**{**layers.USUAL, "dtype": "f32", **options})
        arrays = layers.inputs(np.random.default_rng(3), plan, ranks)
        with moe_mlir.jax.ExpertParallel(plan, mesh, "ep", stream=STREAM) as ep:
            by_rank = layers.spread(ep, lambda *a, ep=ep: layers.layer(ep, *a))

            def value(function):
                return jax.value_and_grad(
                    lambda *a: function(*a).astype(jnp.float32).sum(), argnums=(0, 2, 3)
                )

            step = jax.jit(value(by_rank))
            given = spread_over(mesh, arrays)
            for _, found in [step(*given) for _ in range(10)]:
                jax.block_until_ready(found)
            ep.check()
        cpu = jax.local_devices(backend="cpu")[0]
        with jax.default_device(cpu):
            _, wanted = value(layers.dense)(*map(jnp.asarray, arrays))
        for got, want in zip(found, wanted, strict=True):
            for index, part in mine(got):
                assert layers.same(part, np.asarray(want)[index]), options
        print(f"{ranks} GPUs, {options}: gradients are equal", flush=True)


def errors(mesh: Mesh) -> None:
    """A wrong id on the last rank: every rank hears of it, and goes on after a reset."""
    plan = Exchange(**layers.USUAL, dtype="f32", layout="expert_major")
    x, idx, weights, factor = layers.inputs(np.random.default_rng(4), plan, mesh.size)
    wrong = idx.copy()
    wrong[-1, 1] = 9
    with moe_mlir.jax.ExpertParallel(plan, mesh, "ep", stream=STREAM, timeout=5) as ep:
        step = jax.jit(layers.spread(ep, lambda *a: layers.layer(ep, *a)))
        try:
            jax.block_until_ready(step(*spread_over(mesh, (x, wrong, weights, factor))))
            time.sleep(1)
            ep.check()
        except (jax.errors.JaxRuntimeError, moe_mlir.MoEError) as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        else:
            raise AssertionError("nothing was raised")
        if jax.process_count() == 1:
            ep.reset()
            out = step(*spread_over(mesh, (x, idx, weights, factor)))
            for index, part in mine(out):
                dense = np.asarray(layers.dense(jnp.asarray(x), idx, weights, jnp.asarray(factor)))
                assert layers.same(part, dense[index])
            print("after a reset results are equal", flush=True)


def times(mesh: Mesh) -> None:
    """Dispatch and combine of 4096 tokens per rank: many of them in one program."""
    tokens, steps = 4096, 20
    plan = Exchange(
        num_experts=256, top_k=8, hidden=7168, dtype="bf16", max_tokens=tokens, layout="rank_major"
    )
    arrays = layers.inputs(np.random.default_rng(6), plan, mesh.size, tokens)[:3]
    with moe_mlir.jax.ExpertParallel(plan, mesh, "ep", stream=STREAM) as ep:

        def on_rank(x, idx, weights):
            def step(x, _):
                recv = ep.dispatch(x, idx, weights)
                return ep.combine(recv.x, recv.handle), None

            return jax.lax.scan(step, x, None, length=steps)[0]

        program = jax.jit(layers.spread(ep, on_rank, factor_last=False))
        given = spread_over(mesh, arrays)
        jax.block_until_ready(program(*given))
        best = min(timed(lambda: jax.block_until_ready(program(*given))) for _ in range(5))
        ep.check()
    print(
        f"{mesh.size} GPUs: dispatch and combine of {tokens} tokens: {best / steps * 1e6:.0f} us "
        "(compare with python -m moe_mlir bench of the same plan)",
        flush=True,
    )


def timed(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    how, count = sys.argv[1], int(sys.argv[2])
    if how == "processes":
        running = [
            subprocess.Popen([sys.executable, __file__, f"process{i}", *sys.argv[2:]])
            for i in range(count)
        ]
        codes = [one.wait(timeout=500) for one in running]
        sys.exit(max(map(abs, codes)))
    if how != "threads":
        number = int(how.removeprefix("process"))
        jax.distributed.initialize(ADDRESS, count, number, local_device_ids=number)
    devices = [device for device in jax.devices() if device.platform == "gpu"]
    if not devices:
        sys.exit("skipped: JAX has no GPUs")
    mesh = Mesh(np.array(devices[:count]), ("ep",))
    gradients(mesh)
    times(mesh)
    errors(mesh)
    print("done", flush=True)


if __name__ == "__main__":
    main()
