#===- test_messages.py - the texts of run-time errors -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What `moe-run` says of bad input, word for word, on the host target and on
the CUDA target with the stand-in driver. Only the phase may differ."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

BIN = Path(os.environ["MOE_BIN_DIR"]).absolute()
RANKS = 2

DISPATCH = """shard.grid @ep(shape = 2)
func.func @main(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<16xi32> {
  %rx, %ri, %rw, %rs, %nt, %nf, %sr = moe.dispatch %x, %i, %w on @ep
      {max_tokens = 8 : i64, num_experts = 4 : i64CAPACITY}
    : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
    -> (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>, tensor<16xi32>,
        tensor<2xi32>, tensor<2xi32>, tensor<?x2xi32>)
  return %rs : tensor<16xi32>
}
"""
COMBINE = """shard.grid @ep(shape = 2)
func.func @main(%y: tensor<8x4xf32>, %sr: tensor<4x2xi32>, %rs: tensor<8xi32>, %nf: tensor<2xi32>) -> tensor<4x4xf32> {
  %o = moe.combine %y, %sr, %rs, %nf on @ep {num_experts = 4 : i64}
    : (tensor<8x4xf32>, tensor<4x2xi32>, tensor<8xi32>, tensor<2xi32>) -> tensor<4x4xf32>
  return %o : tensor<4x4xf32>
}
"""
COMBINE_MANY_ROWS = """shard.grid @ep(shape = 2)
func.func @main(%y: tensor<4194305x1xf32>, %sr: tensor<128x8xi32>, %rs: tensor<4194305xi32>, %nf: tensor<2xi32>, %i: tensor<128x8xi32>) -> tensor<128x1xf32> {
  %o = moe.combine %y, %sr, %rs, %nf topk(%i) on @ep {num_experts = 512 : i64, layout = #moe.layout<expert_major>}
    : (tensor<4194305x1xf32>, tensor<128x8xi32>, tensor<4194305xi32>, tensor<2xi32>, tensor<128x8xi32>) -> tensor<128x1xf32>
  return %o : tensor<128x1xf32>
}
"""
ALLTOALLV = """shard.grid @ep(shape = 2)
func.func @main(%s: tensor<4x4xf32>, %c: tensor<2xi32>) -> (tensor<ROWSx4xf32>, tensor<2xi32>) {
  %r, %n = moe.alltoallv %s, %c on @ep
    : (tensor<4x4xf32>, tensor<2xi32>) -> (tensor<ROWSx4xf32>, tensor<2xi32>)
  return %r, %n : tensor<ROWSx4xf32>, tensor<2xi32>
}
"""
LOOP = """shard.grid @ep(shape = 2)
func.func @main(%a: tensor<4x8xf32>, %i: tensor<4x2xi32>, %w: tensor<4x2xf32>, %n: tensor<1xi32>) -> tensor<4x8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n0 = tensor.extract %n[%c0] : tensor<1xi32>
  %u = arith.index_cast %n0 : i32 to index
  %q = scf.for %k = %c0 to %u step %c1 iter_args(%c = %a) -> (tensor<4x8xf32>) {
    %x, %idx, %wq, %src, %to, %frm, %send = moe.dispatch %c, %i, %w on @ep {num_experts = 4 : i64} : (tensor<4x8xf32>, tensor<4x2xi32>, tensor<4x2xf32>) -> (tensor<8x8xf32>, tensor<8x2xi32>, tensor<8x2xf32>, tensor<8xi32>, tensor<2xi32>, tensor<2xi32>, tensor<4x2xi32>)
    %o = moe.combine %x, %send, %src, %frm on @ep {num_experts = 4 : i64} : (tensor<8x8xf32>, tensor<4x2xi32>, tensor<8xi32>, tensor<2xi32>) -> tensor<4x8xf32>
    scf.yield %o : tensor<4x8xf32>
  }
  return %q : tensor<4x8xf32>
}
"""


@pytest.fixture(params=["host", "cuda"])
def target(request):
    return request.param


def run(
    folder: Path, target: str, text: str, inputs: list, file: str = "m.mlir"
) -> str:
    """Runs a module whose arguments `inputs` lists per rank, and returns the
    error without its phase."""
    (folder / "m.mlir").write_text(text)
    for rank, arrays in enumerate(inputs):
        for number, array in enumerate(arrays):
            np.save(folder / f"a{number}.{rank}.npy", array)
    args = [BIN / "moe-run", "-n", str(RANKS), "--target", target, file]
    args += ["--timeout", "20"]
    for number in range(len(inputs[0])):
        args += ["--in", f"a{number}.{{rank}}.npy"]
    environment = dict(os.environ)
    if target == "cuda":
        driver = Path(os.environ["MOE_STANDIN_DRIVER_DIR"]).absolute()
        environment["LD_LIBRARY_PATH"] = f"{driver}:{driver.parent / 'nccl'}"
    done = subprocess.run(
        args, cwd=folder, env=environment, capture_output=True, text=True,
        timeout=100, check=False,
    )
    assert done.returncode == 1, done.stderr
    error = done.stderr.strip()
    assert "\n" not in error, error
    return re.sub(r", phase '[^']*'", "", error.split("error: ", 1)[1])


def tokens(count: int, ids: list | None = None) -> list:
    """Rows, expert ids and weights of a rank."""
    if ids is None:
        ids = [[0, 2]] * count
    return [
        np.zeros((count, 4), np.float32),
        np.array(ids, np.int32),
        np.zeros((len(ids), 2), np.float32),
    ]


def dispatch(capacity: str = "") -> str:
    return DISPATCH.replace("CAPACITY", capacity)


@pytest.mark.parametrize("bad", [-2, 4])
def test_expert_id_names_token_and_slot(tmp_path, target, bad):
    ids = [[0, 1], [3, -1], [2, bad], [1, 0]]
    assert run(tmp_path, target, dispatch(), [tokens(4), tokens(4, ids)]) == (
        "rank 1: moe.dispatch at m.mlir:3:39: invalid expert: expert id of "
        f"token 2, slot 1: expected -1 to 3, seen {bad}"
    )


def test_extents_that_have_to_be_equal(tmp_path, target):
    ids = [[0, 1]] * 5
    assert run(tmp_path, target, dispatch(), [tokens(6), tokens(6, ids)]) == (
        "rank 1: moe.dispatch at m.mlir:3:39: invalid argument: rows of "
        "topk_idx, one for each token: expected 6, seen 5"
    )


def test_more_tokens_than_max_tokens(tmp_path, target):
    assert run(tmp_path, target, dispatch(), [tokens(9), tokens(4)]) == (
        "rank 0: moe.dispatch at m.mlir:3:39: invalid argument: number of "
        "tokens, bounded by max_tokens: expected at most 8, seen 9"
    )


@pytest.mark.parametrize("reduce", ["sum", "none"])
def test_rows_of_a_combine(tmp_path, target, reduce):
    """Token and slot are those of the op, also where slots are what the kernel
    shares out."""
    text = COMBINE
    if reduce == "none":
        text = text.replace("4 : i64}", "4 : i64, reduce = #moe.reduce<none>}")
        text = text.replace("tensor<4x4xf32>", "tensor<4x2x4xf32>")
    rows = np.array([[0, 0], [1, 99], [2, 2], [3, 3]], np.int32)
    inputs = [
        [
            np.zeros((8, 4), np.float32),
            rows if rank == 0 else np.full((4, 2), -1, np.int32),
            np.zeros(8, np.int32),
            np.array([4, 4], np.int32),
        ]
        for rank in range(RANKS)
    ]
    assert run(tmp_path, target, text, inputs) == (
        "rank 0: moe.combine at m.mlir:3:8: invalid count: send_row of token "
        "1, slot 1: expected -1 to 7, seen 99"
    )


def test_more_rows_than_messages_have_room_for(tmp_path, target):
    """For each expert the first row and the last one, and so all in between."""
    rows = np.zeros((128, 8), np.int32)
    rows[64:] = 4194304
    experts = np.arange(1024, dtype=np.int32).reshape(128, 8) % 512
    inputs = [
        [
            np.zeros((4194305, 1), np.float32),
            rows,
            np.zeros(4194305, np.int32),
            np.array([0, 0], np.int32),
            experts,
        ]
    ] * RANKS
    (tmp_path / "m.mlir").write_text(COMBINE_MANY_ROWS)
    subprocess.run(
        [BIN / "moe-compile", "m.mlir", "--target", target,
         "--transport=messages", "--schedule=exact", "-o", "m.so"],
        cwd=tmp_path, check=True, timeout=100,
    )
    error = run(tmp_path, target, COMBINE_MANY_ROWS, inputs, "m.so")
    # Every rank sees it, and the first to do so tells it.
    assert re.fullmatch(
        r"rank [01]: moe\.combine at m\.mlir:3:8: invalid count: rows of all "
        r"messages of an exchange: expected at most 2147483647, seen "
        r"2147484160",
        error,
    )


@pytest.mark.parametrize(
    "counts, text",
    [
        ([3, 2], "expected 3 to 4, seen 5, peer rank 1"),
        ([-2, 1], "expected 0 to 4, seen -2, peer rank 0"),
        ([4, -2], "expected 4, seen 2, peer rank 1"),
    ],
)
def test_counts_of_an_alltoallv(tmp_path, target, counts, text):
    inputs = [
        [np.zeros((4, 4), np.float32), np.array(c, np.int32)]
        for c in ([2, 2], counts)
    ]
    assert run(tmp_path, target, ALLTOALLV.replace("ROWS", "8"), inputs) == (
        "rank 1: moe.alltoallv at m.mlir:3:12: invalid count: sum of "
        "send_counts up to this peer's, bounded by the rows of send: " + text
    )


def test_more_rows_than_the_capacity(tmp_path, target):
    inputs = [
        [np.zeros((4, 4), np.float32), np.array([4, 0], np.int32)]
        for _ in range(RANKS)
    ]
    error = run(tmp_path, target, ALLTOALLV.replace("ROWS", "6"), inputs)
    # Every rank sees it, and the first to do so tells it.
    assert re.fullmatch(
        r"rank [01]: moe\.alltoallv at m\.mlir:3:12: capacity exceeded: rows "
        r"received, bounded by the capacity: expected at most 6, seen 8, peer "
        r"rank 0",
        error,
    )


def test_loops_with_different_trip_counts(tmp_path, target):
    inputs = [
        [
            np.zeros((4, 8), np.float32),
            np.array([[0, 2]] * 4, np.int32),
            np.ones((4, 2), np.float32),
            np.array([2 + rank], np.int32),
        ]
        for rank in range(RANKS)
    ]
    error = run(tmp_path, target, LOOP, inputs)
    assert re.fullmatch(
        r"rank [01]: ranks call different collectives: rank 1 is in "
        r"moe\.dispatch at m\.mlir:8:45, but rank 0 has ended the call of "
        r"entry 'main' of artifact m\.mlir without it; its last one was "
        r"moe\.combine at m\.mlir:9:10",
        error,
    )


def test_artifacts_that_differ_in_an_attribute(tmp_path, target):
    for rank, experts in enumerate((4, 6)):
        text = dispatch().replace("num_experts = 4", f"num_experts = {experts}")
        (tmp_path / "layer.mlir").write_text(text)
        subprocess.run(
            [BIN / "moe-compile", "layer.mlir", "--target", target, "-o",
             f"layer{rank}.so"],
            cwd=tmp_path, check=True, timeout=100,
        )
    error = run(tmp_path, target, text, [tokens(4)] * 2, "layer{rank}.so")
    assert re.fullmatch(
        r"rank [01]: ranks load different artifacts: layer0\.so on rank 0 and "
        r"layer1\.so on rank 1 differ in sites\[0\] \('moe\.dispatch'\)"
        r"\.attributes \('[^']*num_experts = 4 : i64[^']*' and "
        r"'[^']*num_experts = 6 : i64[^']*'\); give all ranks copies of one "
        r"file",
        error,
    )
