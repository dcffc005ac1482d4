# ===- test_devices.py - GPUs, and symmetric tensors -----------------------===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Artifacts for GPUs, as far as there are any, and symmetric tensors."""

import json
import subprocess

import numpy as np
import pytest

from support import FAIL, LOOP, MOE_RUN, artifact


def no_gpu():
    """Why there is no GPU, or None."""
    probe = subprocess.run([MOE_RUN, "--probe=json"], text=True, check=True,
                           stdout=subprocess.PIPE, timeout=60).stdout
    return json.loads(probe).get("no_gpus_because")


REASON = no_gpu()
needs_gpu = pytest.mark.skipif(REASON is not None, reason=str(REASON))


def on_cuda(args):
    """The same run with the artifact for GPUs."""
    return [args[0].replace("/exchange", "/cuda/exchange"), *args[1:]]


@pytest.mark.skipif(REASON is None, reason="there is a GPU")
def test_without_a_gpu(runner):
    args = on_cuda(runner.exchange())
    assert runner.fail(*args) == f"rank 0: {REASON}"
    assert runner.fail(*args, "--target", "cuda") == f"rank 0: {REASON}"


def test_artifact_for_another_target(runner):
    args = runner.exchange()
    assert runner.fail(*on_cuda(args), "--target", "host").endswith(
        "the artifact is for target 'cuda', which the host backend cannot run")


@needs_gpu
def test_host_artifact_on_cuda(runner):
    assert runner.fail(*runner.exchange(), "--target", "cuda").endswith(
        "the artifact is for target 'host', which the cuda backend cannot run")


@needs_gpu
@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_same_results_on_a_gpu(runner, ranks):
    args = runner.exchange(ranks=ranks)
    runner.run(*args, "--out", "host-y{rank}.npy")
    runner.run(*on_cuda(args), "--out", "cuda-y{rank}.npy")
    for rank in range(ranks):
        on_host = runner.load(f"host-y{rank}.npy")
        assert np.array_equal(on_host, runner.load(f"cuda-y{rank}.npy"))
        assert np.array_equal(on_host, np.concatenate(runner.rows))


@needs_gpu
def test_report_names_the_gpu(runner):
    args = on_cuda(runner.exchange())
    document = json.loads(runner.run(*args, "--json", "--bench", 3).stdout)
    assert document["backend"] == "cuda"
    names = json.loads(runner.run("--probe=json").stdout)["gpu_names"]
    for rank, report in enumerate(document["per_rank"]):
        assert report["device"] == names[rank % len(names)]
        assert len(report["calls"]["all_ns"]) == 3


@needs_gpu
def test_errors_on_a_gpu(runner):
    error = runner.fail(*on_cuda(runner.exchange(FAIL)))
    assert error == (
        "rank 1: test.gather at exchange.c:1:1, phase 'put': invalid expert: "
        "expert id: expected at most 7, seen 12")
    # A wait in a kernel.
    error = runner.fail(*on_cuda(runner.exchange(LOOP)), "--timeout", 2)
    assert ("test.gather at exchange.c:1:1, phase 'complete': timed out after "
            "2 s waiting for rank 1: expected signal 1, seen 0") in error


def test_symmetric_arguments(runner):
    rows = [np.arange(5, dtype=np.float32) + 10 * r for r in range(3)]
    for rank, row in enumerate(rows):
        runner.save(f"x{rank}.npy", row)
    runner.run(artifact("symmetric3"), "--in", "x{rank}.npy", "--out",
               "y{rank}.npy", "--bench", 5)
    for rank in range(3):
        assert np.array_equal(runner.load(f"y{rank}.npy"), rows[(rank + 1) % 3])
