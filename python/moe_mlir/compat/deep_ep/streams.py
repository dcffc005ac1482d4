# ===- streams.py - which stream a call runs on -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Calls on torch's current stream, or on a stream of their own beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from moe_mlir.compat.deep_ep.event import EventHandle, EventOverlap
from moe_mlir.runtime import Group
from moe_mlir.torch.streams import streams_of


class Call:
    """One call: its event, and the tensors that two streams use.

    Attributes
    ----------
    event : EventHandle or None
        That of an asynchronous call, once it has been enqueued.
    """

    def __init__(self) -> None:
        self.event: EventHandle | None = None
        self._shared: list[torch.Tensor] = []

    def share(self, *tensors: Any) -> None:
        """Name tensors that are used on both streams; None is allowed."""
        self._shared += [tensor for tensor in tensors if tensor is not None]

    def record(self, *streams: Any) -> None:
        """Keep the memory of shared tensors until these streams are done with it."""
        for tensor in self._shared:
            for stream in streams:
                tensor.record_stream(stream)

    @property
    def shared(self) -> tuple[torch.Tensor, ...]:
        """The tensors that were named."""
        return tuple(self._shared)


class Streams:
    """Where calls of a buffer run, one after the other.

    Exchanges of a group follow one another, so a call waits for the one before it when that
    was on another stream.

    Parameters
    ----------
    group : Group
    device : torch.device
    """

    def __init__(self, group: Group, device: torch.device) -> None:
        self.device = device
        self.on_gpu = device.type == "cuda"
        self._own: Any = None
        self._order = streams_of(group, device)

    @property
    def own(self) -> Any:
        """The stream of asynchronous calls."""
        if not self.on_gpu:
            return torch.cpu.current_stream()
        if self._own is None:
            self._own = torch.cuda.Stream(self.device, priority=-1)
        return self._own

    def synchronize(self) -> None:
        """Wait until the work of both streams is done."""
        if self.on_gpu:
            torch.cuda.current_stream(self.device).synchronize()
            self.own.synchronize()

    @contextlib.contextmanager
    def call(self, previous: tuple[Any, ...], is_asynchronous: bool) -> Iterator[Call]:
        """Run what is in the block, without gradients.

        Parameters
        ----------
        previous : tuple of (EventHandle, EventOverlap or None)
            What the block waits for. An asynchronous one waits for the work of the current
            stream when there is nothing.
        is_asynchronous : bool
            Whether the current stream goes on meanwhile.
        """
        call = Call()
        events = [found for found in map(_event, previous) if found is not None]
        if not self.on_gpu:
            with torch.no_grad():
                yield call
            if is_asynchronous:
                call.event = EventHandle()
            return
        current = torch.cuda.current_stream(self.device)
        stream = self.own if is_asynchronous else current
        for event in events:
            stream.wait_event(event)
        if is_asynchronous and not events:
            stream.wait_stream(current)
        with torch.no_grad(), torch.cuda.stream(stream):
            # Not first at the exchange itself: rows are copied to its memory before.
            self._order.follow()
            yield call
        if is_asynchronous:
            call.record(stream, current)
            call.event = EventHandle(stream, call.shared)


def _event(given: Any) -> Any:
    """The event of torch in what callers pass as one, or None."""
    if isinstance(given, EventOverlap):
        given = given.event
    if given is None:
        return None
    if not isinstance(given, EventHandle):
        raise TypeError(f"expected an EventHandle or EventOverlap as previous_event, got {given!r}")
    return given.event
