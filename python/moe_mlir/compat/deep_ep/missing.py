# ===- missing.py - what DeepEP has and moe-mlir has not -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Errors that name what there is none of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def lack(call: str, what: str) -> NotImplementedError:
    """The error of a call that asks for something there is none of."""
    return NotImplementedError(f"{call}: moe-mlir has no {what}")


def missing(name: str, what: str) -> Callable[..., Any]:
    """Make a method that raises the error, whatever it is called with."""

    def method(*arguments: Any, **options: Any) -> Any:
        raise lack(name, what)

    method.__name__ = name
    method.__qualname__ = name
    method.__doc__ = f"Raise NotImplementedError: there is no {what}."
    return method
