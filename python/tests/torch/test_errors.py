# ===- test_errors.py - what is refused, and how -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Bad input: an exception says what was expected and seen; gradients are never wrong."""

import copy
import pickle
import re

import pytest
import torch
from layer import USUAL, case

import moe_mlir as moe
from moe_mlir.torch.streams import streams_of

F32 = {**USUAL, "dtype": "f32"}


def refused(kind, message, call, *arguments, **options):
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert re.search(message, text), text
    return caught.value


def on_each(threads, plan, function, ranks=2):
    """Run `function(ep, case)` on ranks with 4 tokens each."""
    return threads(
        ranks, plan, lambda ep: function(ep, case(plan, ep.group.rank, 1, 4))
    )


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
        refused(
            RuntimeError, "modified by an inplace operation", out.backward, mine.grad_out
        )

    on_each(threads, plan, main)


def test_types_and_shapes(threads):
    """All ranks learn of what one has passed, and go on after a reset."""
    plan = moe.Exchange(**F32)
    wrong = {
        r"argument 0 .*: expected element type f32, got f16(.|\n)*"
        r"the arguments of dispatch are \(x: tensor<\?x8xf32>, topk_idx: tensor<\?x3xi32>, "
        r"topk_weights: tensor<\?x3xf32>\)": {"x": lambda x: x.half()},
        "argument 1 .*: expected element type i32, got i64": {"idx": lambda idx: idx.long()},
        "argument 2 .*: expected element type f32, got bf16": {"weights": lambda w: w.bfloat16()},
        "rows of topk_idx, one for each token: expected 3, seen 4": {"x": lambda x: x[:3]},
        "number of tokens, bounded by max_tokens: expected at most 6, seen 8": {
            "x": lambda x: torch.cat([x, x]),
            "idx": lambda idx: torch.cat([idx, idx]),
            "weights": lambda w: torch.cat([w, w]),
        },
        "expert id of token 0, slot 0: expected -1 to 6, seen 7": {
            "idx": lambda idx: torch.full_like(idx, 7)
        },
    }

    def main(ep, mine):
        for message, changes in wrong.items():
            given = {"x": mine.x, "idx": mine.idx, "weights": mine.weights}
            if ep.group.rank == 1:
                given |= {name: change(given[name]) for name, change in changes.items()}
                refused(moe.MoEError, message, ep.dispatch, *given.values())
            else:
                refused(moe.MoEError, "rank 1", ep.dispatch, *given.values())
            ep.group.reset()
        recv = ep.dispatch(mine.x, mine.idx, mine.weights)
        assert recv.tokens_to_rank.sum() > 0

    on_each(threads, plan, main)


def test_calls_that_a_plan_does_not_go_with(threads):
    plan = moe.Exchange(**F32)

    def main(ep, mine):
        given = (mine.x, mine.idx, mine.weights)
        recv = ep.dispatch(*given)
        refused(
            TypeError, "dispatch: expected no scales, as the plan says, got some",
            ep.dispatch, *given, mine.weights,
        )  # fmt: skip
        refused(
            TypeError, "combine: expected no weights, as the plan says, got some",
            ep.combine, recv.x, recv.handle, recv.topk_weights,
        )  # fmt: skip
        refused(
            TypeError, r"combine: expected the handle of a dispatch \(recv.handle\), got .*Tensor",
            ep.combine, recv.x, recv.handle.routes,
        )  # fmt: skip
        refused(
            ValueError, r"dispatch: expected routes of \d+ elements for 4 tokens, got \d+",
            ep.dispatch, *given, out=ep.empty_received(3),
        )  # fmt: skip

    on_each(threads, plan, main, ranks=1)


def test_gradients_and_given_tensors(threads):
    plan = moe.Exchange(**F32, gradients=True)

    def main(ep, mine):
        x, *_ = mine.leaves()
        message = "expected no input that requires a gradient with out=, which has none, got one"
        refused(
            RuntimeError, f"dispatch: {message}",
            ep.dispatch, x, mine.idx, mine.weights, out=ep.empty_received(4),
        )  # fmt: skip
        recv = ep.dispatch(x, mine.idx, mine.weights)
        refused(
            RuntimeError, f"combine: {message}",
            ep.combine, recv.x, recv.handle, out=torch.empty_like(x),
        )  # fmt: skip
        message = "expected out= to require no gradient, since what is written there has none"
        refused(
            RuntimeError, f"combine: {message}",
            ep.combine, recv.x.detach(), recv.handle, out=x * 1,
        )  # fmt: skip
        given = ep.empty_received(4)
        given.topk_weights.requires_grad_()
        refused(
            RuntimeError, f"dispatch: {message}",
            ep.dispatch, mine.x, mine.idx, mine.weights, out=given,
        )  # fmt: skip

    on_each(threads, plan, main, ranks=1)


def test_given_tensors_that_a_backward_pass_needs(threads):
    """Autograd learns that they have been written to, and gives no wrong gradients."""
    plan = moe.Exchange(**F32, gradients=True)

    def main(ep, mine):
        factor = torch.ones(1, requires_grad=True)
        given, out = ep.empty_received(4), torch.ones(4, plan.hidden)
        message = "modified by an inplace operation"
        ep.dispatch(mine.x, mine.idx, mine.weights, out=given)
        for tensor in (given.x, given.topk_weights):
            loss = (factor * tensor).sum()
            ep.dispatch(mine.x, mine.idx, mine.weights, out=given)
            refused(RuntimeError, message, loss.backward)
        loss = (factor * out).sum()
        ep.combine(given.x, given.handle, out=out)
        refused(RuntimeError, message, loss.backward)
        # The routes of a layer, which its backward pass reads.
        x, *_ = mine.leaves()
        recv = ep.dispatch(x, mine.idx, mine.weights)
        ep.combine(recv.x, given.handle).backward(mine.grad_out)
        loss = ep.combine(ep.dispatch(x, mine.idx, mine.weights).x, given.handle)
        ep.dispatch(mine.x, mine.idx, mine.weights, out=given)
        refused(RuntimeError, message, loss.backward, mine.grad_out)
        with torch.inference_mode():
            ep.dispatch(mine.x, mine.idx, mine.weights, out=ep.empty_received(4))

    on_each(threads, plan, main)


def test_given_tensors_are_not_those_of_another_dispatch(threads):
    """Its ids are the caller's."""
    plan = moe.Exchange(**F32)

    def main(ep, mine):
        given = (mine.x, mine.idx, mine.weights)
        recv = ep.dispatch(*given)
        refused(
            TypeError, r"dispatch: expected out to be what empty_received\(\) has made, got what",
            ep.dispatch, *given, out=recv,
        )  # fmt: skip

    on_each(threads, plan, main, ranks=1)


def test_devices(threads):
    """As a group on a GPU would have it; cuda_scenes.py has such a group."""
    plan = moe.Exchange(**F32)

    def main(ep, mine):
        ep._binding.device = torch.device("cuda", 0)
        ep._binding._calls["dispatch"] = lambda *tensors: False
        message = (
            "dispatch: expected x on cuda:0, where the group of this ExpertParallel is, got a "
            "tensor on cpu"
        )
        refused(ValueError, message, ep.dispatch, mine.x, mine.idx, mine.weights)

    on_each(threads, plan, main, ranks=1)


def test_calls_on_several_streams(monkeypatch):
    """The current stream waits for the last call; cuda_scenes.py has real streams."""
    waits = []

    class Stream:
        def __init__(self, name):
            self.name = name

        def wait_stream(self, other):
            waits.append((self.name, other.name))

    streams = {1: Stream("one"), 2: Stream("two"), 3: Stream("captured")}
    current = [1]
    monkeypatch.setattr(torch._C, "_cuda_getCurrentRawStream", lambda index: current[0])
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: streams[current[0]])
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: current[0] == 3)
    (group,) = moe.Group.local(1)
    with group:
        device = torch.device("cuda", 0)
        mine = streams_of(group, device)
        assert streams_of(group, device) is mine
        for stream in (1, 1, 2, 3, 2, 2, 1):
            current[0] = stream
            mine.follow()
    assert waits == [("two", "one"), ("one", "two")]


def test_symmetric_results_are_not_handed_out_as_new_ones(threads):
    plan = moe.Exchange(**F32, symmetric_recv=True)

    def main(ep, mine):
        refused(
            TypeError, r"dispatch: expected out= \(empty_received\(\)\), since the plan has symm",
            ep.dispatch, mine.x, mine.idx, mine.weights,
        )  # fmt: skip

    on_each(threads, plan, main, ranks=1)


def test_what_is_no_plan_or_group():
    message = "ExpertParallel: expected an Exchange as plan, got 'layer.so'"
    refused(TypeError, message, moe.torch.ExpertParallel, "layer.so")
    refused(
        TypeError, "expected a Group or a process group of torch.distributed as group, got 3",
        moe.torch.ExpertParallel, moe.Exchange(**F32), 3,
    )  # fmt: skip


def test_artifacts_for_groups_of_another_size(threads):
    plan = moe.Exchange(**F32)
    artifact = plan.build(ranks=3)

    def main(group):
        refused(
            moe.MoEError, "3", moe.torch.ExpertParallel, plan, group, artifact=artifact
        )  # fmt: skip

    moe.run_local(2, main)


def test_an_exchange_that_is_gone(threads):
    plan = moe.Exchange(**F32, gradients=True)

    def main(ep, mine):
        x, *_ = mine.leaves()
        recv = ep.dispatch(x, mine.idx, mine.weights)
        out = ep.combine(recv.x, recv.handle)
        ep.close()
        message = "expected the ExpertParallel '.*' that this graph was made with, but it has been"
        refused(RuntimeError, message, out.backward, mine.grad_out)
        refused(RuntimeError, message, ep.combine, recv.x, recv.handle)

    on_each(threads, plan, main, ranks=1)


def test_a_group_that_is_closed():
    plan = moe.Exchange(**F32)
    (group,) = moe.Group.local(1)
    ep = moe.torch.ExpertParallel(plan, group)
    mine = case(plan, 0, 1, 4)
    group.close()
    refused(moe.MoEError, "closed", ep.dispatch, mine.x, mine.idx, mine.weights)


def test_copies_of_models_share_the_exchange(threads):
    plan = moe.Exchange(**F32)

    def main(ep, mine):
        assert copy.deepcopy({"ep": ep})["ep"] is ep
        refused(TypeError, "expected to pickle no ExpertParallel", pickle.dumps, ep)

    on_each(threads, plan, main, ranks=1)
