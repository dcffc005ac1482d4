# ===- gpu_scenes.py - JAX programs on GPUs -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""``python gpu_scenes.py SCENE FOLDER``, by scripts/test-gpu: moe_mlir.jax on two GPUs.

FOLDER has the artifacts of scene_plans.py as jax-NAME.so. In the scene ``threads`` both
GPUs are those of one process, and in ``processes`` each has one. With ``_collective``
at the end of their names exchanges run on XLA's stream of that name. Gradients of layers
are compared bit by bit with those of dense ones, and errors reach all ranks.
"""

from __future__ import annotations

import os
import socket
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
from scene_plans import PLANS, RANKS

import moe_mlir.jax

SECONDS = 100
ALONG = PartitionSpec("ep")


class Scene:
    """Two GPUs, and how exchanges run on them."""

    def __init__(self, folder: str, stream: str | None) -> None:
        devices = [device for device in jax.devices() if device.platform == "gpu"]
        self.mesh = Mesh(np.array(devices[:RANKS]), ("ep",))
        self.folder, self.stream = folder, stream

    def join(self, name: str, **options):
        """An ExpertParallel of a plan."""
        artifact = f"{self.folder}/jax-{name}.so"
        return moe_mlir.jax.ExpertParallel(
            PLANS[name], self.mesh, "ep", stream=self.stream, artifact=artifact, **options
        )

    def spread(self, arrays):
        """Arrays of all processes; each puts its own part on its devices."""
        specs = (ALONG, ALONG, ALONG, PartitionSpec())
        return [
            jax.make_array_from_callback(
                a.shape, NamedSharding(self.mesh, s), lambda i, a=a: np.asarray(a)[i]
            )
            for a, s in zip(arrays, specs, strict=True)
        ]


def check_mine(array, wanted) -> None:
    """The parts that this process has."""
    for shard in array.addressable_shards:
        assert layers.same(shard.data, np.asarray(wanted)[shard.index])


def gradients(scene: Scene) -> None:
    for name, plan in PLANS.items():
        arrays = layers.inputs(np.random.default_rng(3), plan, RANKS)
        with scene.join(name) as ep:
            by_rank = layers.spread(ep, lambda *a, ep=ep: layers.layer(ep, *a))

            def value(function):
                return jax.value_and_grad(
                    lambda *a: function(*a).astype(jnp.float32).sum(), argnums=(0, 2, 3)
                )

            step = jax.jit(value(by_rank))
            given = scene.spread(arrays)
            for _, found in [step(*given) for _ in range(10)]:
                jax.block_until_ready(found)
            ep.check()
        cpu = jax.local_devices(backend="cpu")[0]
        with jax.default_device(cpu):
            _, wanted = value(layers.dense)(*map(jnp.asarray, arrays))
        for got, want in zip(found, wanted, strict=True):
            check_mine(got, want)


def errors(scene: Scene) -> None:
    """A wrong id on the last rank: every rank hears of it, and goes on after a reset."""
    plan = PLANS["aligned"]
    x, idx, weights, factor = layers.inputs(np.random.default_rng(4), plan, RANKS)
    wrong = idx.copy()
    wrong[-1, 1] = 9
    with scene.join("aligned", timeout=5) as ep:
        step = jax.jit(layers.spread(ep, lambda *a: layers.layer(ep, *a)))
        try:
            jax.block_until_ready(step(*scene.spread((x, wrong, weights, factor))))
            time.sleep(1)
            ep.check()
        except (jax.errors.JaxRuntimeError, moe_mlir.MoEError):
            pass
        else:
            raise AssertionError("nothing was raised")
        if jax.process_count() == 1:
            ep.reset()
            out = step(*scene.spread((x, idx, weights, factor)))
            check_mine(out, layers.dense(jnp.asarray(x), idx, weights, jnp.asarray(factor)))


def start_processes(scene: str, folder: str) -> None:
    """This program again, for each GPU."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    running = [
        subprocess.Popen([sys.executable, __file__, scene, folder, f"{rank}", f"{port}"])
        for rank in range(RANKS)
    ]
    try:
        end = time.monotonic() + SECONDS
        codes = [one.wait(timeout=max(end - time.monotonic(), 0)) for one in running]
    finally:
        for one in running:
            one.kill()
    assert not any(codes), f"exit statuses {codes}"


def main() -> None:
    scene, folder, *member = sys.argv[1:]
    if scene.startswith("processes"):
        if not member:
            return start_processes(scene, folder)
        rank, port = map(int, member)
        jax.distributed.initialize(f"127.0.0.1:{port}", RANKS, rank, local_device_ids=rank)
    of_name = Scene(folder, "collective" if scene.endswith("_collective") else None)
    gradients(of_name)
    errors(of_name)


if __name__ == "__main__":
    main()
    if len(sys.argv) == 3:
        print("done")
