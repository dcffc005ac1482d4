# ===- test_devices.py - GPUs, and symmetric tensors -----------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Artifacts for GPUs, and symmetric tensors. What needs GPUs runs on those of
the machine, and on a stand-in for the CUDA driver (runtime/tests/driver).
"""

import json
import os
import subprocess
import time

import numpy as np
import pytest

from support import ARTIFACTS, FAIL, KILL, LOOP, MOE_RUN, artifact


def no_gpu():
    """Why there is no GPU, or None."""
    probe = subprocess.run([MOE_RUN, "--probe=json"], text=True, check=True,
                           stdout=subprocess.PIPE, timeout=60).stdout
    return json.loads(probe).get("no_gpus_because")


REASON = no_gpu()


def on_cuda(args, name=None):
    """The same run with the artifact for GPUs, or with another one."""
    name = f"{name}.so" if name else os.path.basename(args[0])
    return [os.path.join(ARTIFACTS, "cuda", name), *args[1:]]


@pytest.fixture
def standin(runner):
    runner.env["LD_LIBRARY_PATH"] = os.path.abspath(
        os.environ["MOE_STANDIN_DRIVER_DIR"])


@pytest.fixture(params=["of the machine", "stand-in"])
def gpus(request):
    """GPUs to run on."""
    if request.param == "stand-in":
        request.getfixturevalue("standin")
    elif REASON is not None:
        pytest.skip(REASON)


@pytest.mark.skipif(REASON is None, reason="there is a GPU")
def test_without_a_gpu(runner):
    args = on_cuda(runner.exchange())
    assert runner.fail(*args) == f"rank 0: {REASON}"
    assert runner.fail(*args, "--target", "cuda") == f"rank 0: {REASON}"


def test_artifact_for_another_target(runner):
    args = on_cuda(runner.exchange())
    assert runner.fail(*args, "--target", "host").endswith(
        "the artifact is for target 'cuda', which the host backend cannot run")


def test_host_artifact_on_cuda(runner, gpus):
    assert runner.fail(*runner.exchange(), "--target", "cuda").endswith(
        "the artifact is for target 'host', which the cuda backend cannot run")


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_same_results_on_a_gpu(runner, gpus, ranks):
    args = runner.exchange(ranks=ranks)
    runner.run(*args, "--out", "host-y{rank}.npy")
    runner.run(*on_cuda(args), "--out", "cuda-y{rank}.npy")
    for rank in range(ranks):
        on_host = runner.load(f"host-y{rank}.npy")
        assert np.array_equal(on_host, runner.load(f"cuda-y{rank}.npy"))
        assert np.array_equal(on_host, np.concatenate(runner.rows))


def test_size_of_the_symmetric_heap(runner, gpus):
    args = on_cuda(runner.exchange())
    for size in ["2M", "64M", "8G"]:
        runner.run(*args, "--symm-reserve", size)


def test_report_names_the_gpu(runner, gpus):
    args = on_cuda(runner.exchange())
    document = json.loads(runner.run(*args, "--json", "--bench", 3).stdout)
    assert document["backend"] == "cuda"
    names = json.loads(runner.run("--probe=json").stdout)["gpu_names"]
    for rank, report in enumerate(document["per_rank"]):
        assert report["device"] == names[rank % len(names)]
        assert len(report["calls"]["all_ns"]) == 3


def test_errors_on_a_gpu(runner, gpus):
    error = runner.fail(*on_cuda(runner.exchange(FAIL)))
    assert error == (
        "rank 1: test.gather at exchange.c:1:1, phase 'put': invalid expert: "
        "expert id of token 3, slot 1: expected -1 to 7, seen 12")
    # A wait in a kernel.
    error = runner.fail(*on_cuda(runner.exchange(LOOP)), "--timeout", 5)
    assert ("test.gather at exchange.c:1:1, phase 'complete': timed out after "
            "5 s waiting for rank 1: expected signal 1, seen 0") in error


def test_rank_with_a_gpu_dies(runner, gpus):
    begin = time.time()
    result = runner.run(*on_cuda(runner.exchange(KILL, who=3)), "--timeout", 1000,
                        code=1)
    assert "rank 3: killed by signal 9 (Killed)" in result.stderr
    # Long before the time-out.
    assert time.time() - begin < 120


def test_gpus_that_do_not_reach_each_other(runner, standin):
    runner.env["MOE_STANDIN_APART"] = "1"
    args = on_cuda(runner.exchange())
    error = runner.fail(*args)
    assert ("GPU 0 (stand-in) of rank 0 has no peer access to GPU 1 (stand-in) "
            "of rank 1") in error
    # Ranks on one GPU need not reach another.
    runner.env["MOE_STANDIN_GPUS"] = "1"
    runner.run(*args)


def test_driver_that_sees_no_gpu(runner, standin):
    runner.env["MOE_STANDIN_GPUS"] = "0"
    assert runner.fail(*on_cuda(runner.exchange())) == (
        "rank 0: the CUDA driver sees no GPU")


def test_kernels_that_the_driver_cannot_load(runner, gpus):
    error = runner.fail(*on_cuda(runner.exchange(), "bad-kernels"))
    assert ": cannot load the kernels: " in error


def test_symmetric_arguments(runner):
    rows = [np.arange(5, dtype=np.float32) + 10 * r for r in range(3)]
    for rank, row in enumerate(rows):
        runner.save(f"x{rank}.npy", row)
    runner.run(artifact("symmetric3"), "--entry", "from_next", "--in",
               "x{rank}.npy", "--out", "y{rank}.npy", "--bench", 5)
    for rank in range(3):
        assert np.array_equal(runner.load(f"y{rank}.npy"), rows[(rank + 1) % 3])


@pytest.mark.parametrize("into", [[], ["--into"]])
def test_tensors_in_host_memory(runner, gpus, into):
    x = np.arange(16, dtype=np.float32) * 10
    runner.save("x.npy", x)
    for rank in range(2):
        runner.save(f"table{rank}.npy", np.array([3 + rank, 0, 15], np.int32))
    runner.run(*on_cuda([None], "tables"), "-n", 2, "--entry", "gather", "--in", "x.npy",
               "--in", "table{rank}.npy", "--out", "y{rank}.npy", "--out", "found{rank}.npy",
               "--bench", 3, *into)
    for rank in range(2):
        expected = x[[3 + rank, 0, 15]]
        assert np.array_equal(runner.load(f"y{rank}.npy"), expected)
        assert np.array_equal(runner.load(f"found{rank}.npy"), expected)


def test_argument_in_host_memory_of_another_shape(runner, gpus):
    runner.save("x.npy", np.zeros(4, np.float32))
    runner.save("table.npy", np.zeros((2, 2), np.int32))
    assert runner.fail(*on_cuda([None], "tables"), "-n", 1, "--entry", "pick", "--in", "x.npy",
                       "--in", "table.npy") == (
        "rank 0: argument 1: table.npy: expected rank 1 i32[?], got rank 2 [2, 2]")
