# ===- rank_process.py - a process of a job of several -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What test_processes.py starts: ``rank_process.py PROCESS PROCESSES DEVICES ADDRESS HOW``.

HOW is ``distributed`` for a group over the service of jax.distributed, ``env`` for one
of the environment, or ``alone`` where the other processes never make the group.
"""

import os
import sys

import jax
import jax.numpy as jnp
import layers
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import moe_mlir.jax
from moe_mlir import Group
from moe_mlir.exchange import Exchange

process, processes, devices = map(int, sys.argv[1:4])
address, how = sys.argv[4:]
jax.config.update("jax_cpu_enable_async_dispatch", False)
jax.distributed.initialize(address, processes, process, initialization_timeout=60)
plan = Exchange(**layers.USUAL, dtype="f32", layout="expert_major")
mesh = Mesh(np.array(jax.devices()).reshape(processes, -1)[:, :2].flatten(), ("ep",))
ranks = mesh.size
if how == "alone":
    try:
        if process == 0:
            moe_mlir.jax.ExpertParallel(plan, mesh, "ep", timeout=3)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
    if process == 0:
        sys.stdin.read()  # The other process needs the service in this one.
    os._exit(0)  # without the barrier of jax.distributed
group = Group.from_env() if how == "env" else None
with moe_mlir.jax.ExpertParallel(plan, mesh, "ep", group=group) as ep:
    everything = layers.inputs(np.random.default_rng(5), plan, ranks)
    along, same = NamedSharding(mesh, PartitionSpec("ep")), NamedSharding(mesh, PartitionSpec())
    shardings = (along, along, along, same)
    arrays = [
        jax.make_array_from_callback(a.shape, s, lambda i, a=a: a[i])
        for a, s in zip(everything, shardings, strict=True)
    ]
    by_rank = layers.spread(ep, lambda *a: layers.layer(ep, *a))
    grad = jax.jit(jax.value_and_grad(lambda *a: (by_rank(*a) ** 2).sum(), argnums=(0, 2)))
    # Programs that do not depend on each other.
    for _, found in [grad(*arrays) for _ in range(20)]:
        jax.block_until_ready(found)
    wanted = jax.grad(lambda *a: (layers.dense(*a) ** 2).sum(), argnums=(0, 2))
    for got, want in zip(found, wanted(*map(jnp.asarray, everything)), strict=True):
        for shard in got.addressable_shards:
            assert layers.same(shard.data, want[shard.index])
if how == "distributed":
    # One process has a group of its own before that with the other one.
    square = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("dp", "ep"))
    assert [device.process_index for device in square.devices.flat] == [0, 0, 0, 1]
    both = PartitionSpec(("dp", "ep"))
    everything = layers.inputs(np.random.default_rng(7), plan, 4)
    arrays = [
        jax.make_array_from_callback(a.shape, NamedSharding(square, both), lambda i, a=a: a[i])
        for a in everything[:3]
    ]
    factor = jnp.asarray(everything[3])
    with moe_mlir.jax.ExpertParallel(plan, square, "ep") as ep:
        step = jax.shard_map(
            lambda *a: layers.layer(ep, *a, factor), mesh=square, in_specs=both, out_specs=both
        )
        out = jax.block_until_ready(jax.jit(step)(*arrays))
    wanted = layers.dense(*map(jnp.asarray, everything))
    for shard in out.addressable_shards:
        assert layers.same(shard.data, wanted[shard.index])
# Read when the devices were made.
jax.config.update("jax_cpu_enable_async_dispatch", True)
try:
    moe_mlir.jax.ExpertParallel(plan, mesh, "ep")
except ValueError as error:
    assert "'jax_cpu_enable_async_dispatch', False)" in str(error)
else:
    raise AssertionError("programs that may overlap were not refused")
print("done", flush=True)
