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
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["AllGather", "handle_of_mpi", "lend_nccl", "of_mpi", "of_torch"]

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


def handle_of_mpi(communicator: Any) -> int | None:
    """Return where the `MPI_Comm` of a communicator is; None where it cannot be used.

    That is so for communicators of mpi4py on an Open MPI, whose interface the runtime
    knows. No MPI library is loaded to find out.
    """
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is None or not isinstance(communicator, mpi.Comm):
        return None
    if mpi.get_vendor()[0] != "Open MPI":
        return None
    return int(mpi._addressof(communicator))


def of_mpi(communicator: Any) -> AllGather:
    """Return the all-gather of a communicator's objects, which knows no time-out."""

    def gather(mine: bytes, timeout: float) -> bytes:
        return b"".join(communicator.allgather(mine))

    return gather


def nccl_of_torch(process_group: Any, device: int | None) -> int:
    """Return the communicator of a process group, an ``ncclComm_t``; 0 for none.

    torch makes it in the group's first collective on the GPU, unless
    ``init_process_group`` was given ``device_id``.
    """
    import torch

    try:
        with torch.cuda.device(device):
            backend = process_group._get_backend(torch.device("cuda", device))
            return int(backend._comm_ptr())
    except (AssertionError, AttributeError, RuntimeError):
        # A torch without CUDA or without that function, or a group without NCCL.
        return 0


def lend_nccl(
    process_group: Any, gather: AllGather, device: int | None, whose: str | None, timeout: float
) -> int | None:
    """Return the communicator that a process group lends; None to lend none. Collective.

    `whose` is ``"torch"``, ``"own"``, or None for torch's where all ranks have one.
    The result may be 0 for ``"torch"``, which the runtime explains.
    """
    # Where bytes travel by NCCL, this makes it.
    gather(b"\0", timeout)
    mine = 0 if whose == "own" else nccl_of_torch(process_group, device)
    every = gather(bytes([mine != 0]), timeout)
    return mine if whose == "torch" or all(every) else None
