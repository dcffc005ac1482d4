# ===- moe_mlir/compiler/_files.py - files as a whole or not at all --*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Files that are there as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

# What the names of files end with as long as they are written.
UNFINISHED = ".tmp"


def _expect_regular(path: Path, mode: int) -> None:
    """Raise an error for what has a name in a folder, but is no file with content."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(
            errno.EINVAL, "expected a regular file, found a device, a pipe or a socket", str(path)
        )


def read_file(path: Path) -> bytes:
    """Read a regular file; nothing else, which might block or have effects.

    Raises
    ------
    OSError
        It cannot be read, or is no regular file.
    """
    _expect_regular(path, path.stat().st_mode)
    # What takes its place in between does not block either.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        _expect_regular(path, os.fstat(handle).st_mode)
        return stream.read()


def write_file(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file under another name and rename it.

    Readers in other processes see the old content or the new one, and of two
    writers at once the later one wins.

    Parameters
    ----------
    path
        The file; a regular one that is there is replaced, or a link.
    data
        Its content.
    mode
        Its permissions, of which the umask takes away.

    Raises
    ------
    OSError
        It cannot be written, or something else is there, such as a device; nothing
        has changed then.
    """
    with contextlib.suppress(FileNotFoundError):
        found = path.lstat().st_mode
        if not stat.S_ISLNK(found):
            _expect_regular(path, found)
    name = path.with_name(f".{path.name}.{secrets.token_hex(8)}{UNFINISHED}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    handle = os.open(name, flags, mode)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
