# ===- overhead_plan.py - the exchange of torch_overhead.py -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""A small exchange with gradients, on one rank, and entries of its form that do nothing.

Nothing here needs torch.
"""

from moe_mlir.exchange import Exchange
from moe_mlir.exchange.signature import DYNAMIC, TensorSpec

PLAN = Exchange(
    num_experts=8, top_k=2, hidden=64, dtype="bf16", max_tokens=8, layout="expert_major",
    combine_weights=True, gradients=True,
)  # fmt: skip


def hollow(plan: Exchange, ranks: int) -> str:
    """The module of a plan whose entries return tensors that nothing has been written to.

    Each is an allocation of its own, as it is of an exchange. Of `tensor.empty` the compiler would
    make one for all results of a type, which calls copy to each of them.
    """

    def empty(spec: TensorSpec) -> str:
        tokens = "%tokens" if DYNAMIC in spec.shape else ""
        return f"  %{spec.name} = bufferization.alloc_tensor({tokens}) : {spec.type}\n"

    functions = []
    for entry in plan.entries:
        signed = plan.signature(entry, ranks)
        arguments = ", ".join(f"%{spec.name}: {spec.type}" for spec in signed.arguments)
        types = ", ".join(spec.type for spec in signed.results)
        names = ", ".join(f"%{spec.name}" for spec in signed.results)
        counted = next(spec for spec in signed.arguments if DYNAMIC in spec.shape)
        functions.append(
            f"func.func @{entry}({arguments}) -> ({types}) {{\n"
            "  %zero = arith.constant 0 : index\n"
            f"  %tokens = tensor.dim %{counted.name}, %zero : {counted.type}\n"
            f"{''.join(map(empty, signed.results))}"
            f"  return {names} : {types}\n}}\n"
        )
    return f"shard.grid @ep(shape = {ranks})\n" + "".join(functions)
