# ===- test_low_latency.py - DeepEP V1's buffer, low-latency calls -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Buffer.low_latency_dispatch and low_latency_combine against a reference."""

import pytest
import torch
import torch.distributed as dist
from cases import Sizes, pair
from low_latency_checks import check

from moe_mlir.compat import deep_ep
from moe_mlir.compat.deep_ep import fp8

SIZES = Sizes(ranks=4, hidden=512)
PAIR = Sizes(ranks=2, experts=6, hidden=512)


def on_four(group):
    hint = deep_ep.Buffer.get_low_latency_rdma_size_hint(SIZES.max_tokens, SIZES.hidden, 4, 8)
    buffer = deep_ep.Buffer(
        dist.group.WORLD, 0, hint, low_latency_mode=True, num_qps_per_rank=2,
        explicitly_destroy=True,
    )  # fmt: skip
    buffer.clean_low_latency_buffer(SIZES.max_tokens, SIZES.hidden, SIZES.experts)
    check(buffer, group.rank, SIZES)
    buffer.destroy()


def on_two(group):
    process_group, rank = pair(group)
    check(deep_ep.Buffer(process_group, low_latency_mode=True), rank, PAIR)


@pytest.mark.parametrize("main", [on_four, on_two], ids=["4 ranks", "2 ranks"])
def test_low_latency_calls(processes, main):
    """Packed rows, scales in every form, counts, handles, combines."""
    processes(main)


@pytest.mark.parametrize("round_scale", [False, True])
def test_casts(round_scale):
    """Scales from their definition; values are the nearest ones of the type."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(5, 512, generator=generator).bfloat16()
    x[0] = 0
    x[1, :128] = 448
    x[2, 7] = 1e30
    rows, scales = fp8.cast(x, round_scale)
    largest = x.double().unflatten(1, (4, 128)).abs().amax(2).clamp(min=1e-4)
    exact = largest / 448
    if round_scale:
        exact = torch.exp2(torch.ceil(torch.log2(exact)))
        assert torch.equal(scales.double(), exact)
        packed = fp8.exponents(scales)
        assert packed.dtype == torch.int32 and packed.shape == (5, 1)
        bytes_ = packed.view(torch.uint8).to(torch.float64)
        assert torch.equal(torch.exp2(bytes_ - 127), exact)
    assert torch.allclose(scales.double(), exact, rtol=1e-6, atol=0)
    assert torch.isfinite(rows.float()).all()
    near = x.double().unflatten(1, (4, 128)) / exact.unsqueeze(2)
    error = (rows.double().unflatten(1, (4, 128)) - near).abs()
    assert (error <= near.abs() / 16 + 2**-10 + 1e-3).all()


def wrong_calls(group):
    buffer = deep_ep.Buffer(dist.group.WORLD)
    case = SIZES.case(group.rank)
    for kind, message, options in (
        (ValueError, "expected rows of a multiple of 512 values with use_fp8, got 256",
         {"x": case.x[:, :256].contiguous()}),
        (ValueError, "expected round_scale with use_ue8m0", {"use_ue8m0": True}),
        (TypeError, "expected x of torch.bfloat16, got torch.float32", {"x": case.x.float()}),
        (ValueError, "expected at most num_max_tokens_per_rank = 1 tokens, got ",
         {"num_max_dispatch_tokens_per_rank": 1}),
        (ValueError, "expected async_finish or return_recv_hook, got both",
         {"async_finish": True, "return_recv_hook": True}),
    ):  # fmt: skip
        with pytest.raises(kind, match=message):
            buffer.low_latency_dispatch(
                **{
                    "x": case.x, "topk_idx": case.idx, "num_experts": SIZES.experts,
                    "num_max_dispatch_tokens_per_rank": SIZES.max_tokens, **options,
                }
            )  # fmt: skip
    *_, handle, _, _ = buffer.low_latency_dispatch(
        case.x, case.idx, SIZES.max_tokens, SIZES.experts
    )
    with pytest.raises(ValueError, match=r"expected x of torch.bfloat16 of \(2, 24, 512\)"):
        buffer.low_latency_combine(case.x, case.idx, case.weights, handle)
    with pytest.raises(TypeError, match="expected the handle that dispatch returned"):
        buffer.low_latency_combine(case.x, case.idx, case.weights, tuple(handle))


def test_wrong_calls(processes):
    processes(wrong_calls)
