# ===- entries.py - entries that take routes in one tensor -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The entries of a loaded exchange, with the routes of a dispatch in one tensor.

Calls are on the hot path, so they check nothing that the runtime checks as well; its
errors are told to all ranks, and get a note here with the names that torch's users know.
"""

from __future__ import annotations

from typing import Any

import torch

from moe_mlir._runtime import PackedEntry
from moe_mlir.exchange import Exchange
from moe_mlir.runtime import Code, Entry, Group, LoadedArtifact, MoEError
from moe_mlir.torch.routes import Layout
from moe_mlir.torch.streams import streams_of


class Entries:
    """The entries of an artifact on a group.

    Parameters
    ----------
    plan : Exchange
    group : Group
    loaded : LoadedArtifact
    """

    def __init__(self, plan: Exchange, group: Group, loaded: LoadedArtifact) -> None:
        self.plan, self.group, self.ranks = plan, group, group.size
        self.device = torch.device(group.device)
        self.on_gpu = self.device.type == "cuda"
        self.streams = streams_of(group, self.device)
        self.layout = Layout.of(plan, self.ranks, self.device.type)
        self._tensors: dict[str, dict[str, int]] = {}
        self._calls = {name: self._pack(loaded[name]) for name in plan.entries}

    def _pack(self, entry: Entry) -> PackedEntry:
        """The entry with all routes in one tensor.

        Its tensors are numbered in the order of the entry's arguments and results, and the
        routes come where the first of them does.
        """
        number: dict[str, int] = {}

        def place(name: str) -> int | tuple[Any, ...]:
            part = self.layout.place(name)
            tensor = number.setdefault(name if part is None else "routes", len(number))
            return tensor if part is None else (tensor, *part)

        signature = self.plan.signature(entry.name, self.ranks)
        arguments = [place(spec.name) for spec in signature.arguments]
        results = [place(spec.name) for spec in signature.results]
        self._tensors[entry.name] = number
        return PackedEntry(entry, arguments, results)

    def call(self, entry: str, *tensors: torch.Tensor) -> None:
        """Call an entry with its arguments and results, the routes in one tensor.

        Raises
        ------
        MoEError
            As entries do, with the names of what was passed in a note.
        ValueError
            A tensor is on another device than the group.
        """
        if self.on_gpu:
            self.streams.follow()
        call = self._calls[entry]
        try:
            if not call(*tensors) and not call(*self._moved(entry, tensors)):
                raise RuntimeError(f"{entry}: expected dense tensors on {self.device}, got others")
        except MoEError as error:
            self._explain(error, entry)
            raise

    # Errors

    def _moved(self, entry: str, tensors: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        """Dense copies of what is read, where an entry cannot be called with the tensors.

        Raises
        ------
        ValueError
            The reason is the device of one of them.
        """
        signature = self.plan.signature(entry, self.ranks)
        on_host = {spec.name for spec in (*signature.arguments, *signature.results) if spec.host}
        for name, tensor in zip(self._tensors[entry], tensors, strict=True):
            if name in on_host and tensor.device.type != "cpu":
                raise ValueError(
                    f"{entry}: expected {name} in memory of the host, where dispatch has returned "
                    f"it, got a tensor on {tensor.device}"
                )
            if name not in on_host and tensor.device.type != self.device.type:
                raise ValueError(
                    f"{entry}: expected {name} on {self.device}, where the group of this "
                    f"ExpertParallel is, got a tensor on {tensor.device}"
                )
        results = {spec.name for spec in signature.results}
        if "send_row" in results:
            results.add("routes")
        return [
            tensor if name in results else tensor.contiguous()
            for name, tensor in zip(self._tensors[entry], tensors, strict=True)
        ]

    def _explain(self, error: MoEError, entry: str) -> None:
        """Say in a note how the arguments of an entry are called, in order."""
        if error.cause != Code.INVALID_ARGUMENT:
            return
        types = [f"{a.name}: {a.type}" for a in self.plan.signature(entry, self.ranks).arguments]
        error.add_note(f"the arguments of {entry} are ({', '.join(types)})")
