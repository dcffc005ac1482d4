# ===- test_errors.py - calls that are refused, and how -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Bad input: an exception says what was expected and seen."""

import copy
import pickle

import torch
from layer import case
from refusals import F32, on_each, refused

import moe_mlir as moe
from moe_mlir.torch.streams import streams_of


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


def test_handles_of_plans_that_keep_blocks_or_do_not(threads):
    def main(ep, mine):
        handle = ep.dispatch(mine.x, mine.idx, mine.weights).handle
        rows = torch.zeros(ep.rows, ep.plan.hidden)
        expected, got, other = "peer_rows in the handle", "none", None
        if not ep.plan.keep_blocks:
            expected, got = "no peer_rows in the handle", "some"
            other = torch.zeros((4, 1), dtype=torch.int32)
        refused(
            TypeError, f"combine: expected {expected}, as the plan says, got {got}",
            ep.combine, rows, handle._replace(peer_rows=other),
        )  # fmt: skip
        if ep.plan.keep_blocks:
            wrong = torch.zeros((4, 2), dtype=torch.int32)
            refused(
                moe.MoEError, r"argument 5 of entry 'combine': expected extent 1 in dimension 1",
                ep.combine, rows, handle._replace(peer_rows=wrong),
            )  # fmt: skip
            ep.group.reset()
            # Without a GPU there is only a device that no entry can be called with.
            given = (rows, handle.routes, wrong.to("meta"))
            refused(
                ValueError, "combine: expected peer_rows in memory of the host, where dispatch has",
                ep._binding._moved, "combine", given,
            )  # fmt: skip

    for keep_blocks in (False, True):
        on_each(threads, moe.Exchange(**F32, keep_blocks=keep_blocks), main, ranks=1)


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
