#===- moe_mlir/runtime/artifact.py - loaded artifacts ---------*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Artifacts that a group has loaded, and what can be loaded."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from moe_mlir import _runtime

if TYPE_CHECKING:
    from moe_mlir._runtime import Entry

__all__ = ["LoadedArtifact", "TensorType"]


@dataclasses.dataclass(frozen=True)
class TensorType:
    """Type of an argument or a result of an entry.

    Attributes
    ----------
    dtype : str
        Element type as in manifests: ``"bf16"``.
    shape : tuple of (int or None)
        None for an extent that a call decides.
    symmetric : bool
        Whether it lies in symmetric memory: `Group.empty` makes arguments, and
        such results are valid until the entry is called again.
    host : bool
        Whether it lies in host memory although the group is on a GPU.
    """

    dtype: str
    shape: tuple[int | None, ...]
    symmetric: bool = False
    host: bool = False

    def __str__(self) -> str:
        extents = ", ".join("?" if extent is None else str(extent) for extent in self.shape)
        place = " symmetric" if self.symmetric else " host" if self.host else ""
        return f"{self.dtype}[{extents}]{place}"


class LoadedArtifact(Mapping[str, "Entry"]):
    """An artifact of a group, a mapping from names to entries.

    `Group.load` makes it. It stays loaded until `unload` or the end of the group;
    dropping the object unloads nothing, since unloading is collective.
    """

    def __init__(self, handle: _runtime.Artifact) -> None:
        self._handle = handle
        self._entries: dict[str, Entry] = {entry.name: entry for entry in handle.entries()}

    @property
    def name(self) -> str:
        """Path or name of the artifact, as messages have it."""
        return self._handle.name

    @property
    def manifest(self) -> dict[str, Any]:
        """What the artifact says of itself (docs/Artifact.md).

        Raises
        ------
        MoEError
            The artifact has been unloaded, or the group is closed.
        """
        manifest: dict[str, Any] = json.loads(self._handle.manifest)
        return manifest

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            names = ", ".join(map(repr, self._entries)) or "none"
            raise KeyError(
                f"artifact {self.name} has no entry {name!r}; its entries are: {names}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self) -> Entry:
        """Return the only entry.

        Raises
        ------
        KeyError
            There are several, or none.
        """
        if len(self._entries) != 1:
            names = ", ".join(map(repr, self._entries)) or "none"
            raise KeyError(
                f"artifact {self.name} has {len(self._entries)} entries ({names}); name one"
            )
        return next(iter(self._entries.values()))

    def unload(self) -> None:
        """Unload the artifact and free its workspace. Collective.

        Raises
        ------
        MoEError
            Ranks do different things, or the group has failed.
        """
        self._handle.unload()

    def __repr__(self) -> str:
        if self._handle.is_unloaded:
            return f"<artifact {self.name}, unloaded>"
        return f"<artifact {self.name}: {', '.join(map(repr, self._entries.values()))}>"


# What was built for ranks of this process, per source: thread ranks of one program
# load the same bytes, and build them once.
_built: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()
_build_lock = threading.Lock()


def build(source: Any, ranks: int, target: str, options: dict[str, Any]) -> Any:
    """``source.build(ranks, target, **options)``, once for all ranks of this process."""
    key = (ranks, target, tuple(sorted(options.items())))
    known: dict[Any, Any] | None
    with _build_lock:
        try:
            hash(key)
            known = _built.setdefault(source, {})
        except TypeError:
            # Such a source cannot be known again.
            known = None
        if known is None:
            return source.build(ranks, target, **options)
        if key not in known:
            known[key] = source.build(ranks, target, **options)
        return known[key]


def load(context: _runtime.Context, source: Any, name: str | None) -> _runtime.Artifact:
    """Load a path, bytes, or an object with `data`."""
    if isinstance(source, str | os.PathLike):
        return _runtime.load_path(context, os.fsdecode(source))
    data = source if isinstance(source, bytes | bytearray | memoryview) else None
    if data is None:
        data = getattr(source, "data", None)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(
            "expected an artifact: a path, bytes, an object with `data: bytes` (such as "
            "moe_mlir.compile returns) or with `build(ranks, target)` (such as Exchange), got "
            f"{type(source).__name__}"
        )
    return _runtime.load_bytes(context, bytes(data), name or "")
