# ===- test_packed.py - several tensors in one -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Entries whose arguments and results are parts of tensors; moe_mlir.torch calls them so."""

import numpy as np
import pytest
from conftest import compile_module
from moe_mlir._runtime import PackedEntry

from moe_mlir.runtime import Group, MoEError

MODULE = """
func.func @both(%rows: tensor<?x2xi32>, %three: tensor<3xi32>)
    -> (tensor<?x2xi32>, tensor<3xi32>) {
  %zero = arith.constant 0 : index
  %n = tensor.dim %rows, %zero : tensor<?x2xi32>
  %a = tensor.empty(%n) : tensor<?x2xi32>
  %b = tensor.empty() : tensor<3xi32>
  %twice = linalg.add ins(%rows, %rows : tensor<?x2xi32>, tensor<?x2xi32>)
      outs(%a : tensor<?x2xi32>) -> tensor<?x2xi32>
  %squared = linalg.mul ins(%three, %three : tensor<3xi32>, tensor<3xi32>)
      outs(%b : tensor<3xi32>) -> tensor<3xi32>
  return %twice, %squared : tensor<?x2xi32>, tensor<3xi32>
}
"""
ROWS = 12, (-1, 2), "i32"  # behind the three
THREE = 0, (3,), "i32"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return compile_module(MODULE, tmp_path_factory.mktemp("host") / "both.so")


@pytest.fixture
def entry(artifact):
    with Group.from_env() as group:
        yield group.load(artifact).entry()


def test_parts_of_one_tensor(entry):
    """Of any number of rows: what there is room for."""
    packed = PackedEntry(entry, [(0, *ROWS), (0, *THREE)], [(1, *ROWS), (1, *THREE)])
    for rows in (4, 0, 7):
        given = np.arange(1, 4 + 2 * rows, dtype="i4")
        out = np.zeros_like(given)
        assert packed(given, out) is True
        assert out[:3].tolist() == [1, 4, 9]
        assert np.array_equal(out[3:], 2 * given[3:])


def test_parts_beside_whole_tensors(entry):
    """A tensor that is only read may be strided on the host, unless it has parts."""
    packed = PackedEntry(entry, [0, (1, *THREE)], [2, (3, 4, (3,), "i32")])
    given = np.arange(8, dtype="i4").reshape(2, 4)[:, ::2]
    out, around = np.zeros((2, 2), "i4"), np.full(5, 7, "i4")
    assert packed(given, np.arange(3, dtype="i4"), out, around)
    assert np.array_equal(out, 2 * given)
    assert around.tolist() == [7, 0, 1, 4, 7]
    out[:] = 5
    assert packed(given, np.arange(6, dtype="i4")[::2], out, around) is False
    assert (out == 5).all()


def refused(error, message, call, *arguments):
    with pytest.raises(error) as caught:
        call(*arguments)
    assert message in str(caught.value)


def test_tensors_that_parts_do_not_lie_in(entry):
    packed = PackedEntry(entry, [(0, *ROWS), (0, *THREE)], [1, 2])
    outs = np.zeros((2, 2), "i4"), np.zeros(3, "i4")
    refused(
        MoEError,
        "argument 0 of entry 'both': expected a tensor of 12 bytes and a multiple of 8 more, got "
        "24 bytes",
        packed, np.zeros(6, "i4"), *outs,
    )  # fmt: skip
    packed = PackedEntry(entry, [0, (1, 4, (3,), "i32")], [2, 3])
    refused(
        MoEError,
        "argument 1 of entry 'both': expected a tensor of 4 bytes and at least 12 more, got 12",
        packed, np.zeros((2, 2), "i4"), np.zeros(3, "i4"), *outs,
    )  # fmt: skip
    packed = PackedEntry(entry, [0, 1], [2, (3, *THREE)])
    refused(
        MoEError,
        "output 1 of entry 'both': expected a dense tensor, of which it is a part",
        packed, np.zeros((2, 2), "i4"), np.zeros(3, "i4"), outs[0], np.zeros(6, "i4")[::2],
    )  # fmt: skip
    # The runtime checks parts as it checks tensors.
    packed = PackedEntry(entry, [0, (1, 0, (3,), "f32")], [2, 3])
    refused(
        MoEError, "expected element type i32, got f32",
        packed, np.zeros((2, 2), "i4"), np.zeros(3, "i4"), *outs,
    )  # fmt: skip
    refused(
        TypeError, "entry 'both': expected 4 tensors, got 1", packed, np.zeros(3, "i4")
    )


def test_places_that_there_are_none_of(entry):
    refused(
        MoEError, "arguments of entry 'both': expected 2 places, got 1",
        PackedEntry, entry, [0], [1, 2],
    )  # fmt: skip
    refused(
        MoEError, "argument 1 of entry 'both': 'i31' is no element type of tensors",
        PackedEntry, entry, [0, (1, 0, (3,), "i31")], [2, 3],
    )  # fmt: skip
    refused(
        MoEError, "output 0 of entry 'both': expected extents of at least 0, got -2",
        PackedEntry, entry, [0, 1], [(2, 0, (-2, 2), "i32"), 3],
    )  # fmt: skip


def test_part_whose_size_has_no_64_bits(entry):
    with pytest.raises(MoEError) as error:
        PackedEntry(entry, [(0, 0, (1 << 40, 1 << 40), "i32"), 1], [2, 3])
    assert error.value.message == (
        "argument 0 of entry 'both': expected a part of less than 2^63 bytes"
    )
