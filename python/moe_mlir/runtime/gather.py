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
import weakref
from collections.abc import Callable, MutableMapping
from typing import Any

__all__ = [
    "AllGather",
    "from_rank_0",
    "handle_of_mpi",
    "lend_nccl",
    "of_mpi",
    "of_store",
    "of_torch",
]

AllGather = Callable[[bytes, float], bytes]
"""``gather(mine, timeout)`` returns the bytes of all ranks in rank order. All
pass equally many; the wait is bounded by `timeout` seconds where the library
can."""


def of_torch(process_group: Any) -> AllGather:
    """Return the all-gather of a process group of torch.distributed.

    Bytes travel through host memory where the group has a backend for it, and else,
    with NCCL, through the store that the group was made with. They never travel by
    NCCL: a communicator that is lent may be busy on another thread at that time.
    """
    import torch
    import torch.distributed as dist

    size = dist.get_world_size(process_group)
    # "nccl", "gloo", "cpu:gloo,cuda:nccl", or "undefined" for both of these.
    if dist.get_backend(process_group) == "nccl":
        number = _made.get(process_group, 0)
        _made[process_group] = number + 1
        store = dist.distributed_c10d._get_process_group_store(process_group)
        return of_store(store, dist.get_rank(process_group), size, f"moe_mlir/{number}")

    def gather(mine: bytes, timeout: float) -> bytes:
        given = torch.frombuffer(bytearray(mine), dtype=torch.uint8)
        every = [torch.empty_like(given) for _ in range(size)]
        work = dist.all_gather(every, given, group=process_group, async_op=True)
        work.wait(datetime.timedelta(seconds=timeout))
        return bytes(torch.cat(every).numpy())

    return gather


_made: MutableMapping[Any, int] = weakref.WeakKeyDictionary()
"""How many all-gathers each process group has been given, on all ranks alike."""


def from_rank_0(process_group: Any, data: bytes, timeout: float) -> bytes:
    """Return the bytes that rank 0 of a process group of torch.distributed has. Collective.

    `data` of the other ranks is not looked at. The wait is bounded by `timeout` seconds for
    each of two steps, where ``broadcast_object_list`` waits for as long as the process
    group does.
    """
    import torch
    import torch.distributed as dist

    gather = of_torch(process_group)
    size = int.from_bytes(gather(len(data).to_bytes(8, "little"), timeout)[:8], "little")
    if dist.get_backend(process_group) == "nccl":
        mine = data if dist.get_rank(process_group) == 0 else b""
        return gather(mine, timeout)
    sent = torch.zeros(size, dtype=torch.uint8)
    if dist.get_rank(process_group) == 0:
        sent = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    first = dist.get_global_rank(process_group, 0)
    work = dist.broadcast(sent, src=first, group=process_group, async_op=True)
    work.wait(datetime.timedelta(seconds=timeout))
    return bytes(sent.numpy())


def of_store(store: Any, rank: int, size: int, prefix: str) -> AllGather:
    """Return an all-gather of ranks that share a store of torch.distributed.

    Parameters
    ----------
    store : torch.distributed.Store
        Keeps the bytes of the last two calls of each rank.
    rank, size
        This rank, and how many there are.
    prefix
        Begins the names of the keys: the same on all ranks, and no other's.
    """
    number = 0

    def key(call: int, of: int) -> str:
        return f"{prefix}/{call}/{of}"

    def gather(mine: bytes, timeout: float) -> bytes:
        nonlocal number
        # Every rank has begun the call before this one, so has read the one before that.
        if number > 1:
            store.delete_key(key(number - 2, rank))
        call, number = number, number + 1
        keys = [key(call, of) for of in range(size)]
        store.set(keys[rank], mine)
        try:
            store.wait(keys, datetime.timedelta(seconds=timeout))
        except RuntimeError as error:
            absent = [of for of in range(size) if not store.check([keys[of]])]
            if not absent:
                raise
            ranks = ", ".join(map(str, absent))
            raise TimeoutError(
                f"rank {rank} has waited {timeout:g} s for rank {ranks}, which did not take part"
            ) from error
        if store.has_extended_api():
            return b"".join(store.multi_get(keys))
        return b"".join(store.get(one) for one in keys)

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


def make_nccl(process_group: Any, device: int | None) -> None:
    """Run a collective on the GPU, which makes the communicator of a group for NCCL alone."""
    import torch
    import torch.distributed as dist

    if dist.get_backend(process_group) != "nccl":
        return
    with torch.cuda.device(device):
        dist.all_reduce(torch.zeros(1, device="cuda"), group=process_group)
        torch.cuda.current_stream().synchronize()


def lend_nccl(
    process_group: Any, gather: AllGather, device: int | None, whose: str | None, timeout: float
) -> int | None:
    """Return the communicator that a process group lends; None to lend none. Collective.

    `whose` is ``"torch"``, ``"own"``, or None for torch's where all ranks have one.
    The result may be 0 for ``"torch"``, which the runtime explains.

    Raises
    ------
    ValueError
        Ranks ask for different ones; on all of them.
    """
    mine = 0
    # Ranks that are late, or that ask for another one, are missed here, and not in a
    # collective of NCCL, which has time-outs of its own.
    names = (None, "torch", "own")
    asked = [names[number] for number in gather(bytes([names.index(whose)]), timeout)]
    if any(name != whose for name in asked):
        raise ValueError(f"from_torch: expected the same nccl on all ranks, got {asked}")
    if whose != "own":
        make_nccl(process_group, device)
        mine = nccl_of_torch(process_group, device)
    every = gather(bytes([mine != 0]), timeout)
    return mine if whose == "torch" or all(every) else None
