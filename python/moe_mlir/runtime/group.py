#===- moe_mlir/runtime/group.py - groups of ranks -------------*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Groups of ranks, and what they do together."""

from __future__ import annotations

import contextlib
import dataclasses
import operator
import os
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self, SupportsIndex

from moe_mlir import _runtime
from moe_mlir.runtime import artifact, dtypes, frameworks
from moe_mlir.runtime.errors import Code, encodable, text_of
from moe_mlir.runtime.joining import Joining

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


class Group(Joining):
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

    def empty(
        self, shape: Iterable[SupportsIndex] | SupportsIndex, dtype: Any, *, like: str | None = None
    ) -> Any:
        """Allocate symmetric memory. Collective; all ranks ask for the same.

        Parameters
        ----------
        shape : iterable of int, or int
            One integer is the extent of a vector.
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
            Too little memory, a size of 2^63 bytes or more, or ranks that ask for
            different sizes.
        ModuleNotFoundError
            There is no package for `like`, or for the element type.
        TypeError
            `shape` has other things than integers, or `dtype` is no element type.
        ValueError
            An extent is out of range, or `like` is none of these.
        """
        extents = _extents(shape)
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
        if like == "cupy" and self.device == "cpu":
            raise ValueError(
                "empty: expected like = 'numpy', 'torch' or 'tensor' on cpu, whose memory CuPy "
                "cannot have, got 'cupy'"
            )
        element = dtypes.element_type(dtype)
        # Before there is memory: arrays of a package that is missing would keep none.
        frameworks.require(like, element)
        tensor = _runtime.symmetric_empty(self._context, extents, element)
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

    def synchronize(self, stream: Any = None) -> None:
        """Wait until the work on a stream is done, and raise its error.

        Parameters
        ----------
        stream : int or stream, optional
            A handle such as ``torch.cuda.current_stream().cuda_stream``, or a stream of
            torch or CuPy; the legacy default stream by default. The same as `check` on
            the host backend.

        Raises
        ------
        MoEError
        TypeError, ValueError
            `stream` is none of these.
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
        self._context.fail(int(code), encodable(message))

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
        if error is None:
            self.close()
            return
        # What goes wrong from here on says less than the error that led here.
        with contextlib.suppress(Exception):
            try:
                if not self.is_closed and os.getpid() == self._pid:
                    self.fail(text_of(error))
            finally:
                self.close()


def _extents(shape: Any) -> list[int]:
    """Return the extents of a shape, all of them checked."""
    try:
        extents = [operator.index(shape)]
    except TypeError:
        try:
            extents = [operator.index(extent) for extent in shape]
        except TypeError:
            raise TypeError(
                f"empty: expected an integer or integers as shape, got {shape!r}"
            ) from None
    if any(extent < 0 for extent in extents):
        raise ValueError(f"empty: expected extents of at least 0, got {tuple(extents)}")
    if any(extent >= 1 << 63 for extent in extents):
        raise ValueError(f"empty: expected extents of less than 2^63, got {tuple(extents)}")
    return extents
