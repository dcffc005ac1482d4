#===- combine_op.py - what moe.combine means -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What `moe.combine` means, for all ranks at once."""

import numpy as np

from .errors import INVALID_COUNT, SpecifiedError, check_rows, check_tokens
from .placement import owner, row_places
from .values import is_float


def check_push(attrs, recv_src_idx, n_tokens_from_rank, capacity):
    """combine_s5, of a combine that pushes: what it sends rows back by."""
    bound = attrs.t_max
    for holder, (sources, counts) in enumerate(
        zip(recv_src_idx, n_tokens_from_rank)
    ):
        first = 0
        for sender, count in enumerate(map(int, counts)):
            if not 0 <= count <= bound:
                raise SpecifiedError(INVALID_COUNT, [count], bound, [holder])
            if attrs.layout == "slab":
                first = sender * bound
            for row in range(first, min(first + count, capacity)):
                token = int(sources[row]) - sender * bound
                if not 0 <= token < bound:
                    raise SpecifiedError(
                        INVALID_COUNT, [int(sources[row])], None, [holder]
                    )
            first += count


def combine_rows(attrs, y, send_row, topk_idx=None, weights=None, y_valid=None):
    """combine_s7: the rows themselves, one per token and slot."""
    check_tokens(attrs, [a.shape[0] for a in send_row])
    check_rows(send_row, y[0].shape[0])
    dtype = y[0].dtype
    out = []
    for rank in range(attrs.ranks):
        result = np.zeros((*send_row[rank].shape, y[0].shape[1]), dtype)
        for t, slot in zip(*np.nonzero(send_row[rank] != -1)):
            row, dest = int(send_row[rank][t, slot]), int(slot)
            if attrs.layout == "expert_major":
                expert = int(topk_idx[rank][t, slot])
                dest = owner(expert, attrs.num_experts, attrs.ranks)
            assert y_valid is None or y_valid[dest][row]
            result[t, slot] = y[dest][row]
            if weights is not None:
                with np.errstate(all="ignore"):
                    product = y[dest][row].astype(np.float32)
                    product = product * np.float32(weights[dest][row])
                    result[t, slot] = product.astype(dtype)
        out.append(result)
    return out


def combine(attrs, y, send_row, topk_idx=None, weights=None, y_valid=None):
    """Returns (out, moved): `moved` marks tokens that combine_s4 speaks of."""
    check_tokens(attrs, [a.shape[0] for a in send_row])
    check_rows(send_row, y[0].shape[0])
    dtype = y[0].dtype
    out, moved = [], []
    for rank in range(attrs.ranks):
        tokens = send_row[rank].shape[0]
        result = np.zeros((tokens, y[0].shape[1]), dtype)
        single = np.zeros(tokens, bool)
        for t in range(tokens):
            places = row_places(
                attrs.layout, attrs.num_experts, attrs.ranks, send_row,
                topk_idx, rank, t,
            )
            if y_valid is not None:
                assert all(y_valid[d][row] for d, _, row in places)
            if not places:
                continue  # combine_s3
            if len(places) == 1 and weights is None:
                _, _, row = places[0]
                result[t] = y[places[0][0]][row]
                single[t] = True  # combine_s4
                continue
            result[t] = sum_rows(y, weights, places, attrs.partials)
        out.append(result)
        moved.append(single)
    return out, moved


def sum_rows(y, weights, places, partials="f32"):
    """combine_s1, combine_s2 and combine_s8, for one token."""
    dtype = y[0].dtype
    with np.errstate(all="ignore"):
        total = None
        for dest in sorted({dest for dest, _, _ in places}):
            partial = None
            for _, _, row in (place for place in places if place[0] == dest):
                term = y[dest][row]
                if is_float(dtype):
                    term = term.astype(np.float32)
                    if weights is not None:
                        term = term * np.float32(weights[dest][row])
                    assert term.dtype == np.float32
                partial = term if partial is None else partial + term
            if partials == "element":
                partial = partial.astype(dtype).astype(partial.dtype)
            total = partial if total is None else total + partial
            assert total.dtype == partial.dtype
        return total.astype(dtype)
