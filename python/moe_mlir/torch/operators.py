# ===- operators.py - operators of torch.library -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The operators ``torch.ops.moe_mlir``: kernels, fake kernels and gradients.

They take and return plain tensors, and the name of the ExpertParallel that they
belong to, as the collectives of torch have the name of a process group. Whether a
backward pass communicates, and what, depends on the plan and on which inputs need
gradients, never on values: so all ranks do the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad

from moe_mlir.torch.binding import Binding, find

_library = torch.library.Library("moe_mlir", "DEF")
OPS = torch.ops.moe_mlir


def _note_written(*tensors: torch.Tensor | None) -> None:
    """Tell autograd that tensors were written to, which it cannot see.

    A backward pass that needs what was in them is an error then.
    """
    torch.autograd.graph.increment_version([tensor for tensor in tensors if tensor is not None])


def _define(schema: str, kernel: Any, fake: Any) -> None:
    name = schema.partition("(")[0]
    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _library.impl(name, kernel, "CompositeExplicitAutograd")
    torch.library.register_fake(f"moe_mlir::{name}", fake, lib=_library)


def check_no_tangent(op: object, inputs: tuple[Any, ...]) -> None:
    """Refuse derivatives of forward mode, which torch would take for zero."""
    for tensor in inputs:
        if isinstance(tensor, torch.Tensor) and forward_ad.unpack_dual(tensor).tangent is not None:
            raise RuntimeError(
                f"{op}: expected no input with a tangent, since derivatives of forward mode "
                "(torch.func.jvp, torch.autograd.forward_ad) are not defined, got one; use "
                "gradients, or detach()"
            )


class Call:
    """An operator, called by the way that costs least.

    Parameters
    ----------
    op : OpOverload
        What compilers have to see.
    kernel : function
        What the operator runs below autograd.
    with_gradient : function
        The same with a gradient.
    """

    def __init__(self, op: Any, kernel: Any, with_gradient: Any) -> None:
        self.op, self.kernel, self.with_gradient = op, kernel, with_gradient

    def __call__(self, needs_gradient: bool, *inputs: Any) -> Any:
        """Call it; `needs_gradient` says whether an input that counts requires one."""
        if forward_ad._current_level >= 0:
            check_no_tangent(self.op, inputs)
        if torch.compiler.is_compiling():
            return self.op(*inputs)
        if needs_gradient:
            return self.with_gradient(*inputs)
        return _run(self.op, self.kernel, inputs)


def _differentiate(name: str, kernel: Any, setup: Any, backward: Any) -> Call:
    """Give an operator a gradient.

    The same gradient is given to a function that leaves out the dispatcher's layer of
    autograd, which costs a third of a call.
    """
    torch.library.register_autograd(
        f"moe_mlir::{name}", backward, setup_context=setup, lib=_library
    )
    op = getattr(OPS, name).default

    def forward(ctx: Any, *inputs: Any) -> Any:
        output = _run(op, kernel, inputs)
        setup(ctx, inputs, output)
        return output

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    function: Any = type(f"moe_mlir_{name}", (torch.autograd.Function,), members)
    return Call(op, kernel, function.apply)


def _run(op: Any, kernel: Any, inputs: tuple[Any, ...]) -> Any:
    """Call an operator below autograd; its kernel alone where nobody can tell."""
    if not _is_observed(inputs):
        return kernel(*inputs)
    # The dispatcher's layer of autograd is written in Python, and would do nothing.
    with torch._C._AutoDispatchBelowAutograd():
        return op(*inputs)


_PLAIN = frozenset((torch.Tensor, torch.nn.Parameter, type(None), str))
_observers = (
    torch._C._len_torch_dispatch_stack,
    torch._C._len_torch_function_stack,
    torch._C._functorch.peek_interpreter_stack,
    torch._C._get_tracing_state,
    torch.autograd._profiler_enabled,
)


def _is_observed(inputs: tuple[Any, ...]) -> bool:
    """Whether something of torch wants to see the operator.

    That is a mode (fake tensors, checkpoints, tracers), a transformation of
    functions, a profiler, or a subclass of tensors.
    """
    for observer in _observers:
        if observer():
            return True
    return not _PLAIN.issuperset(map(type, inputs))


# -------------------------------------------------------------------------------- #
# Dispatch
# -------------------------------------------------------------------------------- #


def _dispatch(x: Any, topk_idx: Any, topk_weights: Any, name: str) -> Any:
    return find(name).dispatch(x, topk_idx, topk_weights)


def _fake_dispatch(x: Any, topk_idx: Any, topk_weights: Any, name: str) -> Any:
    return find(name).empty_received(x, topk_idx, topk_weights, None)


def _dispatch_scaled(x: Any, topk_idx: Any, topk_weights: Any, scales: Any, name: str) -> Any:
    return find(name).dispatch(x, topk_idx, topk_weights, scales)


def _fake_dispatch_scaled(
    x: Any, topk_idx: Any, topk_weights: Any, scales: Any, name: str
) -> Any:
    return find(name).empty_received(x, topk_idx, topk_weights, scales)


def _setup_dispatch(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    name = inputs[-1]
    binding = find(name)
    if not binding.is_differentiable:
        _check_differentiable(binding, "dispatch", x=inputs[0], scales=inputs[3])
    if not ctx.needs_input_grad[0]:
        # The received weights stay in the graph, whose backward pass is that of all ranks.
        ctx.mark_non_differentiable(output[0])
    ctx.save_for_backward(inputs[1], output[2])
    ctx.name, ctx.num_inputs = name, len(inputs)
    ctx.set_materialize_grads(False)


def _backward_dispatch(ctx: Any, grad_x: Any, grad_weights: Any, *others: Any) -> Any:
    topk_idx, routes = ctx.saved_tensors
    name = ctx.name
    binding = find(name)
    needs_x, _, needs_weights = ctx.needs_input_grad[:3]
    # Where nothing depends on the results here, something may on another rank.
    if needs_x and grad_x is None:
        grad_x = routes.new_zeros(binding.rows_shape, dtype=binding.combine_dtype)
    elif needs_x:
        grad_x = grad_x.to(binding.combine_dtype)
    if needs_weights and grad_weights is None:
        grad_weights = routes.new_zeros(binding.per_row_shape, dtype=torch.float32)
    grads = [None] * ctx.num_inputs
    if not needs_x:
        grads[2] = OPS.dispatch_backward_weights(grad_weights, routes, topk_idx, name)
    elif needs_weights:
        result, grads[2] = OPS.dispatch_backward(grad_x, grad_weights, routes, topk_idx, name)
    else:
        result = OPS.dispatch_backward_x(grad_x, routes, topk_idx, name)
    if needs_x:
        grads[0] = result.to(binding.dtype)
    return tuple(grads)


def _dispatch_again(x: Any, routes: Any, topk_idx: Any, name: str) -> Any:
    return find(name).dispatch_again(x, routes, topk_idx)[0]


def _fake_dispatch_again(x: Any, routes: Any, topk_idx: Any, name: str) -> Any:
    return x.new_empty(find(name).rows_shape)


def _dispatch_again_scaled(x: Any, routes: Any, topk_idx: Any, scales: Any, name: str) -> Any:
    return find(name).dispatch_again(x, routes, topk_idx, scales)


def _fake_dispatch_again_scaled(
    x: Any, routes: Any, topk_idx: Any, scales: Any, name: str
) -> Any:
    binding = find(name)
    return x.new_empty(binding.rows_shape), scales.new_empty(binding.scales_shape)


def _dispatch_out(
    x: Any,
    topk_idx: Any,
    topk_weights: Any,
    scales: Any,
    recv_x: Any,
    recv_topk_weights: Any,
    routes: Any,
    recv_scales: Any,
    name: str,
) -> None:
    find(name).dispatch_into(
        x, topk_idx, topk_weights, scales, recv_x, recv_topk_weights, routes, recv_scales
    )
    _note_written(recv_x, recv_topk_weights, routes, recv_scales)


# -------------------------------------------------------------------------------- #
# Combine
# -------------------------------------------------------------------------------- #


def _combine(y: Any, routes: Any, topk_idx: Any, weights: Any, source: Any, name: str) -> Any:
    return find(name).combine(y, routes, topk_idx, weights)


def _fake_combine(
    y: Any, routes: Any, topk_idx: Any, weights: Any, source: Any, name: str
) -> Any:
    return y.new_empty(find(name).out_shape(topk_idx.shape[0]))


def _setup_combine(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    y, routes, topk_idx, weights, _, name = inputs
    binding = find(name)
    if not binding.is_differentiable:
        _check_differentiable(binding, "combine", y=y, weights=weights)
    if weights is None:
        ctx.save_for_backward(routes, topk_idx)
    else:
        ctx.save_for_backward(routes, topk_idx, y, weights)
    ctx.name = name
    ctx.set_materialize_grads(False)


def _backward_combine(ctx: Any, grad: Any) -> Any:
    routes, topk_idx, *weighted = ctx.saved_tensors
    name = ctx.name
    binding = find(name)
    if grad is None:
        shape = binding.out_shape(topk_idx.shape[0])
        grad = routes.new_zeros(shape, dtype=binding.combine_dtype)
    grad_weights = None
    if weighted:
        y, weights = weighted
        grad_y, grad_weights = OPS.combine_backward_weighted(
            grad, routes, topk_idx, y, weights, name
        )
    else:
        grad_y = OPS.combine_backward(grad, routes, topk_idx, name)
    return grad_y, None, None, grad_weights, None, None


def _combine_out(
    y: Any, routes: Any, topk_idx: Any, weights: Any, out: Any, name: str
) -> None:
    find(name).combine_into(y, routes, topk_idx, weights, out)
    _note_written(out)


# -------------------------------------------------------------------------------- #
# Gradients
# -------------------------------------------------------------------------------- #


def _dispatch_backward_x(grad: Any, routes: Any, topk_idx: Any, name: str) -> Any:
    return find(name).dispatch_backward_x(grad, routes, topk_idx)


def _fake_dispatch_backward_x(grad: Any, routes: Any, topk_idx: Any, name: str) -> Any:
    return grad.new_empty((topk_idx.shape[0], find(name).plan.hidden))


def _dispatch_backward(
    grad: Any, grad_weights: Any, routes: Any, topk_idx: Any, name: str
) -> Any:
    return find(name).dispatch_backward(grad, grad_weights, routes, topk_idx)


def _fake_dispatch_backward(
    grad: Any, grad_weights: Any, routes: Any, topk_idx: Any, name: str
) -> Any:
    grad_x = grad.new_empty((topk_idx.shape[0], find(name).plan.hidden))
    return grad_x, grad_weights.new_empty(topk_idx.shape)


def _dispatch_backward_weights(
    grad_weights: Any, routes: Any, topk_idx: Any, name: str
) -> Any:
    return find(name).dispatch_backward_weights(grad_weights, routes, topk_idx)


def _fake_dispatch_backward_weights(
    grad_weights: Any, routes: Any, topk_idx: Any, name: str
) -> Any:
    return grad_weights.new_empty(topk_idx.shape)


def _combine_backward(grad: Any, routes: Any, topk_idx: Any, name: str) -> Any:
    return find(name).combine_backward(grad, routes, topk_idx)[0]


def _fake_combine_backward(grad: Any, routes: Any, topk_idx: Any, name: str) -> Any:
    return grad.new_empty(find(name).rows_shape)


def _combine_backward_weighted(
    grad: Any, routes: Any, topk_idx: Any, y: Any, weights: Any, name: str
) -> Any:
    return find(name).combine_backward(grad, routes, topk_idx, y, weights)


def _fake_combine_backward_weighted(
    grad: Any, routes: Any, topk_idx: Any, y: Any, weights: Any, name: str
) -> Any:
    binding = find(name)
    return grad.new_empty(binding.rows_shape), weights.new_empty(binding.weights_shape)


# -------------------------------------------------------------------------------- #
# Gradients that there are none of
# -------------------------------------------------------------------------------- #


def _check_differentiable(
    binding: Binding, op: str, **tensors: Any
) -> None:
    """Refuse what has no gradient, or one that would be rounded to 8 bits.

    Raises
    ------
    RuntimeError
    """
    if not binding.plan.gradients:
        raise RuntimeError(
            f"{op}: expected a plan with gradients = True, since an input requires a gradient, "
            f"got {binding.plan!r}; or call it under torch.no_grad()"
        )
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor) or not tensor.requires_grad:
            continue
        if name == "scales" or tensor.element_size() == 1:
            raise RuntimeError(
                f"{op}: expected {name} without a gradient, since 8-bit floats and their scales "
                f"have none, got {tensor.dtype} that requires one; detach() it"
            )
        if binding.combine_dtype.itemsize == 1:
            raise RuntimeError(
                f"{op}: expected {name} without a gradient, since it would come back as "
                f"{binding.combine_dtype}, the combine_dtype of the plan, got one that requires "
                "it; choose a combine_dtype of 16 bits or more, or detach() it"
            )


def _setup_nothing(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    pass


def _refuse_backward(name: str) -> Any:
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(
            f"moe_mlir::{name}: expected no backward pass through this operator, which has no "
            "gradient, got one; gradients of gradients (create_graph = True) are not defined"
        )

    return backward


def _nothing(*arguments: Any) -> None:
    pass


_RECEIVED = "Tensor x, Tensor topk_idx, Tensor topk_weights"
_KNOWN = "Tensor routes, Tensor topk_idx"

_define(
    f"dispatch({_RECEIVED}, str name) -> (Tensor, Tensor, Tensor)",
    _dispatch,
    _fake_dispatch,
)
_define(
    f"dispatch_scaled({_RECEIVED}, Tensor scales, str name) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    _dispatch_scaled,
    _fake_dispatch_scaled,
)
_define(
    f"dispatch_out({_RECEIVED}, Tensor? scales, Tensor(a!) recv_x, "
    "Tensor(b!) recv_topk_weights, Tensor(c!) routes, Tensor(d!)? recv_scales, str name) -> ()",
    _dispatch_out,
    _nothing,
)
_define(
    f"dispatch_again(Tensor x, {_KNOWN}, str name) -> Tensor",
    _dispatch_again,
    _fake_dispatch_again,
)
_define(
    f"dispatch_again_scaled(Tensor x, {_KNOWN}, Tensor scales, str name) -> (Tensor, Tensor)",
    _dispatch_again_scaled,
    _fake_dispatch_again_scaled,
)
_define(
    f"combine(Tensor y, {_KNOWN}, Tensor? weights, Tensor? source, str name) -> Tensor",
    _combine,
    _fake_combine,
)
_define(
    f"combine_out(Tensor y, {_KNOWN}, Tensor? weights, Tensor(a!) out, str name) -> ()",
    _combine_out,
    _nothing,
)
_define(
    f"dispatch_backward_x(Tensor grad, {_KNOWN}, str name) -> Tensor",
    _dispatch_backward_x,
    _fake_dispatch_backward_x,
)
_define(
    f"dispatch_backward(Tensor grad, Tensor grad_weights, {_KNOWN}, str name) "
    "-> (Tensor, Tensor)",
    _dispatch_backward,
    _fake_dispatch_backward,
)
_define(
    f"dispatch_backward_weights(Tensor grad_weights, {_KNOWN}, str name) -> Tensor",
    _dispatch_backward_weights,
    _fake_dispatch_backward_weights,
)
_define(
    f"combine_backward(Tensor grad, {_KNOWN}, str name) -> Tensor",
    _combine_backward,
    _fake_combine_backward,
)
_define(
    f"combine_backward_weighted(Tensor grad, {_KNOWN}, Tensor y, Tensor weights, str name) "
    "-> (Tensor, Tensor)",
    _combine_backward_weighted,
    _fake_combine_backward_weighted,
)

dispatch = _differentiate("dispatch", _dispatch, _setup_dispatch, _backward_dispatch)
dispatch_scaled = _differentiate(
    "dispatch_scaled", _dispatch_scaled, _setup_dispatch, _backward_dispatch
)
combine = _differentiate("combine", _combine, _setup_combine, _backward_combine)
for _name in (
    "dispatch_again",
    "dispatch_again_scaled",
    "dispatch_backward_x",
    "dispatch_backward",
    "dispatch_backward_weights",
    "combine_backward",
    "combine_backward_weighted",
):
    torch.library.register_autograd(
        f"moe_mlir::{_name}",
        _refuse_backward(_name),
        setup_context=_setup_nothing,
        lib=_library,
    )
