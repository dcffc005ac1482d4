#===- test_assertions.py - cf.assert is an error of the runtime -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""An assertion that does not hold ends the entry on every rank with its text,
op and place; one that holds does nothing."""

from __future__ import annotations

import numpy as np
import pytest

IN_HOST_CODE = """
func.func @main(%a: tensor<8xf32>) -> tensor<8xf32> {
  %c0 = arith.constant 0 : index
  %v = tensor.extract %a[%c0] : tensor<8xf32>
  %z = arith.constant 0.0 : f32
  %b = arith.cmpf one, %v, %z : f32
  cf.assert %b, "v is 0"
  return %a : tensor<8xf32>
}
"""
# Frontends check indices where they use them: a kernel on a GPU. What follows
# would be out of bounds, in this kernel and in the next.
IN_A_LOOP = """
#id = affine_map<(i) -> (i)>
func.func @main(%a: tensor<8xi32>, %x: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8xf32>
  %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
      ins(%a : tensor<8xi32>) outs(%e : tensor<8xf32>) {
  ^bb0(%i: i32, %u: f32):
    %c8 = arith.constant 8 : i32
    %ok = arith.cmpi ult, %i, %c8 : i32
    cf.assert %ok, "index out of range"
    %j = arith.index_cast %i : i32 to index
    %v = tensor.extract %x[%j] : tensor<8xf32>
    linalg.yield %v : f32
  } -> tensor<8xf32>
  %s = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
      ins(%a : tensor<8xi32>) outs(%e : tensor<8xf32>) {
  ^bb0(%i: i32, %u: f32):
    %j = arith.index_cast %i : i32 to index
    %v = tensor.extract %x[%j] : tensor<8xf32>
    linalg.yield %v : f32
  } -> tensor<8xf32>
  %y = arith.addf %r, %s : tensor<8xf32>
  return %y : tensor<8xf32>
}
"""


def test_host_code(tools):
    tools.compile(IN_HOST_CODE)
    x = np.arange(8, dtype=np.float32)
    result = tools.run("main", [x], ranks=2)
    assert result.returncode == 1
    assert "cf.assert at m.mlir:7:3: assertion failed: v is 0" in result.stderr
    assert result.stderr.count("error:") == 1
    assert not list(tools.folder.glob("r*.npy"))
    result = tools.run("main", [x + 1], ranks=2)
    assert result.returncode == 0, result.stderr
    for rank in range(2):
        np.testing.assert_array_equal(tools.result(0, rank), x + 1)


@pytest.mark.parametrize("index", [8, -1, 100_000_000])
def test_loop(tools, index):
    tools.compile(IN_A_LOOP)
    x = np.arange(8, dtype=np.float32)
    ids = np.array([0, 1, index, 3, 2, 7, 6, 5], np.int32)
    result = tools.run("main", [ids, x], ranks=2)
    assert result.returncode == 1, result.stderr
    assert ("cf.assert at m.mlir:10:5: assertion failed: index out of range"
            in result.stderr)
    assert result.stderr.count("error:") == 1
    ids[2] = 4
    result = tools.run("main", [ids, x], ranks=2)
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(tools.result(), 2 * x[ids])


def test_equal_loops_keep_their_places(tools):
    """Equal kernels may become one; which assertion failed still shows."""
    check = """
  %{0} = linalg.generic {{indexing_maps = [#id, #id], iterator_types = ["parallel"]}}
      ins(%{1} : tensor<8xf32>) outs(%e : tensor<8xf32>) {{
  ^bb0(%v: f32, %u: f32):
    cf.assert %yes, "never"
    %ok = arith.cmpf one, %v, %z : f32
    cf.assert %ok, "v is 0"
    linalg.yield %v : f32
  }} -> tensor<8xf32>"""
    tools.compile("""#id = affine_map<(i) -> (i)>
func.func @main(%a: tensor<8xf32>, %b: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %yes = arith.constant true
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<8xf32>""" + check.format("x", "a")
                  + check.format("y", "b") + """
  return %x, %y : tensor<8xf32>, tensor<8xf32>
}""")
    ones = np.ones(8, np.float32)
    for arguments, line in (([0 * ones, ones], 11), ([ones, 0 * ones], 19)):
        result = tools.run("main", arguments, outputs=2)
        assert result.returncode == 1
        assert f"cf.assert at m.mlir:{line}:5: assertion failed: v is 0" in result.stderr


def test_every_rank_reports_the_first(tools):
    """An assertion fails on one rank; the other waits in an exchange."""
    tools.compile("""
shard.grid @ep(shape = 2)
func.func @main(%a: tensor<8x4xf32>, %n: tensor<2xi32>) -> tensor<16x4xf32> {
  %c0 = arith.constant 0 : index
  %v = tensor.extract %a[%c0, %c0] : tensor<8x4xf32>
  %z = arith.constant 0.0 : f32
  %b = arith.cmpf one, %v, %z : f32
  cf.assert %b, "v is 0"
  %r, %m = moe.alltoallv %a, %n on @ep
    : (tensor<8x4xf32>, tensor<2xi32>) -> (tensor<16x4xf32>, tensor<2xi32>)
  return %r : tensor<16x4xf32>
}""")
    rows = np.ones((8, 4), np.float32)
    for rank in range(2):
        np.save(tools.folder / f"x{rank}.npy", rows * rank)
    np.save(tools.folder / "n.npy", np.array([4, 4], np.int32))
    result = tools.execute(
        "moe-run", "-n", "2", "--target", tools.target, "m.so", "--in",
        "x{rank}.npy", "--in", "n.npy", "--out", "r{rank}.npy")
    assert result.returncode == 1
    assert "rank 0" in result.stderr
    assert "cf.assert at m.mlir:8:3: assertion failed: v is 0" in result.stderr
