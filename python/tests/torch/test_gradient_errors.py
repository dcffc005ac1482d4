# ===- test_gradient_errors.py - gradients that are refused -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""An exception says which gradients there are not; none is ever wrong."""

import torch
from layer import USUAL
from refusals import F32, on_each, refused

import moe_mlir as moe


def test_gradients_that_a_plan_has_not(threads):
    plan = moe.Exchange(**F32)

    def main(ep, mine):
        x, weights, _ = mine.leaves()
        message = (
            r"dispatch: expected a plan with gradients = True, since an input requires a "
            r"gradient, got Exchange\(num_experts=7, .*\); or call it under torch.no_grad"
        )
        refused(RuntimeError, message, ep.dispatch, x, mine.idx, mine.weights)
        refused(RuntimeError, message, ep.dispatch, mine.x, mine.idx, weights)
        recv = ep.dispatch(mine.x, mine.idx, mine.weights)
        y = recv.x.requires_grad_()
        refused(RuntimeError, "combine: expected a plan with grad", ep.combine, y, recv.handle)
        with torch.no_grad():
            ep.combine(y, ep.dispatch(x, mine.idx, weights).handle)

    on_each(threads, plan, main)


def test_gradients_that_would_be_rounded_to_8_bits(threads):
    plan = moe.Exchange(**{**USUAL, "dtype": "f8E4M3FN"}, scales=2, gradients=True)

    def main(ep, mine):
        given = (mine.idx, mine.weights)
        message = (
            r"dispatch: expected x without a gradient, since 8-bit floats and their scales have "
            r"none, got torch.float8_e4m3fn that requires one; detach\(\) it"
        )
        x = mine.x.clone().requires_grad_()
        refused(RuntimeError, message, ep.dispatch, x, *given, mine.scales)
        scales = mine.scales.clone().requires_grad_()
        refused(
            RuntimeError, "expected scales without a gradient", ep.dispatch, mine.x, *given, scales
        )

    on_each(threads, plan, main)


def test_gradients_that_come_back_with_8_bits(threads):
    plan = moe.Exchange(**F32, combine_dtype="f8E4M3FN", gradients=True)

    def main(ep, mine):
        x, weights, _ = mine.leaves()
        message = (
            "dispatch: expected x without a gradient, since it would come back as "
            r"torch.float8_e4m3fn, the combine_dtype of the plan, got one that requires it; choose"
        )
        refused(RuntimeError, message, ep.dispatch, x, mine.idx, mine.weights)
        recv = ep.dispatch(mine.x, mine.idx, weights)
        y = recv.x.to(ep.combine_dtype).requires_grad_()
        refused(RuntimeError, "combine: expected y without a grad", ep.combine, y, recv.handle)
        # Those of the weights are float32.
        recv.topk_weights.sum().backward()
        assert weights.grad.abs().max() > 0

    on_each(threads, plan, main)


def test_derivatives_of_forward_mode(threads):
    """torch takes the tangent of what has no rule for one for zero."""
    plan = moe.Exchange(**F32, gradients=True)

    def main(ep, mine):
        message = (
            "moe_mlir.dispatch.default: expected no input with a tangent, since derivatives of "
            r"forward mode \(torch.func.jvp, torch.autograd.forward_ad\) are not defined, got one"
        )

        def rows(x):
            return ep.dispatch(x, mine.idx, mine.weights).x

        refused(RuntimeError, message, torch.func.jvp, rows, (mine.x,), (mine.x,))
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(mine.x, mine.x)
            refused(RuntimeError, message, rows, dual)
            out = ep.empty_received(len(mine.x))
            refused(
                RuntimeError, "dispatch: expected no input with a tangent",
                ep.dispatch, dual, mine.idx, mine.weights, out=out,
            )  # fmt: skip
            recv = ep.dispatch(mine.x, mine.idx, mine.weights)
            y = torch.autograd.forward_ad.make_dual(recv.x, recv.x)
            refused(RuntimeError, "combine.default: exp", ep.combine, y, recv.handle)

    on_each(threads, plan, main, ranks=1)


def test_transforms_of_torch_func(threads):
    """torch has no rule for them and says so; gradients are right or refused."""
    plan = moe.Exchange(**F32, gradients=True)

    def main(ep, mine):
        def loss(x):
            return ep.dispatch(x, mine.idx, mine.weights).x.sum()

        refused(RuntimeError, "functorch transforms", torch.func.grad(loss), mine.x)

    on_each(threads, plan, main, ranks=1)


def test_gradients_of_gradients(threads):
    plan = moe.Exchange(**F32, gradients=True)

    def main(ep, mine):
        x, *_ = mine.leaves()
        recv = ep.dispatch(x, mine.idx, mine.weights)
        out = ep.combine(recv.x**2, recv.handle)
        (grad,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        refused(
            RuntimeError,
            r"moe_mlir::dispatch_backward_x: expected no backward pass through this operator, "
            r"which has no gradient, got one; gradients of gradients \(create_graph = True\)",
            grad.sum().backward,
        )

    on_each(threads, plan, main)


def test_gradients_of_torch_func(threads):
    plan = moe.Exchange(**F32, gradients=True, combine_weights=True, layout="expert_major")

    def main(ep, mine):
        message = (
            r"dispatch and combine: expected gradients to be taken by backward\(\) or "
            r"torch.autograd.grad\(\), got functorch transforms \(torch.func.grad and the like\)"
        )
        recv = ep.dispatch(mine.x, mine.idx, mine.weights)

        def of_dispatch(x):
            return ep.dispatch(x, mine.idx, mine.weights).x.sum()

        def of_combine(weights):
            return ep.combine(recv.x, recv.handle, weights).sum()

        refused(RuntimeError, message, torch.func.grad(of_dispatch), mine.x)
        refused(RuntimeError, message, torch.func.vjp, of_combine, recv.topk_weights)
        refused(RuntimeError, message, torch.func.grad(torch.func.grad(of_dispatch)), mine.x)

    on_each(threads, plan, main, ranks=1)


def test_a_second_backward_pass(threads):
    plan = moe.Exchange(**F32, gradients=True)

    def main(ep, mine):
        x, *_ = mine.leaves()
        recv = ep.dispatch(x, mine.idx, mine.weights)
        out = ep.combine(recv.x, recv.handle)
        out.backward(mine.grad_out)
        refused(RuntimeError, "backward through the graph a second time", out.backward, mine.x)

    on_each(threads, plan, main)


def test_a_graph_that_is_kept_for_a_second_backward_pass(threads):
    """The second pass exchanges again, and adds the same gradients."""
    plan = moe.Exchange(**F32, gradients=True, padding="zero")

    def main(ep, mine):
        x, weights, _ = mine.leaves()
        recv = ep.dispatch(x, mine.idx, weights)
        out = ep.combine(recv.x * recv.topk_weights.sum(1)[:, None], recv.handle)
        out.backward(mine.grad_out, retain_graph=True)
        once = [x.grad.clone(), weights.grad.clone()]
        out.backward(mine.grad_out)
        assert torch.equal(x.grad, 2 * once[0]) and torch.equal(weights.grad, 2 * once[1])
        assert once[0].abs().max() > 0

    on_each(threads, plan, main)


def test_routes_that_were_written_to(threads):
    """torch sees it in the tensor's version, since routes are saved as any tensor is."""
    plan = moe.Exchange(**F32, gradients=True)

    def main(ep, mine):
        x, *_ = mine.leaves()
        recv = ep.dispatch(x, mine.idx, mine.weights)
        out = ep.combine(recv.x, recv.handle)
        recv.tokens_from_rank.zero_()
        refused(RuntimeError, "modified by an inplace operation", out.backward, mine.grad_out)

    on_each(threads, plan, main)
