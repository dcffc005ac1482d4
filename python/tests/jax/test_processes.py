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
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from moe_mlir.jax import _groups

SECONDS = 400


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
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        # Process 0 comes last: that ends its input, for which it may wait.
        outputs = [one.communicate(timeout=SECONDS) for one in reversed(running)][::-1]
    finally:
        for one in running:
            one.kill()
    errors = [error for one, (_, error) in zip(running, outputs, strict=True) if one.returncode]
    assert not errors, "\n".join(errors)
    return [out for out, _ in outputs]


@pytest.mark.parametrize(
    ("processes", "devices", "how"),
    [(2, 3, "distributed"), (2, 1, "env")],
    ids=["over jax.distributed", "of the environment"],
)
def test_job(processes, devices, how):
    for output in start(processes, devices, how):
        assert output.endswith("done\n")  # XLA prints, too


class Service:
    """As the client of jax.distributed; all other ranks are there."""

    def __init__(self):
        self.values, self.waits = {}, []

    def key_value_set_bytes(self, key, value):
        self.values[key] = value

    def blocking_key_value_get_bytes(self, key, milliseconds):
        self.waits.append(milliseconds)
        return self.values.get(key, b".")

    def key_value_delete(self, key):
        del self.values[key]


def test_ranks_have_one_time_out_together(monkeypatch):
    """They do not have it one after the other."""
    service, now = Service(), [0.0]
    clock = SimpleNamespace(monotonic=lambda: now.append(now[-1] + 3) or now[-1])
    monkeypatch.setattr(_groups, "time", clock)
    gather = _groups.DistributedGather(service, "group", 0, 3, set())
    assert gather(b"!", 10.0) == b"!.."
    assert service.waits == [7000, 4000, 1000]


def test_keys_do_not_pile_up(monkeypatch):
    """A key stays until all ranks must have read it: until the next call or group."""
    service, gathers = Service(), []

    class Group:
        @staticmethod
        def from_allgather(rank, size, gather, **options):
            gathers.append(gather)
            gather(b"!", 10.0)
            gather(b"!", 10.0)

    monkeypatch.setattr(_groups, "Group", Group)
    monkeypatch.setattr(_groups, "_client", lambda: service)
    line = _groups.Line([SimpleNamespace(id=i, local_hardware_id=None) for i in (70, 71)], [1])
    other = _groups.Line([SimpleNamespace(id=i, local_hardware_id=None) for i in (71, 70)], [0])
    for number in range(3):
        _groups.make(line, "host", {})
        assert list(service.values) == [f"moe_mlir/{line.name}/{number}/1/1"]
        gathers[0](b"!", 10.0)  # loads, and resets, of a group that was made before
        assert len(service.values) == 1 + (number > 0)
    _groups.make(other, "host", {})
    assert f"moe_mlir/{other.name}/0/1/0" in service.values
    assert len(service.values) == 3


def test_ranks_that_join_at_the_same_time_have_their_own_devices(monkeypatch):
    """Threads of one process, each of which begins before the others have gone on."""
    meet, seen = threading.Barrier(4), {}

    class Devices(list):
        def __len__(self):
            """Read by each thread before it joins."""
            if threading.current_thread() is not threading.main_thread():
                meet.wait(20)
            return super().__len__()

    class Group:
        @staticmethod
        def from_allgather(rank, size, gather, *, backend, device):
            seen[rank] = device

    devices = Devices(SimpleNamespace(id=i, local_hardware_id=i // 2) for i in range(8))
    line = _groups.Line(devices, [0, 2, 4, 6])

    monkeypatch.setattr(_groups, "Group", Group)
    monkeypatch.setattr(_groups, "_client", lambda: None)
    _groups.make(line, "cuda", {})
    assert seen == {0: 0, 2: 1, 4: 2, 6: 3}


def test_a_process_that_never_comes():
    first, second = start(2, 1, "alone")
    assert "rank 1 has not come within 3 s to join the group" in first
    assert "Error" not in second
