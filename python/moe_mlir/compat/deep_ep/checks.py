# ===- checks.py - what calls may be given -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
"""Checks of arguments, before anything is sent."""

from __future__ import annotations

from typing import Any

import torch


def rows_and_scales(x: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The rows, and their scales where `x` is a pair."""
    if not isinstance(x, (tuple, list)):
        return x, None
    rows, scales = x
    if scales.element_size() != 4 or scales.dim() != 2 or scales.shape[0] != rows.shape[0]:
        raise ValueError(
            f"dispatch: expected scales of float32 or int32, a row for each of {rows.shape[0]} "
            f"tokens, got {scales.dtype} of {tuple(scales.shape)}"
        )
    return rows, scales


def received(rows: torch.Tensor, scales: torch.Tensor | None) -> Any:
    """Rows as they are returned: a pair where there are scales."""
    return rows if scales is None else (rows, scales)


def topk_idx(call: str, ids: torch.Tensor | None) -> torch.Tensor:
    """The expert ids of a call."""
    if ids is None:
        raise TypeError(f"{call}: expected topk_idx or a handle, got neither")
    if ids.dtype != torch.int64 or ids.dim() != 2:
        raise TypeError(
            f"{call}: expected topk_idx (T, K) of deep_ep.topk_idx_t (torch.int64), got "
            f"{ids.dtype} of {tuple(ids.shape)}"
        )
    return ids


def experts(call: str, num_experts: int | None, ranks: int) -> None:
    """Whether all ranks own equally many experts."""
    if num_experts is None:
        raise TypeError(f"{call}: expected num_experts or a handle, got neither")
    if num_experts % ranks or num_experts < 1:
        raise ValueError(
            f"{call}: expected num_experts to be a multiple of the {ranks} ranks, got {num_experts}"
        )


def tokens(call: str, number: int, most: int) -> None:
    """Whether there are no more tokens than the call or the buffer says."""
    if number > most or most < 1:
        raise ValueError(
            f"{call}: expected at most num_max_tokens_per_rank = {most} tokens, got {number}"
        )


def same_tokens(call: str, x: torch.Tensor, ids: torch.Tensor) -> None:
    """Whether there is a row for each token of the handle."""
    if x.shape[0] != ids.shape[0]:
        raise ValueError(
            f"{call}: expected {ids.shape[0]} tokens, as in the dispatch of the handle, got "
            f"{x.shape[0]}"
        )


def rows(call: str, given: torch.Tensor, number: int, name: str = "x") -> None:
    """Whether there is a row for each received one."""
    if given.shape[0] != number:
        raise ValueError(
            f"{call}: expected {name} to have {number} rows, as the dispatch returned, got "
            f"{given.shape[0]}"
        )


def padding(do_expand: bool, do_zero_padding: bool) -> None:
    """Whether there is any padding."""
    if do_zero_padding and not do_expand:
        raise ValueError("dispatch: expected do_expand with do_zero_padding")


def handle(call: str, given: Any, kind: type) -> None:
    """Whether it is what a dispatch of this module returned."""
    if not isinstance(given, kind):
        raise TypeError(f"{call}: expected the handle that dispatch returned, got {type(given)}")


def same_as_handle(
    given: Any, ids: torch.Tensor | None, do_cpu_sync: bool | None, do_expand: bool, **numbers: Any
) -> None:
    """Whether a dispatch with a handle asks for what the handle has."""
    if ids is not None:
        raise ValueError("dispatch: expected no topk_idx with a handle, which has it")
    if do_cpu_sync:
        raise ValueError("dispatch: expected no do_cpu_sync with a handle, which has the counts")
    if bool(do_expand) is not given.do_expand:
        raise ValueError(
            f"dispatch: expected do_expand = {given.do_expand}, as in the dispatch of the handle"
        )
    for name, number in numbers.items():
        expected = getattr(given, name)
        if number is not None and number != expected:
            raise ValueError(
                f"dispatch: expected {name} = {expected}, as in the dispatch of the handle, got "
                f"{number}"
            )


def biases(bias: Any, tokens: int, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """None, one or two biases, for each token."""
    if bias is None:
        return ()
    made = tuple(bias) if isinstance(bias, (tuple, list)) else (bias,)
    if not 1 <= len(made) <= 2:
        raise ValueError(f"combine: expected one or two biases, got {len(made)}")
    for one in made:
        if one.shape != (tokens, x.shape[1]) or one.dtype != x.dtype:
            raise ValueError(
                f"combine: expected a bias of {x.dtype} of {(tokens, x.shape[1])}, got "
                f"{one.dtype} of {tuple(one.shape)}"
            )
    return made
