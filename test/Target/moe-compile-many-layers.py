# The layers of a model cost what one layer costs: as many kernels as there are
# different ops, and the symmetric memory of one.
#
# RUN: %python %s %moe_bin/moe-compile %t.so
# REQUIRES: python
#
#===- moe-compile-many-layers.py - a model of 61 layers -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#

from __future__ import annotations

import json
import re
import subprocess
import sys

RANKS, TOKENS, HIDDEN, TOP_K, EXPERTS = 8, 16, 1024, 4, 32
LAYERS = 61
LAYOUTS = ("rank_major", "slab", "expert_major")
# Flags of the first signal of each op in kernels, and padding.
MOST_BYTES = 1.1


def layer(number: int, layout: str) -> str:
    """Sends %x<number> to the experts, doubles the rows there, and brings them
    back as %x<number + 1>."""
    by_expert = layout == "expert_major"
    rows = RANKS * TOKENS * (TOP_K if by_expert else 1)
    slots = TOP_K if by_expert else RANKS
    per_row = "" if by_expert else f"x{TOP_K}"
    x = f"tensor<{TOKENS}x{HIDDEN}xbf16>"
    recv = f"tensor<{rows}x{HIDDEN}xbf16>"
    ids, weights = f"tensor<{TOKENS}x{TOP_K}xi32>", f"tensor<{TOKENS}x{TOP_K}xf32>"
    ranks, source = f"tensor<{RANKS}xi32>", f"tensor<{rows}xi32>"
    send_row = f"tensor<{TOKENS}x{slots}xi32>"
    results = [recv, f"tensor<{rows}{per_row}xi32>", f"tensor<{rows}{per_row}xf32>",
               source, ranks, ranks, send_row]
    if by_expert:
        results += [f"tensor<{EXPERTS // RANKS}xi32>"] * 2
    attrs = (f"{{num_experts = {EXPERTS} : i64,"
             f" layout = #moe.layout<{layout}>}}")
    topk = f" topk(%i{number})" if by_expert else ""
    operands = [recv, send_row, source, ranks] + [ids] * by_expert
    d = f"%d{number}"
    return f"""
  {d}:{len(results)} = moe.dispatch %x{number}, %i{number}, %w{number} on @ep {attrs}
    : ({x}, {ids}, {weights}) -> ({', '.join(results)})
  %y{number} = linalg.add ins({d}#0, {d}#0 : {recv}, {recv})
    outs({d}#0 : {recv}) -> {recv}
  %x{number + 1} = moe.combine %y{number}, {d}#6, {d}#3, {d}#5{topk} on @ep {attrs}
    : ({', '.join(operands)}) -> {x}"""


def model(layouts: list[str]) -> str:
    """A module whose entry has a layer for each of `layouts`."""
    x = f"tensor<{TOKENS}x{HIDDEN}xbf16>"
    args = "".join(
        f", %i{n}: tensor<{TOKENS}x{TOP_K}xi32>, %w{n}: tensor<{TOKENS}x{TOP_K}xf32>"
        for n in range(len(layouts)))
    body = "".join(layer(n, layout) for n, layout in enumerate(layouts))
    return (f"shard.grid @ep(shape = {RANKS})\n"
            f"func.func @model(%x0: {x}{args}) -> {x} {{{body}\n"
            f"  return %x{len(layouts)} : {x}\n}}\n")


def compile_model(compiler: str, layouts: list[str], *options: str) -> str:
    """Standard output of the compiler."""
    result = subprocess.run(
        [compiler, "-", *options], input=model(layouts), text=True,
        capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def workspace(compiler: str, layouts: list[str], output: str, target: str) -> int:
    options = ("--target", target, "--report=json", "-o", output)
    report = json.loads(compile_model(compiler, layouts, *options))
    assert len(report["ops"]) == 2 * len(layouts)
    return report["workspace_bytes"]


def main() -> None:
    compiler, output = sys.argv[1:]
    for layouts in (["rank_major"], list(LAYOUTS)):
        many = (layouts * LAYERS)[:LAYERS]
        # A dispatch and a combine, and a kernel of the doubling for each shape.
        shapes = len({layout == "expert_major" for layout in layouts})
        kernels = re.findall(
            r"\.visible \.entry", compile_model(
                compiler, many, "--target", "cuda", "--emit=ptx"))
        assert len(kernels) == 2 * len(layouts) + shapes, (layouts, len(kernels))
        for target in ("host", "cuda"):
            # One layer of each kind.
            one = workspace(compiler, layouts, output, target)
            bytes_of_many = workspace(compiler, many, output, target)
            assert bytes_of_many <= MOST_BYTES * one, (
                layouts, target, one, bytes_of_many)


if __name__ == "__main__":
    main()
