# ===- event.py - events of DeepEP's interface -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Events: what later work waits for, and what a call waits for."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch


class EventHandle:
    """A point on the current stream of torch. On CPUs, where calls end before they return, no more.

    Parameters
    ----------
    stream : torch.cuda.Stream, optional
        The stream, by default the current one.
    tensors : tuple, optional
        Tensors that live as long as the event.
    """

    def __init__(self, stream: Any = None, tensors: tuple[Any, ...] = ()) -> None:
        self.event: Any = None
        self.tensors_to_record = tensors
        if stream is not None or torch.cuda.is_initialized():
            self.event = torch.cuda.Event()
            self.event.record(torch.cuda.current_stream() if stream is None else stream)

    def current_stream_wait(self) -> None:
        """Make the current stream wait for this point."""
        if self.event is not None:
            torch.cuda.current_stream().wait_event(self.event)


class EventOverlap:
    """The event of a call, and what to do on the current stream after it.

    As a context manager it makes the current stream wait at the end of the block, whose
    work overlaps with the call.

    Parameters
    ----------
    event : EventHandle, optional
        None for a call that was not asynchronous.
    extra_tensors : tuple, optional
        Tensors that live as long as this.
    """

    def __init__(
        self, event: EventHandle | None = None, extra_tensors: tuple[Any, ...] | None = None
    ) -> None:
        self.event = event
        self.extra_tensors = extra_tensors
        self.hook_after_wait: Callable[[], Any] | None = None
        self._releases = False

    def current_stream_wait(self, release_handle: bool = False) -> None:
        """Make the current stream wait for the call.

        Parameters
        ----------
        release_handle : bool, default False
            Whether to let go of the event, and of the tensors that it keeps.

        Raises
        ------
        RuntimeError
            The call was not asynchronous, or its event has been released.
        """
        if self.event is None:
            raise RuntimeError(
                "current_stream_wait: expected the event of an asynchronous call "
                "(async_with_compute_stream, async_finish), got that of one that has ended or "
                "been released"
            )
        self.event.current_stream_wait()
        hook, self.hook_after_wait = self.hook_after_wait, None
        if hook is not None:
            hook()
        if release_handle:
            self.event = None

    def register_hook_after_wait(self, hook_after_wait: Callable[[], Any]) -> None:
        """Call a function once, after the next wait.

        Raises
        ------
        RuntimeError
            There is one already.
        """
        if self.hook_after_wait is not None:
            raise RuntimeError("register_hook_after_wait: expected one hook, got another one")
        self.hook_after_wait = hook_after_wait

    def __call__(self, release_handle: bool = False) -> EventOverlap:
        """Say what the end of the next `with` block does with the event."""
        self._releases = release_handle
        return self

    def __enter__(self) -> EventOverlap:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        releases, self._releases = self._releases, False
        if self.event is not None:
            self.current_stream_wait(release_handle=releases)
