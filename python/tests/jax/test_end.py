# ===- test_end.py - the end of JAX programs -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""A thread that has run a call may still hold the exchange when the program has ended."""

import subprocess
import sys
import time

PROGRAM = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import jax, jax.numpy as jnp, numpy as np
import moe_mlir as moe
from jax.sharding import Mesh, NamedSharding, PartitionSpec

def main():
    plan = moe.Exchange(num_experts=8, top_k=2, hidden=32, dtype="bf16", max_tokens=16)
    mesh, along = Mesh(np.array(jax.devices()), ("ep",)), PartitionSpec("ep")
    with moe.jax.ExpertParallel(plan, mesh, "ep") as ep:
        def on_rank(x, idx, weights):
            def step(x, _):
                recv = ep.dispatch(x, idx, weights)
                return ep.combine(recv.x, recv.handle), None
            return jax.lax.scan(step, x, None, length=20)[0]
        arrays = [jax.device_put(array, NamedSharding(mesh, along)) for array in (
            jnp.ones((32, 32), jnp.bfloat16), jnp.arange(64, dtype=jnp.int32).reshape(32, 2) % 8,
            jnp.ones((32, 2)))]
        by_rank = jax.shard_map(on_rank, mesh=mesh, in_specs=(along,) * 3, out_specs=along)
        program = jax.jit(by_rank).lower(*arrays).compile()
        for _ in range(17):
            jax.block_until_ready(program(*arrays))
        print(len(program.as_text()))

main()
"""


def test_programs_end_on_a_busy_machine(cache):
    """The interpreter gives such a thread no GIL any more to release objects with.

    Of processes that asked for it one in twenty ended with SIGABRT, and on some
    machines one in two.
    """
    programs = []
    for _ in range(8):
        programs.append(
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        time.sleep(0.2)  # so that some end while others begin
    try:
        errors = [program.communicate(timeout=400)[1] for program in programs]
    finally:
        for program in programs:
            program.kill()
    for program, error in zip(programs, errors, strict=True):
        assert program.returncode == 0, error
