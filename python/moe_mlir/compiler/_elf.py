# ===- moe_mlir/compiler/_elf.py - symbols of a shared object --*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Symbols of a shared object, as far as artifacts need it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_SECTIONS = struct.Struct("<40xQ10xHH")  # e_shoff, e_shentsize, e_shnum
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_DYNSYM = 11


class _Section(NamedTuple):
    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry_size: int


def _sections(data: bytes) -> Iterator[_Section]:
    start, size, count = _SECTIONS.unpack_from(data)
    for i in range(count):
        yield _Section(*_SECTION.unpack_from(data, start + i * size))


def read_symbol(data: bytes, name: str) -> bytes:
    """Return the content of a symbol of a shared object.

    Parameters
    ----------
    data
        The shared object.
    name
        The symbol, a dynamic one.

    Raises
    ------
    ValueError
        It is no shared object for x86-64, or does not have the symbol.
    """
    missing = ValueError(
        f"expected an artifact: a shared object with the symbol {name}, "
        f"got {len(data)} bytes that begin with {data[:8]!r}"
    )
    if not data.startswith(_MAGIC):
        raise missing
    try:
        sections = list(_sections(data))
        for table in sections:
            if table.type != _DYNSYM:
                continue
            names = sections[table.link]
            for at in range(table.offset, table.offset + table.size, _SYMBOL.size):
                text, _, _, section, address, size = _SYMBOL.unpack_from(data, at)
                begin = names.offset + text
                if data[begin : data.index(b"\0", begin)] != name.encode():
                    continue
                home = sections[section]
                begin = home.offset + address - home.address
                return data[begin : begin + size]
    except (struct.error, IndexError, ValueError):
        raise missing from None
    raise missing
