#===- moe_mlir/runtime/gather.py - groups of other libraries --*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""All-gathers of libraries that have started the ranks: torch.distributed, MPI."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Callable
from typing import Any

__all__ = ["AllGather", "check_one_host", "of_mpi", "of_torch"]

AllGather = Callable[[bytes, float], bytes]
"""``gather(mine, timeout)`` returns the bytes of all ranks in rank order. All
pass equally many; the wait is bounded by `timeout` seconds where the library
can."""


def of_torch(process_group: Any) -> AllGather:
    """Return the all-gather of a process group of torch.distributed.

    Bytes travel through host memory where the group has a backend for it, and
    else, with NCCL, through the current GPU.
    """
    import torch
    import torch.distributed as dist

    size = dist.get_world_size(process_group)
    # "nccl", "gloo", "cpu:gloo,cuda:nccl", or "undefined" for both of these.
    is_nccl = dist.get_backend(process_group) == "nccl"
    device = torch.device("cuda", torch.cuda.current_device()) if is_nccl else torch.device("cpu")

    def gather(mine: bytes, timeout: float) -> bytes:
        given = torch.frombuffer(bytearray(mine), dtype=torch.uint8).to(device)
        every = [torch.empty_like(given) for _ in range(size)]
        work = dist.all_gather(every, given, group=process_group, async_op=True)
        work.wait(datetime.timedelta(seconds=timeout))
        return bytes(torch.cat(every).cpu().numpy())

    return gather


def of_mpi(communicator: Any) -> AllGather:
    """Return the all-gather of an mpi4py communicator, which knows no time-out."""

    def gather(mine: bytes, timeout: float) -> bytes:
        return b"".join(communicator.allgather(mine))

    return gather


def check_one_host(gather: AllGather, rank: int, timeout: float) -> None:
    """Refuse ranks of several machines. Collective.

    Raises
    ------
    ValueError
        On all ranks alike.
    """
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        mine = f"{file.read().strip()} {socket.gethostname()}"
    every = gather(mine.encode()[:256].ljust(256), timeout)
    hosts = [every[i : i + 256].decode(errors="replace").split() for i in range(0, len(every), 256)]
    for other, (boot, name) in enumerate(hosts):
        if boot != hosts[0][0]:
            raise ValueError(
                f"rank {rank}: expected all ranks on one host, but rank 0 is on {hosts[0][1]} "
                f"and rank {other} on {name}"
            )
