# ===- low_latency_checks.py - what low-latency calls have to do -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Buffer.low_latency_dispatch and low_latency_combine against the reference, on any device."""

import torch
from cases import equal

from moe_mlir.compat.deep_ep import fp8

# use_fp8, round_scale, use_ue8m0, return_recv_hook
FORMS = [
    (False, False, False, False),
    (True, False, False, True),
    (True, True, False, False),
    (True, True, True, True),
]


def cast_back(rows, scales):
    """The values that 8-bit rows stand for."""
    if scales.dtype == torch.int32:
        packed = scales.clone(memory_format=torch.contiguous_format)
        exponents = packed.view(torch.uint8).to(torch.int32)
        scales = torch.ldexp(torch.ones_like(exponents, dtype=torch.float32), exponents - 127)
    return (rows.float().unflatten(-1, (-1, 128)) * scales.unsqueeze(-1)).flatten(-2)


def check(buffer, rank, sizes):
    """Packed rows, scales in every form, counts, handles, combines."""
    room = sizes.ranks * sizes.max_tokens
    for seed, form in enumerate(FORMS):
        use_fp8, round_scale, use_ue8m0, has_hook = form
        case = sizes.case(rank, seed)
        stats = torch.full((sizes.local,), 5, dtype=torch.int32, device=sizes.device)
        recv_x, counts, handle, event, hook = buffer.low_latency_dispatch(
            case.x, case.idx, sizes.max_tokens, sizes.experts, stats, use_fp8=use_fp8,
            round_scale=round_scale, use_ue8m0=use_ue8m0, async_finish=not has_hook,
            return_recv_hook=has_hook,
        )  # fmt: skip
        hook() if has_hook else event.current_stream_wait()
        assert counts.dtype == torch.int32
        found = counts.tolist(), (stats - 5).tolist()
        expected = sizes.counts(rank, seed)
        assert found == (expected, expected), f"rank {rank}, {form}: {found}, not {expected}"
        x, scales = recv_x if use_fp8 else (recv_x, None)
        assert x.shape == (sizes.local, room, sizes.hidden) and x.is_contiguous()
        if use_fp8:
            groups = sizes.hidden // (512 if use_ue8m0 else 128)
            assert scales.shape == (sizes.local, room, groups)
            assert scales.stride() == (room * groups, 1, room)
            assert scales.dtype == (torch.int32 if use_ue8m0 else torch.float32)
        src_info, layout_range, *numbers = handle
        assert numbers == [sizes.max_tokens, sizes.hidden, sizes.experts]
        groups = [[] for _ in range(sizes.local)]
        for source in sizes.expanded(rank, 1, seed):
            expert = sizes.all(seed)[source[0]].idx[source[1], source[2]] % sizes.local
            groups[expert].append(source)
        for expert, sources in enumerate(groups):
            here = len(sources)
            assert src_info[expert, :here].tolist() == [token for _, token, _ in sources]
            for sender in range(sizes.ranks):
                rows = [row for row, source in enumerate(sources) if source[0] == sender]
                both = layout_range[expert, sender].item()
                assert both & 0xFFFFFFFF == len(rows)
                assert not rows or both >> 32 == rows[0]
            expected = sizes.pick(sources, lambda c: c.x, seed)
            if not use_fp8:
                equal(x[expert, :here], expected)
                continue
            found, factors = x[expert, :here], scales[expert, :here]
            equal(found, fp8.cast(expected, round_scale)[0])
            error = (cast_back(found, factors) - expected.float()).abs()
            # Half of the last of 4 bits, or of the smallest number, of the largest value.
            largest = expected.float().unflatten(-1, (-1, 128)).abs().amax(-1, keepdim=True)
            limit = largest.expand(-1, -1, 128).flatten(-2) * (2 if round_scale else 1) / 28
            assert (error <= limit + 1e-6).all()
        check_combine(buffer, handle, sizes, rank, seed, groups, has_hook)


def check_combine(buffer, handle, sizes, rank, seed, groups, has_hook):
    case = sizes.case(rank, seed)
    room = sizes.ranks * sizes.max_tokens
    shape = sizes.local, room, sizes.hidden
    y = torch.full(shape, float("nan"), dtype=torch.bfloat16, device=sizes.device)
    for expert, sources in enumerate(groups):
        factor = rank * sizes.local + expert + 1
        y[expert, : len(sources)] = sizes.pick(sources, lambda c: c.x, seed) * factor
    expected = torch.zeros_like(case.x, dtype=torch.float64)
    for token, row in enumerate(case.idx.tolist()):
        for k, i in enumerate(row):
            if i >= 0:
                made = (case.x[token] * (i + 1)).double()
                expected[token] += made * case.weights[token, k].double()
    for zero_copy in (False, True):
        out = torch.empty_like(case.x) if zero_copy else None
        if zero_copy:
            buffer.get_next_low_latency_combine_buffer(handle)[:, :, :] = y
        combined, event, hook = buffer.low_latency_combine(
            y, case.idx, case.weights, handle, zero_copy=zero_copy, async_finish=not has_hook,
            return_recv_hook=has_hook, out=out,
        )  # fmt: skip
        hook() if has_hook else event.current_stream_wait()
        assert combined.dtype == torch.bfloat16 and (out is None or combined is out)
        # One rounding to 8 bits; sums of at most three products in f32 add next to nothing.
        assert torch.allclose(combined.double(), expected, rtol=2**-8, atol=1e-5)
