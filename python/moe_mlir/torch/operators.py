# ===- operators.py - operators of torch.library -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The operators ``torch.ops.moe_mlir``: schemas, kernels and fake kernels.

They take and return plain tensors, and the name of the ExpertParallel that they
belong to, as the collectives of torch have the name of a process group. Their gradients
are in gradients.py.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from moe_mlir.torch import gradients
from moe_mlir.torch.binding import find
from moe_mlir.torch.calls import Call, call_kernel
from moe_mlir.torch.inductor import keep_order_of_graphs

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

    @functools.wraps(fake)
    def traced(*args: Any, **more: Any) -> Any:
        # A graph is traced before inductor orders it.
        keep_order_of_graphs()
        return fake(*args, **more)

    torch.library.register_fake(f"moe_mlir::{name}", traced, lib=_library)


def _differentiate(name: str, kernel: Any, setup: Any, backward: Any) -> Call:
    """Give an operator a gradient."""
    torch.library.register_autograd(
        f"moe_mlir::{name}", backward, setup_context=setup, lib=_library
    )
    return Call(getattr(OPS, name).default, kernel, setup, backward)


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


def _dispatch_again(x: Any, routes: Any, topk_idx: Any, peer_rows: Any, name: str) -> Any:
    return find(name).dispatch_again(x, routes, topk_idx, None, peer_rows)[0]


def _fake_dispatch_again(x: Any, routes: Any, topk_idx: Any, peer_rows: Any, name: str) -> Any:
    return x.new_empty(find(name).rows_shape)


def _dispatch_again_scaled(
    x: Any, routes: Any, topk_idx: Any, peer_rows: Any, scales: Any, name: str
) -> Any:
    return find(name).dispatch_again(x, routes, topk_idx, scales, peer_rows)


def _fake_dispatch_again_scaled(
    x: Any, routes: Any, topk_idx: Any, peer_rows: Any, scales: Any, name: str
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
    peer_rows: Any,
    name: str,
) -> None:
    find(name).dispatch_into(
        x, topk_idx, topk_weights, scales,
        recv_x, recv_topk_weights, routes, recv_scales, peer_rows,
    )  # fmt: skip
    _note_written(recv_x, recv_topk_weights, routes, recv_scales, peer_rows)


# -------------------------------------------------------------------------------- #
# Combine
# -------------------------------------------------------------------------------- #


def _combine(
    y: Any, routes: Any, topk_idx: Any, peer_rows: Any, weights: Any, source: Any, name: str
) -> Any:
    return find(name).combine(y, routes, topk_idx, weights, peer_rows)


def _fake_combine(
    y: Any, routes: Any, topk_idx: Any, peer_rows: Any, weights: Any, source: Any, name: str
) -> Any:
    return y.new_empty(find(name).out_shape(topk_idx.shape[0]))


def _combine_out(
    y: Any, routes: Any, topk_idx: Any, peer_rows: Any, weights: Any, out: Any, name: str
) -> None:
    find(name).combine_into(y, routes, topk_idx, weights, out, peer_rows)
    _note_written(out)


# -------------------------------------------------------------------------------- #
# Gradients
# -------------------------------------------------------------------------------- #


def _dispatch_backward_x(
    grad: Any, routes: Any, topk_idx: Any, peer_rows: Any, name: str
) -> Any:
    return find(name).dispatch_backward_x(grad, routes, topk_idx, peer_rows)


def _fake_dispatch_backward_x(
    grad: Any, routes: Any, topk_idx: Any, peer_rows: Any, name: str
) -> Any:
    return grad.new_empty((topk_idx.shape[0], find(name).plan.hidden))


def _dispatch_backward(
    grad: Any, grad_weights: Any, routes: Any, topk_idx: Any, peer_rows: Any, name: str
) -> Any:
    return find(name).dispatch_backward(grad, grad_weights, routes, topk_idx, peer_rows)


def _fake_dispatch_backward(
    grad: Any, grad_weights: Any, routes: Any, topk_idx: Any, peer_rows: Any, name: str
) -> Any:
    grad_x = grad.new_empty((topk_idx.shape[0], find(name).plan.hidden))
    return grad_x, grad_weights.new_empty(topk_idx.shape)


def _dispatch_backward_weights(
    grad_weights: Any, routes: Any, topk_idx: Any, peer_rows: Any, name: str
) -> Any:
    return find(name).dispatch_backward_weights(grad_weights, routes, topk_idx, peer_rows)


def _fake_dispatch_backward_weights(
    grad_weights: Any, routes: Any, topk_idx: Any, peer_rows: Any, name: str
) -> Any:
    return grad_weights.new_empty(topk_idx.shape)


def _combine_backward(grad: Any, routes: Any, topk_idx: Any, peer_rows: Any, name: str) -> Any:
    return find(name).combine_backward(grad, routes, topk_idx, peer_rows)[0]


def _fake_combine_backward(
    grad: Any, routes: Any, topk_idx: Any, peer_rows: Any, name: str
) -> Any:
    return grad.new_empty(find(name).rows_shape)


def _combine_backward_weighted(
    grad: Any, routes: Any, topk_idx: Any, peer_rows: Any, y: Any, weights: Any, name: str
) -> Any:
    return find(name).combine_backward(grad, routes, topk_idx, peer_rows, y, weights)


def _fake_combine_backward_weighted(
    grad: Any, routes: Any, topk_idx: Any, peer_rows: Any, y: Any, weights: Any, name: str
) -> Any:
    binding = find(name)
    return grad.new_empty(binding.rows_shape), weights.new_empty(binding.weights_shape)


def _nothing(*arguments: Any) -> None:
    pass


_RECEIVED = "Tensor x, Tensor topk_idx, Tensor topk_weights"
_KNOWN = "Tensor routes, Tensor topk_idx, Tensor? peer_rows"

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
# Those of plans that keep blocks return `peer_rows` as well.
_define(
    f"dispatch_kept({_RECEIVED}, str name) -> (Tensor, Tensor, Tensor, Tensor)",
    _dispatch,
    _fake_dispatch,
)
_define(
    f"dispatch_kept_scaled({_RECEIVED}, Tensor scales, str name) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _dispatch_scaled,
    _fake_dispatch_scaled,
)
_define(
    f"dispatch_out({_RECEIVED}, Tensor? scales, Tensor(a!) recv_x, "
    "Tensor(b!) recv_topk_weights, Tensor(c!) routes, Tensor(d!)? recv_scales, "
    "Tensor(e!)? peer_rows, str name) -> ()",
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

def _differentiate_dispatch(name: str, kernel: Any) -> Call:
    return _differentiate(name, kernel, gradients.setup_dispatch, gradients.backward_dispatch)


dispatch = _differentiate_dispatch("dispatch", _dispatch)
dispatch_scaled = _differentiate_dispatch("dispatch_scaled", _dispatch_scaled)
dispatch_kept = _differentiate_dispatch("dispatch_kept", _dispatch)
dispatch_kept_scaled = _differentiate_dispatch("dispatch_kept_scaled", _dispatch_scaled)
combine = _differentiate("combine", _combine, gradients.setup_combine, gradients.backward_combine)
dispatch_out = functools.partial(call_kernel, OPS.dispatch_out.default, _dispatch_out)
combine_out = functools.partial(call_kernel, OPS.combine_out.default, _combine_out)
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
        gradients.refuse_backward(_name),
        setup_context=gradients.setup_nothing,
        lib=_library,
    )
