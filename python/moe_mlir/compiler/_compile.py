# ===- moe_mlir/compiler/_compile.py - module to artifact ------*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""From a module to an artifact."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from moe_mlir import _compiler
from moe_mlir.compiler import _isolated
from moe_mlir.compiler.artifact import Artifact
from moe_mlir.compiler.cache import Cache, default_bytes
from moe_mlir.compiler.diagnostics import Diagnostic, OptionError

Options = list[tuple[str, str]]


def _option_error(message: str) -> OptionError:
    return OptionError([Diagnostic("error", message)])


def _read_options(target: str, options: dict[str, str | int | None]) -> Options:
    """Return options as text, as moe-compile has them."""
    if not isinstance(target, str):
        raise _option_error(f"option 'target' expects a str, got {type(target).__name__}")
    # The text of an enum that is a str is what it stands for, which str() is not.
    texts: Options = [("target", str.__str__(target))]
    for name, value in options.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise _option_error(
                f"option '{name}' expects a str or an int, got {type(value).__name__}"
            )
        text = str.__str__(value) if isinstance(value, str) else int.__repr__(value)
        texts.append((name.replace("_", "-"), text))
    if dict(texts).get("report") not in (None, "json", "none"):
        raise _option_error("option 'report' expects json or none: the report is an object")
    return texts


def _read_source(
    module: _compiler.Module | str | bytes | os.PathLike[str],
    filename: str | os.PathLike[str] | None,
) -> tuple[bytes, str]:
    """Return a module as bytes, and the file that they are of."""
    name = os.fsdecode(filename) if filename is not None else ""
    # Names are any bytes; those in locations are UTF-8.
    name = name.encode("utf-8", "replace").decode()
    if isinstance(module, _compiler.Module):
        return module.bytecode(), name or "module"
    if isinstance(module, str):
        return module.encode(), name or "-"
    if isinstance(module, bytes):
        return module, name or "-"
    if isinstance(module, os.PathLike):
        path = os.fsdecode(module)
        return Path(path).read_bytes(), name or path.encode("utf-8", "replace").decode()
    raise TypeError(
        f"'module' expects a Module, text, bytecode or a path, got {type(module).__name__}"
    )


def _choose_cache(cache: bool | Cache | os.PathLike[str] | None) -> Cache | None:
    if cache is True:
        return Cache.default()
    if cache is False or cache is None:
        return None
    if isinstance(cache, Cache):
        return cache
    if isinstance(cache, os.PathLike):
        return Cache(cache, default_bytes())
    raise TypeError(
        f"'cache' expects True, False, a Cache or the Path of a folder, got {cache!r}"
    )


def _make_key(source: bytes, filename: str, settings: str) -> str:
    key = hashlib.sha256()
    for part in (_compiler.version(), _compiler.build_id(), settings, filename):
        data = part.encode()
        key.update(b"%d:" % len(data) + data)
    key.update(source)
    return key.hexdigest()


def compile(  # its name in the package
    module: _compiler.Module | str | bytes | os.PathLike[str],
    target: str = "host",
    *,
    cache: bool | Cache | os.PathLike[str] | None = True,
    isolate: bool = False,
    timeout: float = 600.0,
    filename: str | os.PathLike[str] | None = None,
    **options: str | int | None,
) -> Artifact:
    """Compile a module.

    The GIL is released meanwhile, and any number of threads compile at once. The
    module is not changed.

    Parameters
    ----------
    module
        A Module, its text, its bytecode, or the path of a file with either.
    target
        ``host``, ``cuda``, or ``cuda:`` and a chip, such as ``cuda:sm_90``.
    cache
        Whether to look for the artifact on disk, and to keep it there; or the
        cache to use instead of `Cache.default`, or the ``Path`` of its folder. None
        is as False.
    isolate
        Whether to compile in a process of its own. Crashes of the compiler are
        survived either way, but what they leak is gone with the process.
    timeout
        Seconds after which an isolated compilation is given up.
    filename
        What locations in text name; by default the path, or ``-``.
    **options
        The options of moe-compile, with ``_`` for ``-``: ``opt_level``, ``cpu``,
        ``emit``, ``ptx_version``, ``gpu_format``, ``blocks``, ``combine_algorithm``,
        ``dispatch_algorithm``, ... `options` describes them. None is as if it were not given.

    Returns
    -------
    Artifact
        The bytes, PTX, report, remarks and warnings.

    Raises
    ------
    CompileError
        The module is wrong; `CompileError.diagnostics` says what and where.
    OptionError
        An option is wrong.
    CompilerCrash
        The compiler has a mistake.
    TypeError
        An argument is of another type.
    OSError
        The path cannot be read.
    """
    store = _choose_cache(cache)
    texts = _read_options(target, options)
    source, name = _read_source(module, filename)
    # Also a check of the options, before anything is done.
    settings = _compiler.describe_options(texts)
    key = _make_key(source, name, settings)
    if store and (artifact := store.get(key)):
        return artifact
    if isolate:
        artifact = _isolated.run(source, name, texts, timeout)
    else:
        artifact = _isolated.compile_here(source, name, texts)
    if store:
        store.put(key, artifact)
    return artifact


def options() -> dict[str, str]:
    """Return the options of a compilation, by name, and what they do."""
    return _compiler.options()
