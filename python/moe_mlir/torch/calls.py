# ===- calls.py - operators, called by the cheapest way -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Operators of torch.library, called by the way that costs least.

A compiler has to see the operator, and so have profilers, modes and subclasses of tensors.
Where there is none of them, torch's dispatcher has nothing to do, and its layers, which
are written in Python, cost more than the kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad

# Subclasses of tensors have rules of their own for operators.
_PLAIN = frozenset((torch.Tensor, torch.nn.Parameter, type(None), str))

_num_dispatch_modes = torch._C._len_torch_dispatch_stack
_num_function_modes = torch._C._len_torch_function_stack
_is_tracing = torch._C._is_tracing
_is_profiled = torch.autograd._profiler_enabled
is_transformed = torch._C._are_functorch_transforms_active
"""Whether a function of torch.func runs."""


def _is_observed(inputs: tuple[Any, ...]) -> bool:
    """Whether something of torch wants to see the operator.

    That is a mode (fake tensors, checkpoints, tracers), a transformation of
    functions, a profiler, or a subclass of tensors.
    """
    return bool(
        _num_dispatch_modes()
        or _num_function_modes()
        or is_transformed()
        or _is_tracing()
        or _is_profiled()
        or not _PLAIN.issuperset(map(type, inputs))
    )


def check_no_tangent(op: object, inputs: tuple[Any, ...]) -> None:
    """Refuse derivatives of forward mode, which torch would take for zero."""
    for tensor in inputs:
        if isinstance(tensor, torch.Tensor) and forward_ad.unpack_dual(tensor).tangent is not None:
            raise RuntimeError(
                f"{op}: expected no input with a tangent, since derivatives of forward mode "
                "(torch.func.jvp, torch.autograd.forward_ad) are not defined, got one; use "
                "gradients, or detach()"
            )


def call_kernel(op: Any, kernel: Any, *inputs: Any) -> Any:
    """Call an operator without a gradient; the kernel alone where nobody can tell."""
    if torch.compiler.is_compiling() or _is_observed(inputs):
        return op(*inputs)
    return kernel(*inputs)


class Call:
    """An operator with a gradient.

    Parameters
    ----------
    op : OpOverload
        What compilers and observers have to see.
    kernel : function
        What the operator runs below autograd.
    setup, backward : function
        Its gradient, as for `torch.library.register_autograd`.
    """

    def __init__(self, op: Any, kernel: Any, setup: Any, backward: Any) -> None:
        self.op, self.kernel = op, kernel

        def forward(ctx: Any, *inputs: Any) -> Any:
            output = self._run(inputs)
            setup(ctx, inputs, output)
            return output

        members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
        function: Any = type(op.name().replace("::", "_"), (torch.autograd.Function,), members)
        # Without what Function.apply does for torch.func, which is refused before.
        below: Any = super(torch.autograd.Function, function)
        self._with_gradient = below.apply

    def __call__(self, needs_gradient: bool, *inputs: Any) -> Any:
        """Call it; `needs_gradient` says whether an input that counts requires one.

        With one, the graph gets a node of its own: the dispatcher's layer of autograd costs
        a third of a call.
        """
        if forward_ad._current_level >= 0:
            check_no_tangent(self.op, inputs)
        if torch.compiler.is_compiling():
            return self.op(*inputs)
        if needs_gradient:
            return self._with_gradient(*inputs)
        return self._run(inputs)

    def _run(self, inputs: tuple[Any, ...]) -> Any:
        """Call it below autograd; the kernel alone where nobody can tell."""
        if not _is_observed(inputs):
            return self.kernel(*inputs)
        # The dispatcher's layer of autograd is written in Python, and would do nothing.
        with torch._C._AutoDispatchBelowAutograd():
            return self.op(*inputs)
