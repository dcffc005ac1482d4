#===- test_properties.py - properties of oracle and cases -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What holds for the oracle's results on any input, and for any list of cases."""

from dataclasses import replace

import numpy as np
import pytest

import oracle
from cases import Stratified, make_cases
from inputs import EDGE_HIDDEN, LAYOUTS
from moe_ops import Combine, Dispatch, DispatchReuse
from oracle import DTYPES, FLOATS, CombineAttrs, SpecifiedError
from program import module_text

F32 = np.float32


@pytest.fixture(scope="module")
def cases(request):
    option = request.config.option
    return make_cases(option.moe_seed, 60)


def dispatches(cases):
    for case in cases:
        op = case.entry.body[0]
        if not isinstance(op, Dispatch):
            continue
        data = dict(zip(case.entry.args, case.inputs))
        args = [data[v].arrays for v in (op.x, op.idx, op.weights)]
        try:
            yield case, op.attrs, args, oracle.dispatch(op.attrs, *args)
        except SpecifiedError:
            continue


def test_round_trip_multiplies_by_the_ranks_of_a_token(cases):
    """Dispatch, then combine of the same rows, is x times the ranks (or, with
    expert_major, the experts) that the token went to."""
    checked = 0
    for case, attrs, (x, idx, _), d in dispatches(cases):
        if attrs.overflow == "drop":
            continue
        numbers = [np.full((a.shape[0], 1), 3, np.int32) for a in x]
        topk = idx if attrs.layout == "expert_major" else None
        recv, _, valid = oracle.dispatch_reuse(attrs, numbers, d.send_row, topk)
        out, _ = oracle.combine(
            CombineAttrs(
                attrs.ranks, attrs.num_experts, attrs.layout, attrs.max_tokens,
                attrs.static_tokens,
            ),
            recv, d.send_row, topk, y_valid=valid,
        )
        for rank in range(attrs.ranks):
            for t in range(x[rank].shape[0]):
                experts = {int(e) for e in idx[rank][t]} - {-1}
                homes = experts
                if attrs.layout != "expert_major":
                    homes = {
                        oracle.owner(e, attrs.num_experts, attrs.ranks)
                        for e in experts
                    }
                assert out[rank][t, 0] == 3 * len(homes), case.name
                checked += 1
    assert checked > 50


def test_rows_name_their_source(cases):
    """recv_src_idx and send_row are each other's inverse."""
    checked = 0
    for case, attrs, (x, idx, _), d in dispatches(cases):
        for dest in range(attrs.ranks):
            for row in np.flatnonzero(d.valid[dest]):
                sender, t = divmod(int(d.recv_src_idx[dest][row]), attrs.t_max)
                got = oracle.bits(d.recv_x[dest][row])
                assert (got == oracle.bits(x[sender][t])).all(), case.name
                places = oracle.row_places(
                    attrs.layout, attrs.num_experts, attrs.ranks, d.send_row,
                    idx, sender, t,
                )
                assert (dest, row) in [(p[0], p[2]) for p in places]
                checked += 1
        sent = sum(int((rows >= 0).sum()) for rows in d.send_row)
        assert sent == sum(int(v.sum()) for v in d.valid), case.name
        assert sum(n.sum() for n in d.n_tokens_to_rank) == sum(
            n.sum() for n in d.n_tokens_from_rank
        )
        if attrs.overflow == "error":
            assert sent == sum(n.sum() for n in d.n_tokens_to_rank)
    assert checked > 100


def test_combine_weights_of_one_change_only_nans(cases):
    checked = 0
    for case in cases:
        op = case.entry.body[0]
        if not isinstance(op, Combine) or op.weights is not None:
            continue
        if op.y.type.dtype not in FLOATS or case.name.startswith("fixed_bad"):
            continue
        try:
            (plain,) = case.expected()
        except SpecifiedError:
            continue
        data = dict(zip(case.entry.args, case.inputs))
        y = data[op.y].arrays
        topk = None if op.idx is None else data[op.idx].arrays
        ones = [np.ones(a.shape[0], F32) for a in y]
        operands = op.attrs, y, data[op.send_row].arrays, topk, ones
        if op.attrs.reduce == "none":
            weighted = oracle.combine_rows(*operands)
        else:
            weighted, _ = oracle.combine(*operands)
        for a, b in zip(plain.arrays, weighted):
            same = oracle.bits(a) == oracle.bits(b)
            nan = np.isnan(a.astype(F32)) & np.isnan(b.astype(F32))
            assert (same | nan).all(), case.name
            checked += a.size
    assert checked > 0


def test_rows_add_up_to_their_sum(cases):
    """The rows of combine_s7, in f32 and in the order of combine_s1, rounded
    once, are the sum; so are their products with weights, which is what makes
    the rows the gradient of the weights."""
    checked = 0
    for case, attrs, (x, idx, w), d in dispatches(cases):
        if case.params.dtype not in FLOATS:
            continue
        topk = idx if attrs.layout == "expert_major" else None
        common = (attrs.ranks, attrs.num_experts, attrs.layout)
        common += (attrs.max_tokens, attrs.static_tokens)
        weights = None
        if attrs.layout == "expert_major" and case.params.weighted:
            weights = [np.where(v, a, 0) for v, a in zip(d.valid, d.recv_topk_weights)]
        y = [np.where(v[:, None], a, 0).astype(a.dtype)
             for v, a in zip(d.valid, d.recv_x)]
        plain = CombineAttrs(*common, reduce="none")
        rows = oracle.combine_rows(plain, y, d.send_row, topk)
        sums, _ = oracle.combine(
            CombineAttrs(*common), y, d.send_row, topk, weights
        )
        for rank, tokens in enumerate(rows):
            for t, slots in enumerate(tokens):
                partials = {}  # of the ranks, whose rows are added up first
                places = range(slots.shape[0])
                if topk is not None:
                    places = sorted(places, key=lambda k: int(idx[rank][t, k]))
                for slot in places:
                    row = int(d.send_row[rank][t, slot])
                    if row == -1:
                        assert not oracle.bits(slots[slot]).any()
                        continue
                    dest = slot
                    if topk is not None:
                        dest = oracle.owner(
                            int(idx[rank][t, slot]), attrs.num_experts,
                            attrs.ranks,
                        )
                    with np.errstate(all="ignore"):
                        term = slots[slot].astype(F32)
                        if weights is not None:
                            term = term * weights[dest][row]
                        if dest in partials:
                            term = partials[dest] + term
                    partials[dest] = term
                if not partials:
                    continue
                with np.errstate(all="ignore"):
                    first, *others = partials.values()
                    want = sum(others, start=first).astype(slots.dtype)
                a, b = want.astype(F32), sums[rank][t].astype(F32)
                same = (a == b) | (np.isnan(a) & np.isnan(b))
                assert same.all(), case.name
                checked += 1
    assert checked > 50


def test_lists_are_what_expert_major_receives(cases):
    """The rows that the lists of an expert name, one after another, are those of
    its group in expert_major, with their weights."""
    checked = 0
    for case, attrs, (x, idx, w), d in dispatches(cases):
        if attrs.list_alignment is None or attrs.overflow == "drop":
            continue
        by_expert = replace(
            attrs, layout="expert_major", order="token", capacity=None,
            alignment=attrs.list_alignment, list_alignment=None, overflow="drop",
        )
        by_expert.capacity = max(1, *oracle.rows_needed(by_expert, idx))
        want = oracle.dispatch(by_expert, x, idx, w)
        for rank in range(attrs.ranks):
            assert (d.expert_counts[rank] == want.expert_counts[rank]).all()
            assert (d.expert_offsets[rank] == want.expert_offsets[rank]).all()
            rows = d.list_rows[rank]
            groups = list(zip(d.expert_offsets[rank], d.expert_counts[rank]))
            listed = np.zeros(rows.shape, bool)
            for offset, count in groups:
                listed[offset : offset + count] = True
            assert ((rows >= 0) == listed).all()
            at = np.flatnonzero(listed)
            # Within a sender, rows may be in another order than tokens.
            if attrs.order == "token":
                for mine, theirs in (
                    (d.recv_x[rank][rows[at]], want.recv_x[rank][at]),
                    (d.recv_src_idx[rank][rows[at]], want.recv_src_idx[rank][at]),
                    (d.list_weights[rank][at], want.recv_topk_weights[rank][at]),
                ):
                    assert (oracle.bits(mine) == oracle.bits(theirs)).all()
            assert (rows[~listed] == -1).all()
            assert not oracle.bits(d.list_weights[rank][~listed]).any()
            checked += len(at)
    assert checked > 500


def test_bad_inputs_are_bad(cases):
    for case in cases:
        if "bad_" not in case.name:
            continue
        with pytest.raises(SpecifiedError):
            case.expected()


def test_default_run_covers_what_it_must(cases):
    """Whatever the seed."""
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)
    params = [case.params for case in cases]
    assert {p.ranks for p in params} == set(range(1, 9))
    assert {p.k for p in params} >= set(range(1, 9))
    for op in (Dispatch, Combine):
        seen = [c for c in cases if isinstance(c.entry.body[0], op)]
        assert {c.params.dtype for c in seen} == set(DTYPES), op
        assert {c.params.layout for c in seen} == set(LAYOUTS), op
        assert {c.params.hidden for c in seen} >= set(EDGE_HIDDEN), op
    assert {p.alignment for p in params} >= {1, 2, 16}
    ops = [op for c in cases for op in c.entry.body]
    for op in (Dispatch, DispatchReuse):
        seen = {(o.attrs.layout, o.attrs.padding) for o in ops if isinstance(o, op)}
        assert seen == {(l, p) for l in LAYOUTS for p in ("none", "zero")}, op
    seen = {
        (o.attrs.layout, o.attrs.reduce, o.weights is not None)
        for o in ops if isinstance(o, Combine)
    }
    assert seen == {
        (l, r, w) for l in LAYOUTS for r in ("sum", "none") for w in (False, True)
    }
    seen = {(o.attrs.partials, o.weights is not None)
            for o in ops if isinstance(o, Combine) and o.attrs.layout == "expert_major"}
    assert seen == {(p, w) for p in ("f32", "element") for w in (False, True)}
    seen = {
        (o.attrs.layout, o.attrs.list_alignment is not None)
        for o in ops if isinstance(o, Dispatch)
    }
    assert seen == {(l, False) for l in LAYOUTS} | {
        ("rank_major", True), ("slab", True)
    }
    assert any(p.num_experts < p.ranks for p in params)
    assert any(p.num_experts % p.ranks for p in params)
    assert {p.idx_dtype for p in params} == {"i32", "i64"}
    tokens = [
        [a.shape[0] for a in c.inputs[0].arrays] for c in cases
        if isinstance(c.entry.body[0], Dispatch)
    ]
    assert any(len(set(t)) > 1 for t in tokens) and any(0 in t for t in tokens)
    kinds = set()
    for case in cases:
        try:
            case.expected()
        except SpecifiedError as error:
            kinds.add(error.kind)
    assert kinds == {
        oracle.INVALID_EXPERT, oracle.CAPACITY_EXCEEDED, oracle.INVALID_COUNT,
        oracle.TOO_MANY_TOKENS,
    }


def test_a_case_depends_on_seed_and_index_only():
    few, many = make_cases(5, 3), make_cases(5, 6)
    for a, b in zip(few, many):
        assert a.name == b.name
        assert a.entry.text() == b.entry.text()
        for p, q in zip(a.inputs, b.inputs):
            for u, v in zip(p.arrays, q.arrays):
                assert (oracle.bits(u) == oracle.bits(v)).all()
    assert make_cases(6, 6)[-1].entry.text() != many[-1].entry.text()


def test_stratified_choices_visit_everything():
    for seed in range(3):
        picked = [Stratified(seed, i)("x", range(7)) for i in range(14)]
        assert sorted(picked[:7]) == sorted(picked[7:]) == list(range(7))


def test_module_text_names_every_entry_once(cases):
    two = [c for c in cases if c.ranks == 2]
    text = module_text(2, [c.entry for c in two])
    assert text.count("shard.grid @ep(shape = 2)") == 1
    for case in two:
        assert text.count(f"func.func @{case.entry.name}(") == 1
