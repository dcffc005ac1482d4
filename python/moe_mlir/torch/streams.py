# ===- streams.py - calls on several streams of a GPU -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Keeps the calls of a group in order when a program changes torch's current stream."""

from __future__ import annotations

import weakref
from typing import Any

import torch

from moe_mlir.runtime import Group


class Streams:
    """The stream that the last call of a group was put on.

    Calls of a group share memory, so a call on one stream must not begin before those
    on another one have ended.

    Parameters
    ----------
    device : torch.device
        The GPU of this rank.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._handle: int | None = None
        self._stream: Any = None

    def follow(self) -> None:
        """Let the current stream wait for the last call, when that was on another one.

        A call that is captured is ordered where its graph is replayed, by the program.
        """
        handle = torch._C._cuda_getCurrentRawStream(self._device.index)
        if handle == self._handle or torch.cuda.is_current_stream_capturing():
            return
        stream = torch.cuda.current_stream(self._device)
        if self._stream is not None:
            stream.wait_stream(self._stream)
        self._handle, self._stream = handle, stream


_of_groups: weakref.WeakKeyDictionary[Group, Streams] = weakref.WeakKeyDictionary()


def streams_of(group: Group, device: torch.device) -> Streams:
    """The one of a group, which all that is loaded on it shares."""
    return _of_groups.setdefault(group, Streams(device))
