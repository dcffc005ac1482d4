#===- moe_mlir/runtime/local.py - ranks that are threads ------*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Ranks that are threads of this process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from moe_mlir.runtime.errors import Code, MoEError, text_of
from moe_mlir.runtime.group import Group

__all__ = ["run_local"]

Result = TypeVar("Result")


def run_local(
    ranks: int,
    function: Callable[..., Result],
    *arguments: Any,
    timeout: float | None = None,
    reserve: int | None = None,
    backend: str = "host",
    device: int | None = None,
) -> list[Result]:
    """Run a function on the ranks of a group, each in a thread of this process.

    Parameters
    ----------
    ranks : int
        Number of ranks, at least 1.
    function : callable
        ``function(group, *arguments)``, with the `Group` of the rank. Its group is
        closed when it returns.
    *arguments
        Passed to all ranks.
    timeout, reserve, backend, device : optional
        See `Group`.

    Returns
    -------
    list
        What the ranks have returned, in rank order.

    Raises
    ------
    Exception
        What was raised first: that of the rank with the lowest number among those
        whose error is not a consequence of another one's. It tells the other ranks
        to stop, and what they raised stands in its notes.
    MoEError
        The group could not be made.
    """
    groups = Group.local(
        ranks, timeout=timeout, reserve=reserve, backend=backend, device=device
    )
    results: list[Any] = [None] * ranks
    errors: dict[int, BaseException] = {}

    def run(rank: int) -> None:
        group = groups[rank]
        try:
            with group:
                results[rank] = function(group, *arguments)
        except BaseException as error:
            errors[rank] = error

    threads = [
        threading.Thread(target=run, args=(rank,), name=f"rank {rank}") for rank in range(ranks)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException as interruption:
        # Waits of the ranks end, and with them the threads. It may have come before
        # all of them had begun.
        for group in groups:
            # Its rank may close it at this moment.
            with contextlib.suppress(MoEError):
                group.fail(f"{type(interruption).__name__} in the thread that called run_local")
                break
        for thread, group in zip(threads, groups, strict=True):
            if thread.ident is None:
                group.close()
            else:
                thread.join()
        raise
    if errors:
        raise _first(errors)
    return results


def _first(errors: dict[int, BaseException]) -> BaseException:
    """Find the error that the others are consequences of, with notes on those."""

    def is_consequence(rank: int) -> bool:
        error = errors[rank]
        if not isinstance(error, MoEError):
            return False
        return error.code == Code.PEER_FAILED or error.origin not in (None, rank)

    first = min(errors, key=lambda rank: (is_consequence(rank), rank))
    error = errors[first]
    # Some exceptions take no notes, such as frozen data classes; they are raised as they are.
    with contextlib.suppress(Exception):
        error.add_note(f"raised by rank {first} in run_local")
        for rank in sorted(errors):
            if rank != first:
                error.add_note(f"rank {rank} then raised {text_of(errors[rank])}")
    return error
