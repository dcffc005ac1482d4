# ===- joining.py - how ranks make a group -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""How the ranks that something has started make a group."""

from __future__ import annotations

import os
from typing import Any, Self

from moe_mlir import _runtime
from moe_mlir.runtime import gather

__all__ = ["Joining"]


class Joining:
    """What makes a `Group`, which says what the options are."""

    def __init__(self, context: _runtime.Context) -> None:
        if not isinstance(context, _runtime.Context):
            raise TypeError(
                "make a group by Group.from_env(), from_torch(), from_mpi(), "
                "from_allgather() or local()"
            )
        self._context = context
        self._pid = os.getpid()

    @classmethod
    def from_env(
        cls,
        *,
        timeout: float | None = None,
        reserve: int | None = None,
        backend: str = "host",
        device: int | None = None,
    ) -> Self:
        """Join the processes that a launcher has started. Collective.

        Rank and size are what the environment says that mpirun, mpiexec (Open MPI,
        MPICH, Intel MPI, MVAPICH), srun or torchrun have set. A process that was
        started alone is a group of one. On one host no library of theirs is needed; on
        several the ranks meet by MPI, which torchrun does not start. A program may make
        several groups, all processes in the same order.
        """
        return cls(_runtime.create_from_environment(timeout, reserve, backend, device))

    @classmethod
    def from_torch(
        cls,
        process_group: Any = None,
        *,
        timeout: float | None = None,
        reserve: int | None = None,
        backend: str | None = None,
        device: int | None = None,
        nccl: str | None = None,
    ) -> Self:
        """Join the ranks of a process group of torch.distributed. Collective.

        Parameters
        ----------
        process_group : torch.distributed.ProcessGroup, optional
            The default group by default. It is used when the group is made, when
            symmetric memory grows and when artifacts are loaded, so it has to live
            as long.
        timeout, reserve : optional
            See `Group`.
        backend : str, optional
            By default ``"cuda"`` when the group's backend is NCCL, else ``"host"``.
        device : int, optional
            By default the current device of torch, with the backend ``"cuda"``.
        nccl : {"torch", "own"}, optional
            Whose communicator artifacts use that exchange messages by NCCL: that of
            the process group, or one that the runtime makes. By default torch's where
            all ranks have one, which they have after the group's first collective on a
            GPU, or at once where `init_process_group` was given `device_id`. One of
            torch's is only used, never aborted or destroyed; the process group must not
            run a collective in another thread at the same time.

        Notes
        -----
        Between hosts, rows of GPUs travel by NCCL, and those of CPUs by MPI. torchrun
        starts no MPI, but processes of mpirun can have a process group of torch, too;
        it has to be that of all processes then.

        Raises
        ------
        MoEError
            Also with ``nccl="torch"`` when the process group has no communicator.
        ValueError
            `nccl` is none of these.
        """
        import torch
        import torch.distributed as dist

        if process_group is None:
            process_group = dist.group.WORLD
        if backend is None:
            backend = "cuda" if "nccl" in dist.get_backend(process_group) else "host"
        if backend == "cuda" and device is None:
            device = torch.cuda.current_device()
        if nccl not in (None, "torch", "own"):
            raise ValueError(f"from_torch: expected nccl = 'torch' or 'own', got {nccl!r}")
        rank = dist.get_rank(process_group)
        size = dist.get_world_size(process_group)
        allgather = gather.of_torch(process_group)
        lent = None
        if backend == "cuda":
            lent = gather.lend_nccl(process_group, allgather, device, nccl, timeout or 20.0)
        return cls(
            _runtime.create_with_allgather(
                rank, size, allgather, timeout, reserve, backend, device, lent
            )
        )

    @classmethod
    def from_mpi(
        cls,
        communicator: Any,
        *,
        timeout: float | None = None,
        reserve: int | None = None,
        backend: str = "host",
        device: int | None = None,
    ) -> Self:
        """Join the ranks of a communicator of MPI. Collective.

        Parameters
        ----------
        communicator
            An mpi4py communicator of a single group. It is copied, and may be freed
            afterwards. MPI has to allow calls from the threads that use the group, as
            it does unless ``mpi4py.rc.thread_level`` was lowered, and is not to be
            finalized before the group is closed.
        timeout, reserve, backend, device : optional
            See `Group`.

        Notes
        -----
        With Open MPI ranks meet, and several hosts exchange rows, by MPI itself, and
        every wait is bounded. With another MPI library, or another object that has
        `Get_rank`, `Get_size` and mpi4py's `allgather`, ranks meet by that all-gather.
        It knows no time-out, so a rank that never comes to it is waited for until MPI
        gives up; rows between hosts then travel between GPUs alone, by NCCL.

        Raises
        ------
        MoEError
            Also for ``MPI.COMM_NULL``, an inter-communicator, and an MPI that was
            finalized.
        """
        address = gather.handle_of_mpi(communicator)
        if address is not None:
            return cls(_runtime.create_with_mpi(address, timeout, reserve, backend, device))
        return cls.from_allgather(
            communicator.Get_rank(),
            communicator.Get_size(),
            gather.of_mpi(communicator),
            timeout=timeout,
            reserve=reserve,
            backend=backend,
            device=device,
        )

    @classmethod
    def from_allgather(
        cls,
        rank: int,
        size: int,
        allgather: gather.AllGather,
        *,
        timeout: float | None = None,
        reserve: int | None = None,
        backend: str = "host",
        device: int | None = None,
        nccl_comm: int | None = None,
    ) -> Self:
        """Join processes that have an all-gather of bytes. Collective.

        Parameters
        ----------
        rank, size : int
        allgather : callable
            ``allgather(mine: bytes, timeout: float) -> bytes`` returns the bytes of
            all ranks in rank order; all pass equally many. It should give up after
            about `timeout` seconds. What it raises becomes the text of an error.
        timeout, reserve, backend, device : optional
            See `Group`.
        nccl_comm : int, optional
            A communicator of the program's, an ``ncclComm_t``, for artifacts that
            exchange messages by NCCL; all ranks lend one, or none does. It has the same
            ranks, each with its GPU, and outlives the group, which never aborts or
            destroys it. No other thread may use it meanwhile. By default the runtime
            makes one.
        """
        return cls(
            _runtime.create_with_allgather(
                rank, size, allgather, timeout, reserve, backend, device, nccl_comm
            )
        )

    @classmethod
    def local(
        cls,
        ranks: int,
        *,
        timeout: float | None = None,
        reserve: int | None = None,
        backend: str = "host",
        device: int | None = None,
    ) -> list[Self]:
        """Make a group whose ranks are threads of this process.

        Parameters
        ----------
        ranks : int
            At least 1.
        timeout, reserve, backend, device : optional
            See `Group`.

        Returns
        -------
        list of Group
            One per rank. Each is to be used in a thread of its own, since collective
            calls wait for the other ranks; `run_local` starts these threads.
        """
        made = _runtime.create_in_threads(ranks, timeout, reserve, backend, device)
        return [cls(context) for context in made]
