#===- moe_mlir/runtime/group.py - groups of ranks -------------*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Groups of ranks, and what they do together."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from moe_mlir import _runtime
from moe_mlir.runtime import artifact, dtypes, gather
from moe_mlir.runtime.errors import Code

__all__ = ["Group", "Timing"]


@dataclasses.dataclass(frozen=True)
class Timing:
    """Time that a phase of a collective has taken, accumulated over calls.

    Attributes
    ----------
    op, location : str
        ``"moe.dispatch"``, ``"layer.mlir:12:8"``; ``""`` for what lies outside
        collectives, whose phase is ``"compute"``.
    phase : str
    calls : int
    seconds : float
        Of the host. On a GPU phases run inside kernels, and this is the time to
        enqueue them.
    """

    op: str
    location: str
    phase: str
    calls: int
    seconds: float


class Group:
    """One rank's membership in a group of ranks.

    A class method makes it: `from_env`, `from_torch`, `from_mpi`,
    `from_allgather` for ranks that are processes, `local` for threads. Ranks of
    several hosts load artifacts that exchange messages.
    Used as a context manager it is closed at the end, and an exception tells the
    other ranks to stop.

    *Collective* methods are called by all ranks in the same order. A group is used
    by one thread at a time and by the process that made it; a fork of the process
    is not the rank. All waits for other ranks are bounded by the group's time-out.

    Options of all class methods:

    timeout : float, optional
        Seconds that this rank waits for others; 20 by default.
    reserve : int, optional
        Bytes of address space, not memory, that each rank's symmetric memory may
        grow into; 32 GiB by default.
    backend : str
        ``"host"`` or ``"cuda"``.
    device : int, optional
        GPU of this rank; by default the rank modulo the number of GPUs.

    They raise `MoEError`: ranks that do not come in time (`TIMEOUT`), a backend
    that this machine does not have (`UNAVAILABLE`), options that are out of range
    or differ between ranks.
    """

    def __init__(self, context: _runtime.Context) -> None:
        if not isinstance(context, _runtime.Context):
            raise TypeError(
                "make a group by Group.from_env(), from_torch(), from_mpi(), "
                "from_allgather() or local()"
            )
        self._context = context
        self._pid = os.getpid()

    # Making groups

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

    # What it is

    @property
    def rank(self) -> int:
        """Number of this rank, 0 to `size` - 1."""
        return self._context.rank

    @property
    def size(self) -> int:
        """Number of ranks."""
        return self._context.size

    @property
    def hosts(self) -> dict[str, tuple[int, ...]]:
        """The ranks on each host, by the host's name, in the order of its lowest rank.

        Ranks of one host can share memory. ``MOE_HOSTID`` in the environment of ranks
        names their host, and makes several of one machine, for tests.
        """
        return dict(self._context.hosts)

    @property
    def device(self) -> str:
        """Where results are: ``"cpu"``, or ``"cuda:0"`` with the number of the GPU."""
        kind, index = self._context.device
        return "cpu" if kind == 1 else f"cuda:{index}"

    @property
    def device_name(self) -> str:
        """``"NVIDIA H100 80GB HBM3"``; ``""`` on the host backend."""
        return self._context.device_name

    @property
    def target(self) -> str:
        """What to compile for: ``"host"``, or ``"cuda:sm_90"`` for this GPU.

        A group of several hosts needs the option ``transport="messages"`` besides.
        """
        return self._context.target

    @property
    def failed_rank(self) -> int | None:
        """Rank whose error made the group fail, or None."""
        rank = self._context.failed_rank
        return None if rank < 0 else rank

    @property
    def is_closed(self) -> bool:
        """Whether `close` has been called."""
        return self._context.is_closed

    def __repr__(self) -> str:
        state = ", closed" if self.is_closed else f" on {self.device}"
        return f"<rank {self.rank} of {self.size}{state}>"

    # Artifacts and memory

    def load(self, source: Any, *, name: str | None = None, **options: Any) -> Any:
        """Load an artifact. Collective; all ranks load the same bytes.

        Parameters
        ----------
        source : str, os.PathLike, bytes or object
            A path; the bytes of an artifact; an object with `data: bytes`, such as
            `moe_mlir.compile` returns; or one with a method
            ``build(ranks, target, **options)`` that returns such an object, such as
            `Exchange`: it is built for this group's number of ranks and target, on
            several `hosts` with the option ``transport="messages"`` unless `options`
            say otherwise.
        name : str, optional
            Stands for bytes in messages.
        **options
            For `build`.

        Returns
        -------
        LoadedArtifact or object
            A mapping from names to entries. What a `source` with a method
            ``bind(loaded)`` makes of it, where it has one.

        Raises
        ------
        MoEError
            No artifact, or one of another version, CPU, number of ranks or GPU;
            artifacts that differ between ranks; too little memory; ranks of several
            hosts, and an artifact that does not exchange messages, or no library to do
            so.
        TypeError
            `source` is none of these, or has no `build` but options are given.
        """
        if hasattr(source, "build"):
            if len(self.hosts) > 1:
                options = {"transport": "messages"} | options
            built = artifact.build(source, self.size, self.target, options)
            loaded = artifact.LoadedArtifact(artifact.load(self._context, built, name))
            return source.bind(loaded) if hasattr(source, "bind") else loaded
        if options:
            raise TypeError(
                f"load: expected no options for an artifact that is built, got {sorted(options)}"
            )
        return artifact.LoadedArtifact(artifact.load(self._context, source, name))

    def empty(self, shape: Sequence[int] | int, dtype: Any, *, like: str | None = None) -> Any:
        """Allocate symmetric memory. Collective; all ranks ask for the same.

        Parameters
        ----------
        shape : sequence of int, or int
        dtype : str, numpy.dtype, type or torch.dtype
            Element type: ``"bf16"``, ``numpy.float32``, ``torch.bfloat16``, ...
        like : {"numpy", "torch", "cupy", "tensor"}, optional
            Whose array to return. By default torch's for a `torch.dtype`, else
            numpy's on the host and a `Tensor` on a GPU.

        Returns
        -------
        array
            Zeroed memory, aligned to 256 bytes, at the same offset on all ranks.
            It is freed by `free` or with the group, never by dropping the array.
            It stays mapped as long as some array in it lives, also when the group is
            closed.

        Raises
        ------
        MoEError
            Too little memory, or ranks that ask for different sizes.
        ValueError
            An extent is negative, or `like` is none of these.
        """
        extents = [shape] if isinstance(shape, int) else [int(extent) for extent in shape]
        if any(extent < 0 for extent in extents):
            raise ValueError(f"empty: expected extents of at least 0, got {tuple(extents)}")
        if like is None and type(dtype).__module__ == "torch":
            like = "torch"
        if like is None:
            like = "numpy" if self.device == "cpu" else "tensor"
        if like not in ("numpy", "torch", "cupy", "tensor"):
            raise ValueError(
                f"empty: expected like = 'numpy', 'torch', 'cupy' or 'tensor', got {like!r}"
            )
        if like == "numpy" and self.device != "cpu":
            raise ValueError(
                f"empty: expected like = 'torch', 'cupy' or 'tensor' on {self.device}, whose "
                "memory numpy cannot have, got 'numpy'"
            )
        tensor = _runtime.symmetric_empty(self._context, extents, dtypes.element_type(dtype))
        if like == "tensor":
            return tensor
        return {"numpy": tensor.numpy, "torch": tensor.torch, "cupy": tensor.cupy}[like]()

    def free(self, array: Any) -> None:
        """Free symmetric memory. Collective; all ranks free the same.

        Arrays in it must not be used any more: later memory may lie there.

        Parameters
        ----------
        array : array
            What `empty` returned, or an array that begins where it does.

        Raises
        ------
        MoEError
            It is not where a block of this group begins, or ranks free different ones.
        """
        _runtime.symmetric_free(self._context, array)

    # Errors, streams, times

    def check(self) -> None:
        """Raise the error that this rank or the group has met by now.

        Raises
        ------
        MoEError
        """
        self._context.check()

    def synchronize(self, stream: int | None = None) -> None:
        """Wait until the work on a stream is done, and raise its error.

        Parameters
        ----------
        stream : int, optional
            A handle such as ``torch.cuda.current_stream().cuda_stream``; the legacy
            default stream by default. The same as `check` on the host backend.

        Raises
        ------
        MoEError
        """
        self._context.synchronize(stream)

    def reset(self) -> None:
        """Make the group usable after an error. Collective.

        Raises
        ------
        MoEError
            A rank is gone, so that the others need a new group; or work is running.
        """
        self._context.reset()

    def fail(self, message: str, code: Code = Code.PEER_FAILED) -> None:
        """Tell the other ranks that this one cannot go on.

        Their calls end with `PEER_FAILED`, with this message.
        """
        self._context.fail(int(code), message)

    def timings(self) -> list[Timing]:
        """Return the times of all phases since the beginning, or since `clear_timings`."""
        return [
            Timing(op, location, phase, calls, nanoseconds * 1e-9)
            for op, location, phase, calls, nanoseconds in self._context.timings()
        ]

    def clear_timings(self) -> None:
        """Begin to measure anew: all times are 0."""
        self._context.clear_timings()

    # Its end

    def close(self) -> None:
        """Leave the group and unload its artifacts. Not collective.

        Results of calls stay valid. Closing again does nothing.

        Raises
        ------
        MoEError
            A call on the group is running in another thread.
        """
        self._context.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not self.is_closed and os.getpid() == self._pid:
            self.fail(f"{type(error).__name__}: {error}")
        self.close()
