# ===- torch_overhead.py - what an operator of torch costs -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What dispatch and combine of moe_mlir.torch cost on the CPU, beside the exchange.

The artifact's entries do nothing, so what is left is the time of Python, torch's
dispatcher, autograd, allocation, and of the checks of the runtime: for one rank of the host
target, or with `--device cuda` for one GPU, where torch allocates more slowly. Measured are

- dispatch and combine without and with a gradient, of the functional form and with
  out=;
- the operators' kernels alone, below autograd;
- the allocation of their results alone.

Figures are the smallest round and the smallest median of several repetitions, in
microseconds, since other work on the machine only adds. Run with PYTHONPATH=build/python.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import torch

import moe_mlir as moe
from moe_mlir.torch.memory import Kind, empty_on
from overhead_plan import PLAN, hollow
from overhead_rounds import keep_least, time_rounds
from recording import save


def measure(call, calls: int) -> tuple[float, float]:
    """The least, and the median, microseconds of a call."""
    call()
    rounds = [round_ns / 1000 for round_ns in time_rounds(call, calls)]
    return min(rounds), statistics.median(rounds)


def figures(ep, calls: int) -> dict[str, tuple[float, float]]:
    plan, binding = ep.plan, ep._binding
    device = binding.device
    x = torch.randn(4, plan.hidden, device=device, dtype=binding.dtype)
    idx = torch.rand(4, plan.num_experts, device=device).topk(plan.top_k)[1].int()
    weights = torch.rand(4, plan.top_k, device=device)
    recv, out = ep.dispatch(x, idx, weights), torch.empty_like(x)
    given = ep.empty_received(4)
    y, handle, row_weights = recv.x, recv.handle, recv.topk_weights

    empty = empty_on(device)
    kinds = [Kind.of(tuple(tensor.shape), tensor.dtype) for tensor in (x, y, row_weights, handle.routes)]

    def allocate_received():
        for kind in kinds[1:]:
            empty(*kind)

    found = {
        "dispatch": measure(lambda: ep.dispatch(x, idx, weights), calls),
        "combine": measure(lambda: ep.combine(y, handle, row_weights), calls),
        "dispatch_out": measure(lambda: ep.dispatch(x, idx, weights, out=given), calls),
        "combine_out": measure(lambda: ep.combine(y, handle, row_weights, out=out), calls),
        "dispatch_kernel": measure(lambda: binding.dispatch(x, idx, weights), calls),
        "combine_kernel": measure(
            lambda: binding.combine(y, handle.routes, idx, row_weights), calls
        ),
        "dispatch_allocation": measure(allocate_received, calls),
        "combine_allocation": measure(lambda: empty(*kinds[0]), calls),
    }
    x.requires_grad_()
    y.requires_grad_()
    found["dispatch_grad"] = measure(lambda: ep.dispatch(x, idx, weights), calls)
    found["combine_grad"] = measure(lambda: ep.combine(y, handle, row_weights), calls)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--artifact", type=Path, help="the compiled hollow plan, without a compiler")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the results here")
    args = parser.parse_args()

    torch.set_num_threads(1)
    backend = "host" if args.device == "cpu" else "cuda"
    least: dict[str, float] = {}
    best: dict[str, float] = {}
    (group,) = moe.Group.local(1, backend=backend)
    with group:
        device = group.device_name or "cpu"
        artifact = args.artifact or moe.compile(hollow(PLAN, 1), target=group.target)
        for _ in range(args.repeat):
            ep = moe.torch.ExpertParallel(PLAN, group, artifact=artifact)
            found = figures(ep, args.calls)
            keep_least(least, {name: low for name, (low, _) in found.items()})
            keep_least(best, {name: median for name, (_, median) in found.items()})
    result = {
        "torch": torch.__version__,
        "device": device,
        "us_per_call": {name: round(value, 1) for name, value in best.items()},
        "least_us_per_call": {name: round(value, 1) for name, value in least.items()},
    }
    save(args.json, result, prints=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
