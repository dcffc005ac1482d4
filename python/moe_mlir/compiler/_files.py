# ===- moe_mlir/compiler/_files.py - files as a whole or not at all --*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

# What the names of files end with as long as they are written.
UNFINISHED = ".tmp"


def write_file(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file under another name and rename it.

    Readers in other processes see the old content or the new one, and of two
    writers at once the later one wins.

    Parameters
    ----------
    path
        The file; one that is there is replaced.
    data
        Its content.
    mode
        Its permissions, of which the umask takes away.

    Raises
    ------
    OSError
        It cannot be written; nothing has changed then.
    """
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
