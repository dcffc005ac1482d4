# ===- test_hosts.py - groups of torch on two hosts -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""`Group.from_torch` with ranks on two hosts, under torchrun and under mpirun."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys

import pytest

SCENES = pathlib.Path(__file__).with_name("hosts_scenes.py")
DRIVER = os.environ.get("MOE_STANDIN_DRIVER_DIR", "")
SECONDS = 400

sys.path.insert(0, str(SCENES.parents[1]))

from hosts import PLAN  # noqa: E402


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def wait(started):
    outputs = [process.communicate(timeout=SECONDS)[0] for process in started]
    assert "".join(outputs).count("done") == 4, "\n".join(outputs)
    assert [process.returncode for process in started] == [0] * len(started)


def start(*command, **variables):
    return subprocess.Popen(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_nodes_of_torchrun(cache, port):
    """Each node has a torchrun of its own."""
    for target in ("host", "cuda:sm_90"):
        PLAN.build(4, target, transport="direct")
    nodes = []
    for number, host in enumerate(("moe-a", "moe-b")):
        options = [
            "--nnodes=2", "--nproc-per-node=2", f"--node-rank={number}",
            "--master-addr=127.0.0.1", f"--master-port={port}",
        ]  # fmt: skip
        command = [sys.executable, "-m", "torch.distributed.run", *options, SCENES, "of_torchrun"]
        nodes.append(start(*command, MOE_HOSTID=host, LD_LIBRARY_PATH=DRIVER))
    wait(nodes)


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="there is no mpirun")
def test_two_hosts_of_mpirun(cache, port):
    launcher = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "4"]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    wait([start(*launcher, sys.executable, SCENES, "of_mpirun", **where)])
