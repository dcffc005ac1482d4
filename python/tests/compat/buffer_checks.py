# ===- buffer_checks.py - what Buffer's normal calls have to do -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Buffer.dispatch and Buffer.combine against the reference, on any device."""

import torch
from cases import equal


def data(use_fp8):
    return (lambda case: case.rows(True)[0]) if use_fp8 else (lambda case: case.x)


def check_layout(layout, sizes, rank, seed):
    per_rank, per_rdma_rank, per_expert, in_rank, event = layout
    case = sizes.case(rank, seed)
    assert per_rdma_rank is None and event.event is None
    assert (per_rank.dtype, per_expert.dtype) == (torch.int32, torch.int32)
    assert in_rank.dtype == torch.bool
    goes = [
        [any(i // sizes.local == r for i in row if i >= 0) for r in range(sizes.ranks)]
        for row in case.idx.tolist()
    ]
    assert in_rank.tolist() == goes and in_rank.shape == (len(goes), sizes.ranks)
    assert per_rank.tolist() == [sum(row[r] for row in goes) for r in range(sizes.ranks)]
    flat = case.idx.flatten().tolist()
    assert per_expert.tolist() == [flat.count(i) for i in range(sizes.experts)]


def given(layout):
    return {
        "num_tokens_per_rank": layout[0],
        "num_tokens_per_expert": layout[2],
        "is_token_in_rank": layout[3],
    }


def normal(buffer, rank, sizes, seeds=(0, 1)):
    """Layouts, rows, counts, handles, combines; with and without top-k, fp8, a CPU sync."""
    for seed in seeds:
        case, sources = sizes.case(rank, seed), sizes.mine(rank, seed)
        layout = buffer.get_dispatch_layout(case.idx, sizes.experts)
        check_layout(layout, sizes, rank, seed)
        matrix = [
            [sum(s <= i for s, _ in sizes.mine(j, seed)) for j in range(sizes.ranks)]
            for i in range(sizes.ranks)
        ]
        for use_fp8, has_topk in ((False, True), (True, seed == 0)):
            topk = {"topk_idx": case.idx, "topk_weights": case.weights} if has_topk else {}
            recv_x, ids, weights, counts, handle, event = buffer.dispatch(
                case.rows(use_fp8), **given(layout), **topk, expert_alignment=4
            )
            assert event.event is None and handle[0].tolist() == matrix
            assert handle[3].tolist() == [token for _, token in sources]
            assert counts == [-(-c // 4) * 4 for c in sizes.counts(rank, seed)]
            if has_topk:
                local = sizes.local_ids(rank, seed)
                assert ids.dtype == torch.int64 and ids.tolist() == local
                expected = sizes.pick(sources, lambda c: c.weights, seed)
                equal(weights, torch.where(ids < 0, 0.0, expected))
            else:
                assert ids is None and weights is None
            found = recv_x[0] if use_fp8 else recv_x
            equal(found, sizes.pick(sources, data(use_fp8), seed))
            if use_fp8:
                equal(recv_x[1], sizes.pick(sources, lambda c: c.scales, seed))
            again = buffer.dispatch(case.rows(use_fp8), handle=handle)
            assert again[1:5] == (None, None, None, None)
            equal(again[0][0] if use_fp8 else again[0], found)
            check_combine(buffer, handle, sizes, rank, seed, weights)
            if has_topk:
                expected = found, ids, weights
                check_worst(buffer, case.rows(use_fp8), layout, topk, sizes, expected)


def check_worst(buffer, x, layout, topk, sizes, expected):
    """As many rows as can come, without a CPU sync."""
    worst = sizes.ranks * sizes.max_tokens
    recv_x, ids, weights, counts, handle, _ = buffer.dispatch(
        x, **given(layout), **topk, num_worst_tokens=worst
    )
    rows = recv_x[0] if isinstance(recv_x, tuple) else recv_x
    here = len(expected[0])
    assert counts == [] and len(rows) == len(ids) == len(weights) == worst
    for found, wanted in zip((rows, ids, weights), expected, strict=True):
        equal(found[:here], wanted)
    assert (ids[here:] == -1).all()
    y = torch.full(rows.shape, float("nan"), dtype=torch.bfloat16, device=sizes.device)
    y[:here] = 1
    out, _, _ = buffer.combine(y, handle)
    assert (out == layout[3].sum(1, keepdim=True)).all()


def check_combine(buffer, handle, sizes, rank, seed, weights):
    case, sources = sizes.case(rank, seed), sizes.mine(rank, seed)
    y = sizes.pick(sources, lambda c: c.x, seed) * (rank + 1)
    factors = [sorted({i // sizes.local + 1 for i in row if i >= 0}) for row in case.idx.tolist()]
    for num_biases in range(3):
        biases = tuple((case.x * 0.3 + n).bfloat16() for n in range(num_biases))
        total = sum((b.float() for b in biases), torch.zeros_like(case.x, dtype=torch.float32))
        for token, owners in enumerate(factors):
            for factor in owners:
                total[token] += (case.x[token] * factor).float()
        bias = {0: None, 1: biases[0] if biases else None, 2: biases}[num_biases]
        out, back, event = buffer.combine(y, handle, weights, bias)
        assert event.event is None
        equal(out, total.bfloat16())
        if weights is None:
            assert back is None
        else:
            equal(back, case.weights)
