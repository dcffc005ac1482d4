# ===- _calls.py - entries as functions of JAX arrays -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Calls of entries in a program that is being traced, with their checks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compute_on import compute_on

from moe_mlir.runtime import dtypes

from ._axes import result_type, vary, varying_axes
from ._register import TARGET

if TYPE_CHECKING:
    from moe_mlir.exchange import Exchange, Signature, TensorSpec

DYNAMIC = -1


class Entry:
    """An entry of an artifact, as a function of arrays of one rank.

    XLA takes it for a function without side effects. It is one, of the arrays of
    all ranks: a call whose results nobody reads is left out on all ranks alike, since
    they run the same program.

    Parameters
    ----------
    plan : Exchange
    signature : Signature
        With the number of ranks.
    axis : str
        Axis of the mesh, along which results differ.
    attributes : dict
        What the handler finds the entry by.
    has_position : bool
        Whether the handler compares the position on the axis with the rank, which it
        can where it can read the position: on CPU devices.
    stream : str or None
        Name of XLA's stream to run on, on GPUs.
    """

    def __init__(
        self,
        plan: Exchange,
        signature: Signature,
        axis: str,
        attributes: dict[str, Any],
        has_position: bool,
        stream: str | None,
    ) -> None:
        self.plan = plan
        self.signature = signature
        self.axis = axis
        self.attributes = {**attributes, "entry": signature.entry}
        self.has_position = has_position
        self.stream = stream
        self._once = jax.custom_jvp(self._call)
        self._once.defjvp(self._refuse_derivative)

    def __call__(self, *arguments: Any) -> list[jax.Array]:
        """Check the arguments, and call.

        Raises
        ------
        TypeError, ValueError
            An argument of another type or shape than the plan says.
        """
        arguments = tuple(jnp.asarray(argument) for argument in arguments)
        self.check(arguments)
        # All vary along the axis, and as the most varying of them.
        axes = varying_axes(*arguments) | {self.axis}
        arguments = tuple(vary(a, axes) for a in arguments)
        return list(self._once(*arguments))

    def check(self, arguments: Sequence[jax.Array]) -> int:
        """Check types and shapes; returns the number of tokens."""
        entry, specs = self.signature.entry, self.signature.arguments
        tokens: int | None = None
        for spec, argument in zip(specs, arguments, strict=True):
            known = tuple(
                (tokens if tokens is not None else DYNAMIC) if n == DYNAMIC else n
                for n in spec.shape
            )
            self._check_one(entry, spec, argument, known)
            if DYNAMIC in spec.shape:
                tokens = int(argument.shape[spec.shape.index(DYNAMIC)])
        if tokens is None:
            tokens = self.plan.token_bound
        if tokens > self.plan.token_bound:
            raise ValueError(
                f"{entry}: expected at most {self.plan.token_bound} tokens on a rank, which is "
                f"max_tokens of the plan, got {tokens}"
            )
        return tokens

    def _check_one(
        self, entry: str, spec: TensorSpec, argument: jax.Array, known: tuple[int, ...]
    ) -> None:
        expected = dtypes.numpy_dtype(spec.dtype)
        extents = ", ".join("T" if n == DYNAMIC else str(n) for n in known)
        wanted = f"{entry}: expected {spec.name} to be {expected.name}[{extents}]"
        got = f"{argument.dtype.name}[{', '.join(map(str, argument.shape))}]"
        if argument.dtype != expected:
            hint = ""
            if spec.dtype == "i64" and not jax.config.jax_enable_x64:
                hint = " (JAX has 64-bit integers with jax_enable_x64 alone)"
            raise TypeError(f"{wanted}, got {got}{hint}")
        is_same = argument.ndim == len(known) and all(
            n in (DYNAMIC, m) for n, m in zip(known, argument.shape, strict=True)
        )
        if not is_same:
            raise ValueError(f"{wanted}, got {got}")

    def _call(self, *arguments: jax.Array) -> tuple[jax.Array, ...]:
        tokens = self.check(arguments)
        results = [
            result_type(
                tuple(tokens if n == DYNAMIC else n for n in spec.shape),
                dtypes.numpy_dtype(spec.dtype),
                arguments[0],
            )
            for spec in self.signature.results
        ]
        call: Callable[..., Any] = jax.ffi.ffi_call(TARGET, results, vmap_method="sequential")
        if self.has_position:
            position = vary(jax.lax.axis_index(self.axis), varying_axes(arguments[0]))
            arguments = (position, *arguments)
        bound = partial(call, **self.attributes)
        return tuple((on_stream(bound, self.stream) if self.stream else bound)(*arguments))

    def _refuse_derivative(self, primals: Any, tangents: Any) -> Any:
        raise TypeError(
            f"{self.signature.entry}: expected a first derivative; the derivative of this one "
            "is not defined"
        )


def on_stream(call: Callable[..., Any], stream: str) -> Callable[..., Any]:
    """Return `call` so that XLA runs it on a stream of its own, by its name."""
    kind = f"gpu_stream:{stream}"
    wrap: Any = compute_on
    if "out_memory_spaces" in inspect.signature(wrap).parameters:
        # Since JAX 0.11 it wraps a function; before, it was a context.
        place = jax.memory.Space.Device
        wrapped: Callable[..., Any] = wrap(call, compute_type=kind, out_memory_spaces=place)
        return wrapped

    def called(*arguments: jax.Array) -> Any:
        with compute_on(kind):
            return call(*arguments)

    return called


def is_number(dtype: Any) -> bool:
    """Whether a gradient with respect to an array of this type is one."""
    return bool(jnp.issubdtype(dtype, np.floating))
