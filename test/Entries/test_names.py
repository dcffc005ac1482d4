#===- test_names.py - entries keep their names -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Frontends name functions as they like. Callers find an entry by that name,
whatever symbols and kernels of that name could be."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

WORKER = Path(__file__).with_name("worker.py")
NAMES = [
    # What frontends make.
    "layer.forward", "moe-layer", "1abc", "a b", "a/b", "model::layer", "f<f32>",
    'say "hi"', "100%", "über", "層", "\\back\\slash", "new\nline", "a@b", "$x",
    # The same letters and digits.
    "a-b", "a.b", "a_b", "a_b_0",
    # PTX, the C library, the runtime, and what the compiler makes.
    "%tid", "add", ".entry", "WARP_SZ", "malloc", "free", "memcpy", "expf", "exp",
    "moert_wait", "moert_launch", "moert_alloc", "moert_alloc_result",
    "moert_symm_result", "moe_kernels", "moe_gpu_image",
    "moe_artifact_manifest", "moe_entry_add", "symm_record", "llvm.sqrt.f32",
    "local.add", "_start", "main",
    "x" * 3000,
]


def quote(name: str) -> str:
    """As MLIR spells a symbol."""
    return '@"' + "".join(
        c if c.isalnum() and c.isascii() or c in " _-" else
        "".join(f"\\{byte:02X}" for byte in c.encode()) for c in name) + '"'


def add_function(name: str, number: int) -> str:
    """Adds `number` to the exponential of the argument, in a kernel."""
    return f"""
func.func {quote(name)}(%a: tensor<4xf32>) -> tensor<4xf32> {{
  %c = arith.constant dense<{number}.0> : tensor<4xf32>
  %e = math.exp %a : tensor<4xf32>
  %y = arith.addf %e, %c : tensor<4xf32>
  return %y : tensor<4xf32>
}}"""


def test_entries_are_found_by_their_names(tools):
    tools.compile("\n".join(add_function(n, i) for i, n in enumerate(NAMES)))
    calls, answers = tools.folder / "in", tools.folder / "out"
    zeros = np.zeros(4, np.float32)
    calls.write_bytes(pickle.dumps(
        {name: [("f32", (4,), zeros.tobytes())] for name in NAMES}))
    result = subprocess.run(
        [sys.executable, str(WORKER),
         str(tools.bin.parent / "lib" / "libmoe_runtime.so"), tools.target,
         str(tools.folder / "m.so"), str(calls), str(answers)],
        env=tools.environment, capture_output=True, text=True, timeout=120,
        check=False)
    assert result.returncode == 0, result.stderr
    with open(answers, "rb") as file:
        for number, name in enumerate(NAMES):
            assert pickle.load(file) == (
                name, [("f32", (4,), (zeros + 1 + number).tobytes())])


@pytest.mark.parametrize("name", ["layer.forward", 'a "b"', "über", "a\nb"])
def test_moe_run_knows_the_name(tools, name):
    tools.compile(add_function(name, 2) + add_function("other", 1))
    result = tools.run(name, [np.zeros(4, np.float32)])
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(tools.result(), np.full(4, 3, np.float32))


@pytest.mark.parametrize("name", ["moe-layer", "layer.forward", "1abc", "%tid"])
def test_exchanges_take_part_in_it(tools, name):
    """Kernels of exchanges are named after the function they are in."""
    tools.compile(f"""
shard.grid @"ep-1"(shape = 2)
memref.global "private" constant @"scale/%" : memref<1xf32> = dense<2.0>
func.func private @"helper<{name.strip('%')}>"(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {{
  %m = memref.get_global @"scale/%" : memref<1xf32>
  %c0 = arith.constant 0 : index
  %s = bufferization.to_tensor %m restrict : memref<1xf32> to tensor<1xf32>
  %e = tensor.extract %s[%c0] : tensor<1xf32>
  %t = tensor.splat %e : tensor<4x8xf32>
  %y = arith.mulf %x, %t : tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}}
func.func {quote(name)}(%x: tensor<4x8xf32>, %i: tensor<4x2xi32>, %w: tensor<4x2xf32>)
    -> tensor<4x8xf32> {{
  %rx, %ri, %rw, %rs, %nt, %nf, %sr = moe.dispatch %x, %i, %w on @"ep-1" {{num_experts = 4 : i64}}
    : (tensor<4x8xf32>, tensor<4x2xi32>, tensor<4x2xf32>)
    -> (tensor<8x8xf32>, tensor<8x2xi32>, tensor<8x2xf32>, tensor<8xi32>, tensor<2xi32>, tensor<2xi32>, tensor<4x2xi32>)
  %o = moe.combine %rx, %sr, %rs, %nf on @"ep-1" {{num_experts = 4 : i64}}
    : (tensor<8x8xf32>, tensor<4x2xi32>, tensor<8xi32>, tensor<2xi32>) -> tensor<4x8xf32>
  %y = call @"helper<{name.strip('%')}>"(%o) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}}
func.func @{name.replace('-', '_').strip('%1').replace('.', '_')}(%x: tensor<4xf32>) -> tensor<4xf32> {{
  return %x : tensor<4xf32>
}}""")
    x = np.arange(32, dtype=np.float32).reshape(4, 8)
    ids = np.array([[0, 2], [1, 3], [2, 0], [3, 1]], np.int32)
    result = tools.run(name, [x, ids, np.ones((4, 2), np.float32)], ranks=2)
    assert result.returncode == 0, result.stderr
    for rank in range(2):
        np.testing.assert_array_equal(tools.result(0, rank), 4 * x)
