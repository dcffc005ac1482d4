# ===- test_launchers.py - groups of processes -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""How processes find each other: launchers, MPI, torch, any all-gather."""

import importlib.util
import multiprocessing
import os
import shutil
import subprocess
import sys

import pytest
from exchanges import rotated

from moe_mlir.runtime import Code, Group, MoEError

RANK = """
import sys
import numpy as np
from moe_mlir.runtime import Group, MoEError
try:
    with Group.from_env(timeout=float(sys.argv[2])) as group:
        rotate = group.load(f"{sys.argv[1]}/exchange{group.size}.so")["rotate"]
        value = rotate(np.full((1, 4), group.rank, np.float32))[0, 0]
        sys.stdout.write(f"{group.rank} {value}\\n")  # at once, since ranks share a terminal
    with Group.from_env(timeout=float(sys.argv[2])) as group:  # a second one
        group.empty((4,), "f32")
except MoEError as error:
    print(error.code.name, error.peer, error)
"""


def start(by_hand, variables: dict[str, str], timeout: float = 30) -> subprocess.Popen[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMI", "SLURM_"))}
    return subprocess.Popen(
        [sys.executable, "-c", RANK, str(by_hand), str(timeout)],
        env=clean | variables,
        stdout=subprocess.PIPE,
        text=True,
    )


LAUNCHERS = {
    "Open MPI": lambda r, n: {"OMPI_COMM_WORLD_RANK": r, "OMPI_COMM_WORLD_SIZE": n},
    "PMI": lambda r, n: {"PMI_RANK": r, "PMI_SIZE": n},
    "Slurm": lambda r, n: {"SLURM_PROCID": r, "SLURM_STEP_NUM_TASKS": n},
    "torchrun": lambda r, n: {"RANK": r, "WORLD_SIZE": n, "TORCHELASTIC_RUN_ID": "x"},
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_processes_of_a_launcher(by_hand, launcher):
    started = [start(by_hand, LAUNCHERS[launcher](str(rank), "3")) for rank in range(3)]
    for rank, process in enumerate(started):
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert out == f"{rank} {float((rank - 1) % 3)}\n"


def test_process_that_was_started_alone(by_hand):
    out, _ = start(by_hand, {}).communicate(timeout=60)
    assert out == "0 0.0\n"


def test_process_that_never_comes(by_hand):
    out, _ = start(by_hand, {"PMI_RANK": "1", "PMI_SIZE": "2"}, 0.5).communicate(timeout=60)
    assert out == (
        "TIMEOUT 0 rank 1: rank 0 did not come within 0.5 s; each of the 2 processes of the PMI "
        "job (PMI_RANK) has to make the group on this host\n"
    )


def test_environment_that_contradicts_itself(by_hand):
    out, _ = start(by_hand, {"PMI_RANK": "2", "PMI_SIZE": "2"}).communicate(timeout=60)
    assert out == "INVALID_ARGUMENT None PMI_RANK is 2, but PMI_SIZE is 2\n"


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="there is no mpirun")
def test_mpirun(by_hand):
    command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2"]
    run = subprocess.run(
        [*command, sys.executable, "-c", RANK, str(by_hand), "30"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    # mpirun passes on what ranks write as it comes, also between two words.
    assert sorted("".join(run.stdout.split())) == sorted("01.010.0"), run.stdout


class Pipes:
    """A communicator of forked processes, with the methods of mpi4py's."""

    def __init__(self, rank, size, queues):
        self.rank, self.size, self.queues = rank, size, queues

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return self.size

    def allgather(self, mine):
        for queue in self.queues:
            queue[self.rank].put(mine)
        return [self.queues[self.rank][r].get(timeout=30) for r in range(self.size)]


def forked(size, body):
    """Results of `body(communicator)` in a process per rank."""
    context = multiprocessing.get_context("fork")
    queues = [[context.Queue() for _ in range(size)] for _ in range(size)]
    results = context.Queue()

    def run(rank):
        try:
            results.put((rank, body(Pipes(rank, size, queues))))
        except BaseException as error:
            results.put((rank, repr(error)))

    processes = [context.Process(target=run, args=(rank,)) for rank in range(size)]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(30)
    return [found[rank] for rank in range(size)]


def test_communicator_of_mpi(by_hand):
    def body(communicator):
        with Group.from_mpi(communicator) as group:
            return rotated(group, by_hand)

    assert forked(3, body) == [[2.0] * 4, [0.0] * 4, [1.0] * 4]


def test_all_gather_that_fails():
    calls = []

    def gather(mine, timeout):
        calls.append(timeout)
        if len(calls) == 1:
            return mine * 2
        raise OSError("the network is gone")

    with pytest.raises(MoEError) as error:
        Group.from_allgather(0, 2, gather, timeout=3)
    assert error.value.code == Code.PEER_FAILED
    assert error.value.message.endswith(
        "the all-gather of the program failed: OSError: the network is gone"
    )
    assert set(calls) == {3.0}

    calls.clear()
    with pytest.raises(MoEError) as error:
        Group.from_allgather(0, 2, lambda mine, _: mine)
    assert "bytes; expected" in error.value.message


torch_missing = importlib.util.find_spec("torch") is None

TORCH = """
import sys
import torch
import torch.distributed as dist
from moe_mlir.runtime import Group
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=int(sys.argv[3]),
                        world_size=2)
with Group.from_torch() as group:
    rotate = group.load(f"{sys.argv[1]}/exchange2.so")["rotate"]
    print(group.rank, group.device, rotate(torch.full((1, 4), float(group.rank))).tolist())
    group.empty((1 << 22,), torch.float32)  # the heap grows, by the all-gather
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.skipif(torch_missing, reason="torch is not installed")
def test_process_group_of_torch(by_hand, tmp_path):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TORCH, str(by_hand), str(tmp_path / "store"), str(rank)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for rank, process in enumerate(started):
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert out == f"{rank} cpu [[{1.0 - rank}, {1.0 - rank}, {1.0 - rank}, {1.0 - rank}]]\n"
