# ===- test_processes.py - ranks in several processes -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Groups over jax.distributed and of the environment, on CPU devices."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 120


def start(processes, devices, how):
    """Runs a job; what its processes have printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    script = Path(__file__).with_name("rank_process.py")
    running = []
    for process in range(processes):
        # As torchrun says it, and what JAX reads when it is imported.
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            "RANK": str(process),
            "WORLD_SIZE": str(processes),
            "LOCAL_RANK": str(process),
            "LOCAL_WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(int(address.split(":")[1]) - 1),
            "TORCHELASTIC_RUN_ID": f"jax-{address}",
        }
        words = [process, processes, devices, address, how]
        running.append(
            subprocess.Popen(
                [sys.executable, script, *map(str, words)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        outputs = [one.communicate(timeout=SECONDS) for one in running]
    finally:
        for one in running:
            one.kill()
    for one, (_, error) in zip(running, outputs, strict=True):
        assert one.returncode == 0, error
    return [out for out, _ in outputs]


@pytest.mark.parametrize(
    ("processes", "devices", "how"),
    [(2, 2, "distributed"), (2, 1, "env")],
    ids=["over jax.distributed", "of the environment"],
)
def test_job(processes, devices, how):
    for output in start(processes, devices, how):
        assert output.endswith("done\n")  # XLA prints, too


def test_a_process_that_never_comes():
    first, second = start(2, 1, "alone")
    assert "rank 1 has not come within 1 s to join the group" in first
    assert "Error" not in second
