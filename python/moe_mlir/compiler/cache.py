# ===- moe_mlir/compiler/cache.py - artifacts on disk ----------*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Artifacts on disk, for modules that are compiled again.

An entry is a file, named after a hash of everything that the artifact depends on:
the module as it was given, all options, and the build of the compiler. Locations
are a part of the module, as artifacts name them in their messages.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import time
import warnings
from pathlib import Path

from moe_mlir.compiler._files import UNFINISHED, read_file, write_file
from moe_mlir.compiler.artifact import Artifact

_MAGIC = b"moe-mlir cache 1\n"
_SUFFIX = ".moe"
_DEFAULT_BYTES = 512 << 20
# An unfinished file of this age has lost its writer.
_UNFINISHED_SECONDS = 3600
# As write_file names what it has not finished.
_UNFINISHED_NAME = re.compile(rf"\..+{re.escape(_SUFFIX)}\.[0-9a-f]{{16}}{re.escape(UNFINISHED)}")


def _is_entry(path: str) -> bool:
    """Whether a file begins as entries do; one that cannot be read is left alone."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


class CacheWarning(UserWarning):
    """The cache does not work as it should; compilations do."""


def default_folder() -> Path | None:
    """Return the folder that the environment names.

    Returns
    -------
    Path or None
        ``$MOE_MLIR_CACHE_DIR``; without that variable ``moe-mlir`` in
        ``$XDG_CACHE_HOME`` or ``~/.cache``. None when the variable is empty,
        which switches the cache off, or when there is no home.
    """
    named = os.environ.get("MOE_MLIR_CACHE_DIR")
    if named is not None:
        return Path(named) if named else None
    # Relative folders are not to be used, says the specification.
    home = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(home):
        return Path(home) / "moe-mlir"
    try:
        return Path.home() / ".cache" / "moe-mlir"
    except RuntimeError:
        return None


def default_bytes() -> int:
    """Return the most bytes the cache may have: ``$MOE_MLIR_CACHE_BYTES``, or 512 MiB."""
    text = os.environ.get("MOE_MLIR_CACHE_BYTES")
    if text is None:
        return _DEFAULT_BYTES
    try:
        return max(0, int(text))
    except ValueError:
        _warn(f"MOE_MLIR_CACHE_BYTES expects a number of bytes, got {text!r}")
        return _DEFAULT_BYTES


def _warn(message: str) -> None:
    warnings.warn(message, CacheWarning, stacklevel=2)


class Cache:
    """A folder of artifacts that several processes use at once.

    Whatever is wrong with it, a folder that is full, read-only or holds garbage,
    is at most a CacheWarning.

    Parameters
    ----------
    folder
        The folder, which is made when something is first put into it. Whoever
        can write to it chooses the code that users of the cache run.
    max_bytes
        When it has more, the entries that were not used for longest go.
    """

    def __init__(self, folder: str | os.PathLike[str], max_bytes: int = _DEFAULT_BYTES) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes

    @classmethod
    def default(cls) -> Cache | None:
        """Return the cache that the environment asks for; None when it is off."""
        folder = default_folder()
        return cls(folder, default_bytes()) if folder else None

    def get(self, key: str) -> Artifact | None:
        """Return the artifact that was put under a key, or None."""
        path = self._path(key)
        try:
            data = read_file(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            _warn(f"the cache cannot be read: {error}")
            return None
        artifact = self._unpack(data)
        if artifact is None:
            _warn(f"the cache has garbage in {path}; the module is compiled again")
            return None
        # In a folder of others an entry is merely forgotten earlier.
        with contextlib.suppress(OSError):
            os.utime(path)
        return artifact

    def put(self, key: str, artifact: Artifact) -> None:
        """Keep an artifact under a key, and make room for it."""
        body = artifact.to_bytes()
        data = b"".join([_MAGIC, hashlib.sha256(body).digest(), body])
        if len(data) > self.max_bytes:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_room(len(data))
            write_file(self._path(key), data, mode=0o600)
        except OSError as error:
            _warn(f"the cache cannot be written: {error}")

    def _path(self, key: str) -> Path:
        return self.folder / (key + _SUFFIX)

    @staticmethod
    def _unpack(data: bytes) -> Artifact | None:
        start = len(_MAGIC) + hashlib.sha256().digest_size
        body = data[start:]
        if data[:start] != _MAGIC + hashlib.sha256(body).digest():
            return None
        try:
            return Artifact.from_bytes(body, is_cached=True)
        # Whoever can write the hash can write anything behind it.
        except Exception:
            return None

    def _make_room(self, size: int) -> None:
        """Remove what was not used for longest, and what was never finished."""
        entries = []
        total = size
        oldest = time.time() - _UNFINISHED_SECONDS
        with os.scandir(self.folder) as files:
            for file in files:
                try:
                    status = file.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # Another process was quicker.
                # A folder that the caller names may have other things in it.
                if not stat.S_ISREG(status.st_mode):
                    continue
                if file.name.endswith(_SUFFIX) and _is_entry(file.path):
                    entries.append((status.st_mtime, status.st_size, file.path))
                    total += status.st_size
                elif _UNFINISHED_NAME.fullmatch(file.name) and status.st_mtime < oldest:
                    Path(file.path).unlink(missing_ok=True)
        for _, entry_size, path in sorted(entries):
            if total <= self.max_bytes:
                break
            Path(path).unlink(missing_ok=True)
            total -= entry_size
