# ===- fp8.py - rows as 8-bit floats with scales -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""The casts of low-latency dispatches: 128 values share a scale."""

from __future__ import annotations

import torch

GROUP = 128
_LARGEST = 448.0  # of float8_e4m3fn
_SMALLEST = 1e-4  # that a group's largest magnitude is taken for


def cast(x: torch.Tensor, round_scale: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as float8_e4m3fn, and what to multiply them with.

    Parameters
    ----------
    x : Tensor, (T, H), bfloat16
    round_scale : bool
        Whether scales are powers of 2, the next ones above.

    Returns
    -------
    rows : Tensor, (T, H), float8_e4m3fn
    scales : Tensor, (T, H / 128), float32
    """
    tokens, hidden = x.shape
    groups = x.float().view(tokens, hidden // GROUP, GROUP)
    largest = groups.abs().amax(2).clamp(min=_SMALLEST)
    if round_scale:
        mantissa, exponent = torch.frexp(largest / _LARGEST)
        # Of a power of 2 the mantissa is exactly a half.
        exponent = exponent - (mantissa == 0.5).to(exponent.dtype)
        scales = torch.ldexp(torch.ones_like(largest), exponent)
        factors = torch.ldexp(torch.ones_like(largest), -exponent)
    else:
        scales, factors = largest * (1.0 / _LARGEST), _LARGEST / largest
    rows = (groups * factors.unsqueeze(2)).clamp(-_LARGEST, _LARGEST)
    return rows.to(torch.float8_e4m3fn).view(tokens, hidden), scales


def exponents(scales: torch.Tensor) -> torch.Tensor:
    """Powers of 2 as their biased exponents, four of a row in an int32: UE8M0."""
    bits = (scales.contiguous().view(torch.int32) >> 23).to(torch.uint8)
    return bits.view(torch.int32)
