# ===- test_bad_input.py - command line, files and artifacts ---------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Wrong options, files, arrays and artifacts: one clear error each."""

import os
import re
import stat

import ml_dtypes
import numpy as np
import pytest

from support import SANITIZE, artifact


@pytest.mark.parametrize("args, message", [
    ([], "no file given"),
    (["--frobnicate", "a.so"], "unknown option '--frobnicate'"),
    (["-x", "a.so"], "unknown option '-x'"),
    (["a.so", "b.so"], "more than one file: 'a.so' and 'b.so'"),
    (["a.so", "-n"], "-n needs a value"),
    (["a.so", "-n", "0"], "invalid value '0' for -n"),
    (["a.so", "-n", "251"], "invalid value '251' for -n"),
    (["a.so", "-n", "2x"], "invalid value '2x' for -n"),
    (["a.so", "--timeout", "-1"], "invalid value '-1' for --timeout"),
    (["a.so", "--timeout", "nan"], "invalid value 'nan' for --timeout"),
    (["a.so", "--bench=0"], "invalid value '0' for --bench"),
    (["a.so", "--target", "tpu"], "invalid value 'tpu' for --target"),
    (["a.so", "--target", "nccl"],
     "invalid value 'nccl' for --target: moe-compile --target nccl makes the "
     "artifact, and moe-run runs it with --target cuda"),
    (["--probe=xml"], "invalid value 'xml' for --probe"),
    (["a.so", "--symm-reserve", "0"], "invalid value '0' for --symm-reserve"),
    (["a.so", "--symm-reserve", "-1"], "invalid value '-1' for --symm-reserve"),
    (["a.so", "--symm-reserve", "1X"], "invalid value '1X' for --symm-reserve"),
    (["a.so", "--symm-reserve", "1GB"],
     "invalid value '1GB' for --symm-reserve"),
    (["a.so", "--symm-reserve", "65T"],
     "invalid value '65T' for --symm-reserve"),
    (["a.so", "--symm-reserve", "99999999999999999999"],
     "invalid value '99999999999999999999' for --symm-reserve"),
])
def test_usage_errors(runner, args, message):
    assert runner.usage(*args) == message


def test_missing_files(runner):
    args = runner.exchange()
    (runner.folder / "x2.npy").unlink()
    assert runner.usage(*args) == "x2.npy: No such file or directory"
    args[0] = "missing.so"
    assert runner.usage(*args) == "missing.so: No such file or directory"


def test_chip_for_what_is_compiled_already(runner):
    args = runner.exchange()
    error = runner.fail(*args, "--target", "cuda:sm_80")
    assert error == (f"{args[0]}: an artifact is for a chip already, and "
                     "--target names another ('cuda:sm_80')")


def test_outputs_of_several_ranks_need_several_files(runner):
    args = runner.exchange()
    assert runner.usage(*args, "--out", "y.npy") == (
        "--out y.npy needs {rank}: 4 ranks cannot write to one file")
    assert runner.usage(*args, "--out", "/dev/null{rank}/y") .endswith(
        "No such file or directory")
    args = runner.exchange(ranks=1)
    assert runner.usage(*args, "--out", "/dev/null") == (
        "/dev/null: exists and is not a regular file")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


# ===----------------------------------------------------------------------===#
# Bad input
# ===----------------------------------------------------------------------===#


@pytest.mark.parametrize("content, message", [
    (b"", "not a .npy file"),
    (b"this is no array", "not a .npy file"),
    (b"\x93NUMPY\x01\x00\x02\x00{}", "malformed .npy header"),
])
def test_not_npy(runner, content, message):
    args = runner.exchange()
    (runner.folder / "x3.npy").write_bytes(content)
    error = runner.fail(*args, "--out", "y{rank}.npy")
    assert error == f"rank 3: argument 2: x3.npy: {message}"
    assert runner.outputs() == []


def test_truncated_and_oversized(runner):
    args = runner.exchange()
    data = (runner.folder / "x1.npy").read_bytes()
    (runner.folder / "x1.npy").write_bytes(data[:-1])
    error = runner.fail(*args, "--out", "y{rank}.npy")
    assert error == ("rank 1: argument 2: x1.npy: the file is truncated: shape "
                     "[2, 4] of f32 needs 32 bytes of data, the file has 31")
    (runner.folder / "x1.npy").write_bytes(data + b"?")
    assert "x1.npy: the file is too long" in runner.fail(*args)
    assert runner.outputs() == []


@pytest.mark.parametrize("array, message", [
    (np.ones((2, 5), np.float32),
     "expected extent 4 in dimension 1 of f32[?, 4], got [2, 5]"),
    (np.ones(4, np.float32), "expected rank 2 f32[?, 4], got rank 1 [4]"),
    (np.ones((2, 4)), "expected element type f32 ('<f4'), but the file holds "
                      "'<f8'"),
    (np.ones((2, 4), ">f4"), "holds big-endian data ('>f4'); only "
                             "little-endian is read"),
    (np.asfortranarray(np.ones((2, 4), np.float32)),
     "holds a Fortran-order array; save it in C order "
     "(numpy.ascontiguousarray)"),
    (np.ones((2, 4), ml_dtypes.bfloat16),
     "expected element type f32 ('<f4'), but the file holds '<V2'"),
])
def test_wrong_arrays(runner, array, message):
    args = runner.exchange()
    runner.save("x2.npy", array)
    error = runner.fail(*args, "--out", "y{rank}.npy")
    assert error == "rank 2: argument 2: x2.npy: " + message
    assert runner.outputs() == []


# Files with holes, whose data takes no room but more memory than there is.
@pytest.mark.parametrize("shape, message", [
    ((1 << 40, 1), r"expected extent 4 in dimension 1 of f32\[\?, 4\], got "
                   r"\[1099511627776, 1\]"),
    ((1 << 38, 4), r"the array needs 4398046511104 bytes of memory, but this "
                   r"machine, or its container, has \d+ free"),
])
def test_shape_and_memory_are_looked_at_before_the_data(runner, shape, message):
    args = runner.exchange()
    with open(runner.folder / "x2.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        try:
            file.truncate(file.tell() + 4 * shape[0] * shape[1])
        except OSError as error:
            pytest.skip(f"no file of this size can be made: {error}")
    error = runner.fail(*args, "--out", "y{rank}.npy")
    assert re.fullmatch("rank 2: argument 2: x2.npy: " + message, error), error
    assert runner.outputs() == []


def test_wrong_number_of_files(runner):
    args = runner.exchange()
    assert runner.fail(*args[:-4], "--entry", "gather") == (
        "rank 0: entry 'gather' has 3 arguments, but --in is given 2 times")
    assert runner.fail(*args, "--out", "y{rank}.npy", "--out",
                       "z{rank}.npy") == (
        "rank 0: entry 'gather' has 1 results, but --out is given 2 times")


def test_entries_by_name(runner):
    args = runner.exchange()[:-2]
    assert runner.fail(*args) == (
        f"rank 0: {args[0]}: which entry to run has to be named; there are "
        "'gather', 'twice', 'rotate' and 'rotate_times'")
    assert "no entry is named 'layer'" in runner.fail(*args, "--entry", "layer")


@pytest.mark.parametrize("name, message", [
    ("bad-abi", "the artifact has ABI version 2, this runtime understands "
                "version 5"),
    ("bad-target", "the artifact is for target 'cuda:sm_90', which the host "
                   "backend cannot run"),
    ("bad-cpu", "unknown CPU level 'x86-64-v9'"),
    ("bad-symbol", "the manifest names entry 'f', but the symbol moe_entry_g "
                   "is missing"),
    ("bad-manifest", "malformed manifest: not a JSON text"),
    ("no-manifest", "not an artifact: it has no symbol moe_artifact_manifest"),
    ("bad-import", "undefined symbol: moert_function_of_the_future"),
])
@pytest.mark.parametrize("ranks", [(), ("-n", 2)])
def test_broken_artifacts(runner, name, message, ranks):
    error = runner.fail(*ranks, "--target", "host", artifact(name))
    assert name + ".so" in error and message in error


def test_not_a_shared_object(runner):
    (runner.folder / "a.so").write_text("text")
    assert "a.so: not an artifact, or only a part of one" in runner.fail("a.so")
    (runner.folder / "d.so").mkdir()
    assert runner.fail("d.so") == "d.so: not a regular file"


def test_wrong_number_of_ranks(runner):
    args = runner.exchange()
    assert runner.fail("-n", 3, *args) == (
        f"rank 0: {args[0]}: the artifact is for 4 ranks, but the group has 3")


def test_size_of_the_symmetric_heap(runner):
    args = runner.exchange()
    for size in ["2M", "64M", "1G", "16T", "4000000"]:
        runner.run(*args, "--symm-reserve", size)
    # The workspace of this artifact takes 300000 bytes, rounded up to 2 MiB.
    assert runner.usage(*args, "--symm-reserve", "17T") == (
        "--symm-reserve 18691697672192 is too much: 4 ranks have room for "
        "17592186044416 bytes each")


@pytest.mark.skipif(bool(SANITIZE), reason="sanitizers reserve addresses, too")
def test_limit_of_addresses(runner):
    error = runner.fail(*runner.exchange(), prefix=["prlimit", "--as=4294967296"])
    assert re.search(
        r"cannot reserve \d+ bytes of address space, which ulimit -v may limit; a "
        r"smaller symmetric heap needs less \(--symm-reserve of moe-run\): Cannot "
        r"allocate memory$", error), error
