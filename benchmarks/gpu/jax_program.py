# ===- jax_program.py - an exchange called from JAX -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Dispatch and combine of a plan in a program of JAX, one process of it:

    jax_program.py --rank R --ranks N --address HOST:PORT --artifact FILE
                   --experts E --top-k K --hidden H --tokens T [--cpu]

On GPUs each process has one; with --cpu one process has all ranks. Many exchanges are one program,
each of which begins with what the last one gave. Prints JSON: the microseconds of an exchange, whether
results are right, and what XLA copies beside the calls.
"""

import argparse
import json
import os
import re
import time

STEPS, SAMPLES = 20, 15


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for name in ("rank", "ranks", "experts", "top-k", "hidden", "tokens"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--artifact", required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


SIZES = {"bf16": 2, "f16": 2, "f32": 4, "s32": 4, "u32": 4, "s64": 8, "pred": 1}


def copies(text):
    """What the computations of a compiled program copy that call exchanges: shapes and bytes."""
    found = []
    for computation in re.split(r"\n(?=\S)", text):
        if "custom-call(" not in computation or "moe_mlir" not in computation:
            continue
        for dtype, extents in re.findall(r"= \(?(\w+)\[([\d,]*)\][^=]*? (?:copy|copy-start|transpose)\(", computation):
            size = SIZES.get(dtype, 0)
            for extent in filter(None, extents.split(",")):
                size *= int(extent)
            found.append({"shape": f"{dtype}[{extents}]", "bytes": size})
    return found


def main():
    args = parse()
    if args.cpu:
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={args.ranks}"
    # The runtime's symmetric memory is what JAX leaves.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    import jax  # pylint: disable=import-outside-toplevel
    import jax.numpy as jnp  # pylint: disable=import-outside-toplevel
    import numpy as np  # pylint: disable=import-outside-toplevel
    from jax.sharding import Mesh, NamedSharding, PartitionSpec  # pylint: disable=import-outside-toplevel

    import moe_mlir as moe  # pylint: disable=import-outside-toplevel
    from gpu import plans, shapes  # pylint: disable=import-outside-toplevel

    if not args.cpu:
        jax.distributed.initialize(args.address, args.ranks, args.rank, local_device_ids=args.rank)
    devices = [d for d in jax.devices() if d.platform == ("cpu" if args.cpu else "gpu")]
    if len(devices) < args.ranks:
        raise SystemExit(f"JAX finds {len(devices)} devices of {args.ranks}")
    mesh, along = Mesh(np.array(devices[:args.ranks]), ("ep",)), PartitionSpec("ep")
    model = shapes.Model("given", args.experts, args.top_k, args.hidden)
    plan = plans.plan(model, args.tokens, "rank_major", "training")

    generator = np.random.default_rng(args.seed)
    count = args.ranks * args.tokens
    x = generator.standard_normal((count, args.hidden), np.float32)
    idx = generator.random((count, args.experts)).argpartition(args.top_k, 1)[:, :args.top_k].astype(np.int32)
    arrays = [jax.make_array_from_callback(a.shape, NamedSharding(mesh, along), lambda i, a=a: a[i])
              for a in (x.astype(jnp.bfloat16), idx, np.ones(idx.shape, np.float32))]
    visits = np.stack([(idx // (args.experts // args.ranks) == r).any(1) for r in range(args.ranks)]).sum(0)
    wanted = (x.astype(jnp.bfloat16).astype(np.float32) * visits[:, None]).astype(jnp.bfloat16)

    with moe.jax.ExpertParallel(plan, mesh, "ep", artifact=args.artifact) as ep:

        def repeated(steps):
            def on_rank(x, idx, weights):
                def step(x, _):
                    recv = ep.dispatch(x, idx, weights)
                    return ep.combine(recv.x, recv.handle), None

                return jax.lax.scan(step, x, None, length=steps)[0]

            return jax.jit(jax.shard_map(on_rank, mesh=mesh, in_specs=(along,) * 3, out_specs=along))

        once = jax.block_until_ready(repeated(1)(*arrays))
        is_right = all(np.array_equal(np.asarray(part.data).view(np.uint16), wanted[part.index].view(np.uint16))
                       for part in once.addressable_shards)
        program = repeated(args.steps).lower(*arrays).compile()
        times = []
        for _ in range(SAMPLES + 2):
            start = time.perf_counter_ns()
            jax.block_until_ready(program(*arrays))
            times.append((time.perf_counter_ns() - start) / args.steps / 1e3)
        ep.check()
        print(json.dumps({"times": times[2:], "ok": is_right, "copies": copies(program.as_text()),
                          "jax": jax.__version__, "device": devices[0].device_kind}))


if __name__ == "__main__":
    main()
