# ===- hosts_scenes.py - groups of torch on two hosts -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""What test_hosts.py runs in the four processes of a launcher, two on each host.

The hosts are one machine, of which MOE_HOSTID makes two.
"""

from __future__ import annotations

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import torch
import torch.distributed as dist
from hosts import exchanges, expect, refused, refuses_shared_memory
from layer import USUAL, case, dense, run, same

import moe_mlir as moe

LAYER = moe.Exchange(
    **USUAL, dtype="f32", layout="expert_major", combine_weights=True, gradients=True,
    padding="zero",
)  # fmt: skip
HOSTS = {"moe-a": (0, 1), "moe-b": (2, 3)}


def of_torchrun():
    """CPUs exchange no messages, since torchrun starts no MPI.

    GPUs do it by NCCL, but torch has loaded a real one, which the stand-in's GPUs are not
    for: test_nccl.py has such exchanges without torch.
    """
    dist.init_process_group("gloo")
    with moe.Group.from_torch() as group:
        expect(group.hosts == HOSTS, group.hosts)
        refuses_shared_memory(group, "--transport=messages")
        error = refused(group.load, LAYER)
        expect("rows travel by MPI: MPI is not initialized in this process" in error.message, error)
        expect("start the process by mpirun" in error.message, error)
    device = int(os.environ["LOCAL_RANK"])
    with moe.Group.from_torch(backend="cuda", device=device) as group:
        expect(group.hosts == HOSTS, group.hosts)
        refuses_shared_memory(group, "--target nccl")


def of_mpirun():
    """On CPUs messages go by MPI, and gradients with them."""
    rank, size = (int(os.environ[f"OMPI_COMM_WORLD_{name}"]) for name in ("RANK", "SIZE"))
    os.environ["MOE_HOSTID"] = list(HOSTS)[rank // 2]
    dist.init_process_group("gloo", rank=rank, world_size=size)
    with moe.Group.from_torch() as group:
        expect(group.hosts == HOSTS, group.hosts)
        refuses_shared_memory(group, "--transport=messages")
        exchanges(group)
        ep = moe.torch.ExpertParallel(LAYER, group)
        mine = case(LAYER, rank, seed=1, tokens=(5, 0, 6, 3)[rank])
        found, expected = run(ep, mine), dense(LAYER, mine)
        for value, wanted in zip(found[:3], expected[:3], strict=True):
            expect(same(value, wanted), value, wanted)
        # The gradient of an expert is on the rank that owns it.
        for factor in (found[3], expected[3]):
            dist.all_reduce(factor)
        expect(same(found[3], expected[3]), found[3], expected[3])


if __name__ == "__main__":
    torch.set_num_threads(1)
    globals()[sys.argv[1]]()
    dist.barrier()
    dist.destroy_process_group()
    sys.stdout.write("done\n")
