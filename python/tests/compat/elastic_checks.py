# ===- elastic_checks.py - what ElasticBuffer has to do -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""ElasticBuffer against the reference, on any device. Needs no pytest."""

import dataclasses

import torch
from cases import equal

from moe_mlir.compat import deep_ep


def data(use_fp8):
    return (lambda case: case.rows(True)[0]) if use_fp8 else (lambda case: case.x)


def check_rows(got, sizes, rank, seed, use_fp8, num_rows):
    """Results of a dispatch without expansion."""
    recv_x, ids, weights, handle, _ = got
    sources, local = sizes.mine(rank, seed), sizes.local_ids(rank, seed)
    here = len(sources)
    assert ids.shape == (num_rows, sizes.top_k) and ids.dtype == torch.int64
    assert ids[:here].tolist() == local
    expected = sizes.pick(sources, lambda case: case.weights, seed)
    expected = torch.where(ids[:here] < 0, 0.0, expected)
    equal(weights[:here], expected)
    if use_fp8:
        recv_x, scales = recv_x
        assert scales.shape == (num_rows, 2)
        equal(scales[:here], sizes.pick(sources, lambda case: case.scales, seed))
    assert recv_x.shape == (num_rows, sizes.hidden)
    equal(recv_x[:here], sizes.pick(sources, data(use_fp8), seed))
    numbers = [sender * sizes.max_tokens + token for sender, token in sources]
    assert handle.recv_src_metadata[:here, 0].tolist() == numbers
    first = [next(k for k, i in enumerate(row) if i >= 0) for row in local]
    assert handle.recv_src_metadata[:here, 1].tolist() == [
        sender * sizes.top_k + k for (sender, _), k in zip(sources, first, strict=True)
    ]


def check_handle(handle, sizes, rank, seed, alignment, has_list):
    counts = sizes.counts(rank, seed)
    padded = [-(-count // alignment) * alignment for count in counts]
    assert handle.num_recv_tokens_per_expert_list == (padded if has_list else [])
    assert handle.num_unaligned_recv_tokens_per_expert.tolist() == counts
    ends = torch.tensor(padded).cumsum(0)
    if handle.do_expand:
        ends += torch.tensor(counts) - torch.tensor(padded)
    found = handle.psum_num_recv_tokens_per_expert
    assert found.dtype == torch.int32 and found.tolist() == ends.tolist()
    senders = [sender for sender, _ in sizes.mine(rank, seed)]
    found = handle.psum_num_recv_tokens_per_scaleup_rank
    assert found.dtype == torch.int32
    assert found.tolist() == [sum(s <= r for s in senders) for r in range(sizes.ranks)]


def rows(buffer, rank, sizes):
    """Rows, ids, weights, counts, statistics, with and without a CPU sync."""
    for seed in range(3):
        for use_fp8 in (False, True):
            for syncs in (True, False):
                case = sizes.case(rank, seed)
                stats = torch.full((sizes.local,), 7, dtype=torch.int32, device=sizes.device)
                got = buffer.dispatch(
                    case.rows(use_fp8), case.idx, case.weights, stats,
                    num_experts=sizes.experts, expert_alignment=4, do_cpu_sync=syncs,
                )  # fmt: skip
                here = len(sizes.mine(rank, seed))
                room = here if syncs else sizes.ranks * sizes.max_tokens
                check_rows(got, sizes, rank, seed, use_fp8, room)
                check_handle(got[3], sizes, rank, seed, 4, syncs)
                assert got[3].num_recv_tokens == room
                assert (stats - 7).tolist() == sizes.counts(rank, seed)


def expanded(buffer, rank, sizes):
    """Rows grouped by expert and aligned, with zeros between groups."""
    for seed, alignment, use_fp8, syncs in (
        (0, 1, False, True), (1, 4, False, False), (0, 4, True, True), (2, 8, True, False),
    ):  # fmt: skip
        case = sizes.case(rank, seed)
        recv_x, ids, weights, handle, _ = buffer.dispatch(
            case.rows(use_fp8), case.idx, case.weights, num_experts=sizes.experts,
            expert_alignment=alignment, do_cpu_sync=syncs, do_expand=True,
            do_zero_padding=True, use_tma_aligned_col_major_sf=True,
        )  # fmt: skip
        assert ids is None
        sources = sizes.expanded(rank, alignment, seed)
        here = len(sources)
        room = sizes.ranks * sizes.max_tokens * min(sizes.top_k, sizes.local)
        room += (alignment - 1) * sizes.local
        room = here if syncs else -(-room // alignment) * alignment
        if use_fp8:
            recv_x, scales = recv_x
            assert scales.shape == (room, 2) and scales.stride() == (1, -(-room // 4) * 4)
            equal(scales[:here], sizes.pick(sources, lambda case: case.scales, seed))
        assert recv_x.shape == (room, sizes.hidden) and weights.shape == (room,)
        equal(recv_x[:here], sizes.pick(sources, data(use_fp8), seed))
        slots = [None if s is None else (s[0], s[1] * sizes.top_k + s[2]) for s in sources]
        equal(weights[:here], sizes.pick(slots, lambda case: case.weights.flatten(), seed))
        check_handle(handle, sizes, rank, seed, alignment, syncs)
        assert handle.num_expanded_tokens == room
        places = {source: row for row, source in enumerate(sources) if source}
        assert handle.recv_src_metadata[: len(sizes.mine(rank, seed)), 2:].tolist() == [
            [places.get((*source, k), -1) for k in range(sizes.top_k)]
            for source in sizes.mine(rank, seed)
        ]


def work(sizes, sources, seed):
    """What experts make of a row: it depends on sender, token and slot alone."""
    made = torch.zeros(len(sources), sizes.hidden, dtype=torch.float32)
    for row, source in enumerate(sources):
        if source is not None:
            number = 10000 * source[0] + 100 * source[1] + source[2] + seed
            generator = torch.Generator().manual_seed(number)
            made[row] = torch.randn(sizes.hidden, generator=generator)
    return made.bfloat16().to(sizes.device)


def expected_sum(sizes, rank, seed, biases, rounds_per_rank):
    """Sums of a rank's tokens: of each rank by slot, then of all ranks in their order."""
    where, sizes = sizes.device, dataclasses.replace(sizes, device="cpu")
    case = sizes.case(rank, seed)
    out = torch.zeros_like(case.x, dtype=torch.float32)
    for token in range(len(case.idx)):
        total = sum((bias[token].cpu().float() for bias in biases), torch.zeros_like(out[0]))
        for owner in range(sizes.ranks):
            part = torch.zeros_like(out[0])
            slots = [k for k, i in enumerate(case.idx[token].tolist()) if i >= 0]
            slots = [k for k in slots if case.idx[token, k] // sizes.local == owner]
            for k in slots:
                part += work(sizes, [(rank, token, k)], seed)[0].float()
            total = total + (part.bfloat16().float() if rounds_per_rank else part)
        out[token] = total
    return out.bfloat16().to(where)


def combined(buffer, rank, sizes):
    """Bit for bit: sums per rank, then over ranks, biases first; weights come back."""
    multiple = buffer.allow_multiple_reduction
    for seed, num_biases, syncs in ((0, 0, True), (1, 1, False), (2, 2, True)):
        case = sizes.case(rank, seed)
        generator = torch.Generator().manual_seed(rank)
        biases = tuple(
            torch.randn(case.x.shape, generator=generator).bfloat16().to(sizes.device)
            for _ in range(num_biases)
        )
        bias = (None, *biases[:1], biases)[num_biases]
        options = {"num_experts": sizes.experts, "do_cpu_sync": syncs}
        for expands in (False, True):
            recv_x, _, weights, handle, _ = buffer.dispatch(
                case.x, case.idx, case.weights, do_expand=expands, expert_alignment=4,
                **options,
            )  # fmt: skip
            if expands:
                made = work(sizes, sizes.expanded(rank, 4, seed), seed)
            else:
                parts = [
                    [(*source, k) if i >= 0 else None for k, i in enumerate(row)]
                    for source, row in zip(
                        sizes.mine(rank, seed), sizes.local_ids(rank, seed), strict=True
                    )
                ]
                made = torch.stack(
                    [work(sizes, row, seed).float().sum(0) for row in parts]
                ).bfloat16()
            y = torch.full_like(recv_x, float("nan"))
            y[: len(made)] = made
            out, back, event = buffer.combine(y, handle, weights, bias)
            equal(out, expected_sum(sizes, rank, seed, biases, multiple or not expands))
            equal(back, case.weights)
            assert event.event is None
            out, back, _ = buffer.combine(y, handle)
            assert back is None


def reused(buffer, rank, sizes):
    """Other rows, of another type, with and without weights, along the same routes."""
    case, other = sizes.case(rank, 0), sizes.case(rank, 0)
    other.x = -other.x
    for expands in (False, True):
        x, idx, weights, handle, _ = buffer.dispatch(
            case.rows(True), case.idx, case.weights, num_experts=sizes.experts,
            do_expand=expands, expert_alignment=4,
        )  # fmt: skip
        got = buffer.dispatch(
            case.rows(True), topk_weights=case.weights, handle=handle, do_expand=expands,
            do_zero_padding=expands,
        )  # fmt: skip
        assert got[3] is handle and (got[1] is None) is expands
        sources = sizes.expanded(rank, 4) if expands else sizes.mine(rank)
        holds = [row for row, source in enumerate(sources) if source is not None]
        equal(got[0][0][holds], x[0][holds])
        equal(got[0][1][holds], x[1][holds])
        equal(got[2], weights)
        if not expands:
            equal(got[1], idx)
        # Rows of another type, as gradients are, and no weights.
        again, _, no_weights, _, _ = buffer.dispatch(other.x, handle=handle, do_expand=expands)
        assert no_weights is None
        equal(again[holds], -sizes.pick([sources[row] for row in holds], lambda c: c.x))
        buffer.combine(again, handle)


def overlapped(buffer, rank, sizes):
    """Events, hooks and previous events; all calls return the same rows."""
    case = sizes.case(rank)
    expected = buffer.dispatch(case.x, case.idx, case.weights, num_experts=sizes.experts)
    assert expected[4].event is None
    try:
        expected[4].current_stream_wait()
    except RuntimeError as error:
        assert "expected the event of an asynchronous call" in str(error)
    else:
        raise AssertionError("nothing was raised")
    for previous in (None, buffer.capture(), deep_ep.Buffer.capture()):
        got = buffer.dispatch(
            case.x, case.idx, case.weights, num_experts=sizes.experts, previous_event=previous,
            previous_event_before_epilogue=previous, async_with_compute_stream=True,
            allocate_on_comm_stream=True,
        )  # fmt: skip
        called = []
        got[4].register_hook_after_wait(lambda: called.append(1))  # noqa: B023
        with got[4]:
            assert not called
        assert called == [1]
        got[4].current_stream_wait(release_handle=True)
        assert called == [1] and got[4].event is None
        equal(got[0], expected[0])
        out, _, event = buffer.combine(got[0], got[3], async_with_compute_stream=True)
        with event(release_handle=True):
            pass
        assert event.event is None
        equal(out, buffer.combine(expected[0], expected[3])[0])
    buffer.barrier()
    buffer.barrier(use_comm_stream=False, with_cpu_sync=True)
    # The ids of a handle are a copy, unless the caller asks for none.
    for copies in (True, False):
        handle = buffer.dispatch(
            case.x, case.idx, None, num_experts=sizes.experts, do_handle_copy=copies
        )[3]
        assert (handle.topk_idx.data_ptr() == case.idx.data_ptr()) is not copies
