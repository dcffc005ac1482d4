# ===- test_operators.py - the operators as torch checks them -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""``torch.library.opcheck`` on every operator, on two processes."""

import pytest
import torch
from layer import USUAL, Named, case

import moe_mlir as moe
from moe_mlir.torch import operators

FORMS = {
    "rank_major": {"layout": "rank_major", "dtype": "f32"},
    "weights": {"layout": "expert_major", "combine_weights": True, "dtype": "f32"},
    "scales": {"layout": "expert_major", "dtype": "f8E4M3FN", "scales": 2},
    "kept": {"layout": "rank_major", "dtype": "f32", "keep_blocks": True},
    "kept_scales": {
        "layout": "expert_major", "dtype": "f8E4M3FN", "scales": 2, "keep_blocks": True,
    },
}


TESTS = (
    "test_schema",
    "test_autograd_registration",
    "test_faketensor",
    "test_aot_dispatch_dynamic",
)


def check(group, fields, known_good):
    """The names of the operators that were checked: all but those that have been."""
    # Rows that hold no token have to be the same in each call to be compared.
    plan = moe.Exchange(**USUAL, padding="zero", gradients=True, **fields)
    ep = moe.torch.ExpertParallel(plan, group)
    mine = case(plan, group.rank, 1, 4)
    x, weights, _ = mine.leaves()
    name, ops, back = ep._name, operators.OPS, ep.combine_dtype
    inputs = (x, mine.idx, weights)
    with torch.no_grad():
        recv = ep.dispatch(*inputs, mine.scales)
        routes = recv.handle.routes
    y = recv.x.to(back).requires_grad_()
    known = (routes, mine.idx, recv.handle.peer_rows)
    row_weights = recv.topk_weights.clone().requires_grad_() if plan.combine_weights else None
    grads = mine.grad_out
    calls = {
        "combine": (y, *known, row_weights, recv.topk_weights, name),
        "combine_out": (y.detach(), *known, recv.topk_weights if plan.combine_weights else None,
                        torch.empty(4, plan.hidden, dtype=back), name),
        "dispatch_backward_x": (y.detach(), *known, name),
        "dispatch_backward_weights": (recv.topk_weights, *known, name),
        "dispatch_backward": (y.detach(), recv.topk_weights, *known, name),
        "dispatch_out": (x.detach(), mine.idx, mine.weights, mine.scales, recv.x.clone(),
                         recv.topk_weights.clone(), routes.clone(),
                         None if recv.scales is None else recv.scales.clone(),
                         None if known[2] is None else known[2].clone(), name),
    }  # fmt: skip
    kept = "_kept" if plan.keep_blocks else ""
    if plan.scales:
        # Neither can it add them up, which it does when gradients are asked for.
        calls[f"dispatch{kept}_scaled"] = (mine.x, mine.idx, mine.weights, mine.scales, name)
        calls["dispatch_again_scaled"] = (x.detach(), *known, mine.scales, name)
    else:
        calls[f"dispatch{kept}"] = (*inputs, name)
        calls["dispatch_again"] = (x.detach(), *known, name)
    if plan.combine_weights:
        calls["combine_backward_weighted"] = (
            grads, *known, y.detach(), recv.topk_weights, name
        )  # fmt: skip
    else:
        calls["combine_backward"] = (grads, *known, name)
    # In the same order on all ranks.
    for op in sorted(set(calls) - set(known_good)):
        # torch cannot compare 8-bit floats, so it cannot see whether they were written to.
        tests = TESTS[1:] if plan.scales else TESTS
        found = torch.library.opcheck(getattr(ops, op).default, calls[op], test_utils=tests)
        assert set(found.values()) == {"SUCCESS"}, (op, found)
    return set(calls) - set(known_good)


def test_opcheck(processes):
    checked = set()
    for fields in FORMS.values():
        checked |= set.union(*processes(check, fields, sorted(checked)))
    defined = {
        schema.name.partition("::")[2]
        for schema in torch._C._jit_get_all_schemas()
        if schema.name.startswith("moe_mlir::")
    }
    assert checked == defined


def test_handles_are_plain_tensors(threads):
    plan = moe.Exchange(**USUAL, dtype="f32")

    def main(ep):
        mine = case(plan, ep.group.rank, 1, 4)
        handle = ep.dispatch(mine.x, mine.idx, mine.weights).handle
        assert all(type(value) is torch.Tensor for value in handle[:3])
        assert handle.peer_rows is None
        assert handle.routes.dtype == torch.int32 and handle.routes.ndim == 1

    threads(2, plan, main)


class Wrapped(torch.Tensor):
    """A subclass that sees every call with it."""

    seen = ()

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        Wrapped.seen = (*Wrapped.seen, str(func))
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize("has_gradient", [False, True])
def test_modes_profilers_and_subclasses_see_operators(threads, has_gradient):
    """Other calls run their kernels without the dispatcher."""
    plan = moe.Exchange(**USUAL, dtype="f32", gradients=True)

    def main(ep):
        mine = case(plan, ep.group.rank, 1, 4)
        x = mine.x.requires_grad_(has_gradient)

        def exchange(x):
            recv = ep.dispatch(x, mine.idx, mine.weights)
            return ep.combine(recv.x, recv.handle)

        expected = exchange(x)
        with Named() as mode:
            assert torch.equal(exchange(x), expected)
        assert mode.seen == ["dispatch", "combine"]
        with torch.autograd.profiler.profile(use_kineto=False) as profile:
            assert torch.equal(exchange(x), expected)
        names = {event.name for event in profile.function_events}
        assert {"moe_mlir::dispatch", "moe_mlir::combine"} <= names
        Wrapped.seen = ()
        exchange(x.detach().as_subclass(Wrapped).requires_grad_(has_gradient))
        assert any("moe_mlir.dispatch" in name for name in Wrapped.seen)

    threads(1, plan, main)


@pytest.mark.parametrize("has_gradient", [False, True])
def test_calls_that_nobody_sees_run_kernels_alone(threads, monkeypatch, has_gradient):
    """torch's dispatcher costs more than they do."""

    def fail(*inputs):
        raise AssertionError("the dispatcher was called")

    monkeypatch.setattr(operators.dispatch, "op", fail)
    monkeypatch.setattr(operators.combine, "op", fail)
    plan = moe.Exchange(**USUAL, dtype="f32", gradients=True)

    def main(ep):
        mine = case(plan, ep.group.rank, 1, 4)
        recv = ep.dispatch(mine.x.requires_grad_(has_gradient), mine.idx, mine.weights)
        assert ep.combine(recv.x, recv.handle).requires_grad is has_gradient
        with Named(), pytest.raises(AssertionError, match="the dispatcher was called"):
            ep.dispatch(mine.x.detach(), mine.idx, mine.weights)

    threads(1, plan, main)


def test_modes_see_calls_with_given_tensors(threads):
    plan = moe.Exchange(**USUAL, dtype="f32")

    def main(ep):
        mine = case(plan, ep.group.rank, 1, 4)
        given, out = ep.empty_received(4), torch.empty(4, plan.hidden)
        with Named() as mode:
            ep.dispatch(mine.x, mine.idx, mine.weights, out=given)
            ep.combine(given.x, given.handle, out=out)
        assert [name for name in mode.seen if "_out" in name] == ["dispatch_out", "combine_out"]

    threads(1, plan, main)
