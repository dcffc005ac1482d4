#===- oracle.py - the ops of the moe dialect in numpy -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What every op of the `moe` dialect means, for all ranks at once.

Written from docs/Spec.md alone and kept as plain as possible: this is the
second opinion the compiler is compared with, so it shares nothing with it.
All functions take and return lists with one array per rank. Rows that the
specification leaves open are filled with a poison pattern and are False in the
`valid` masks that come with the results.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

DTYPES = {
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f8E4M3FN": np.dtype(ml_dtypes.float8_e4m3fn),
    "f8E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "i8": np.dtype(np.int8),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
}
FLOATS = ("f32", "f16", "bf16", "f8E4M3FN", "f8E5M2")

INVALID_EXPERT = "invalid expert"
CAPACITY_EXCEEDED = "capacity exceeded"
INVALID_COUNT = "invalid count"
TOO_MANY_TOKENS = "too many tokens"

POISON = 0xA5


def is_float(dtype: np.dtype) -> bool:
    return dtype in [DTYPES[name] for name in FLOATS]


def bits(array: np.ndarray) -> np.ndarray:
    """The array's elements as unsigned integers: the same bits, no meaning."""
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def poison(shape, dtype: np.dtype) -> np.ndarray:
    array = np.empty(shape, dtype)
    array.view(np.uint8).reshape(-1)[...] = POISON
    return array


class SpecifiedError(Exception):
    """A run-time error the specification asks for.

    `seen` holds the values of which the report must show one; `expected`, when
    not None, is a number that it must show as well; `ranks` are the ranks of
    which it must name one.
    """

    def __init__(self, kind, seen=(), expected=None, ranks=()):
        super().__init__(f"{kind}: seen one of {seen}, expected {expected}")
        self.kind = kind
        self.seen = list(seen)
        self.expected = expected
        self.ranks = list(ranks)


# --- Placement -------------------------------------------------------------- #


def owned_experts(num_experts: int, ranks: int, rank: int) -> range:
    """placement_s1: blocks in rank order, the first E mod R own one more."""
    q, m = divmod(num_experts, ranks)
    first = rank * q + min(rank, m)
    return range(first, first + q + (1 if rank < m else 0))


def owner(expert: int, num_experts: int, ranks: int) -> int:
    for rank in range(ranks):
        if expert in owned_experts(num_experts, ranks, rank):
            return rank
    raise AssertionError(f"expert {expert} has no owner")


def max_local_experts(num_experts: int, ranks: int) -> int:
    return -(-num_experts // ranks)


def align_up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


# --- moe.dispatch ----------------------------------------------------------- #


@dataclass
class DispatchAttrs:
    ranks: int
    num_experts: int
    layout: str = "rank_major"
    order: str = "token"
    overflow: str = "error"
    alignment: int = 1
    padding: str = "none"
    list_alignment: int | None = None
    capacity: int | None = None
    max_tokens: int | None = None
    static_tokens: int | None = None
    kernel: str | None = None  # without a meaning: how it is done
    algorithm: str | None = None  # the same (dispatch_s13)

    @property
    def t_max(self) -> int:
        if self.static_tokens is not None:
            return self.static_tokens
        return self.max_tokens

    def rows(self, k: int) -> int:
        """C, the rows of a receive buffer (dispatch_s8)."""
        if self.capacity is not None:
            assert self.layout != "slab"
            return self.capacity
        rows = self.ranks * self.t_max
        if self.layout == "expert_major":
            rows *= min(k, max_local_experts(self.num_experts, self.ranks))
        return rows

    def list_places(self, k: int) -> int:
        """L, the places of a list (dispatch_s15)."""
        local = max_local_experts(self.num_experts, self.ranks)
        entries = self.rows(k) * min(k, local)
        most = entries + min(local, entries) * (self.list_alignment - 1)
        return most - most % self.list_alignment


@dataclass
class DispatchResult:
    recv_x: list = field(default_factory=list)
    recv_scales: list | None = None
    recv_topk_idx: list = field(default_factory=list)
    recv_topk_weights: list = field(default_factory=list)
    recv_src_idx: list = field(default_factory=list)
    n_tokens_to_rank: list = field(default_factory=list)
    n_tokens_from_rank: list = field(default_factory=list)
    send_row: list = field(default_factory=list)
    expert_offsets: list | None = None
    expert_counts: list | None = None
    list_rows: list | None = None
    list_weights: list | None = None
    valid: list = field(default_factory=list)  # rows of the receive buffers
    needed: list = field(default_factory=list)  # rows, had C been unlimited


def merge_repeated(idx: np.ndarray, weights: np.ndarray):
    """placement_s3: the first occurrence stands for all, with the f32 sum."""
    idx = idx.copy()
    weights = weights.copy()
    for t in range(idx.shape[0]):
        first = {}
        for k in range(idx.shape[1]):
            expert = int(idx[t, k])
            if expert != -1 and expert not in first:
                first[expert] = k
                continue
            if expert != -1:
                at = first[expert]
                with np.errstate(all="ignore"):
                    weights[t, at] = np.float32(weights[t, at] + weights[t, k])
                idx[t, k] = -1
            weights[t, k] = 0.0
    return idx, weights


def check_tokens(attrs, counts):
    over = [r for r, count in enumerate(counts) if count > attrs.t_max]
    if over:
        raise SpecifiedError(
            TOO_MANY_TOKENS, [counts[r] for r in over], attrs.t_max, over
        )


def check_experts(attrs, topk_idx):
    bad = [
        (rank, int(expert))
        for rank, idx in enumerate(topk_idx)
        for expert in idx.reshape(-1)
        if not -1 <= int(expert) < attrs.num_experts
    ]
    if bad:
        raise SpecifiedError(
            INVALID_EXPERT, [e for _, e in bad], None, [r for r, _ in bad]
        )


@dataclass
class Row:
    """A row of a receive buffer: where it is, where it came from, its slot."""

    row: int
    sender: int
    token: int
    slot: int | None = None  # expert_major: the k of its expert


def rank_rows(attrs, idx, dest):
    """rank_major and slab: one row per token with an expert on `dest`."""
    local = owned_experts(attrs.num_experts, attrs.ranks, dest)
    rows = []
    for sender in range(attrs.ranks):
        tokens = [
            t
            for t in range(idx[sender].shape[0])
            if any(int(e) in local for e in idx[sender][t])
        ]
        if attrs.order == "expert":
            tokens.sort(key=lambda t: (int(idx[sender][t, 0]), t))
        for i, token in enumerate(tokens):
            if attrs.layout == "slab":
                rows.append(Row(sender * attrs.t_max + i, sender, token))
            else:
                rows.append(Row(len(rows), sender, token))
    return rows


def expert_rows(attrs, idx, dest):
    """expert_major: one row per (token, local expert), in aligned groups."""
    local = owned_experts(attrs.num_experts, attrs.ranks, dest)
    rows, offsets, counts = [], [], []
    end = 0
    for j in range(max_local_experts(attrs.num_experts, attrs.ranks)):
        start = align_up(end, attrs.alignment)
        end = start
        if j < len(local):
            for sender in range(attrs.ranks):
                for token, slot in zip(*np.nonzero(idx[sender] == local[j])):
                    rows.append(Row(end, sender, int(token), int(slot)))
                    end += 1
        offsets.append(start)
        counts.append(end - start)
    return rows, offsets, counts


def rows_needed(attrs, topk_idx):
    """Rows that each rank would receive if capacity were unlimited."""
    idx = [merge_repeated(i, np.zeros(i.shape, np.float32))[0] for i in topk_idx]
    plan = []
    for dest in range(attrs.ranks):
        if attrs.layout == "expert_major":
            plan.append(expert_rows(attrs, idx, dest)[0])
        else:
            plan.append(rank_rows(attrs, idx, dest))
    return [max([r.row + 1 for r in rows], default=0) for rows in plan]


def expert_lists(attrs, idx, weights, valid, dest):
    """dispatch_s14, dispatch_s15: the received rows that each expert takes."""
    places = attrs.list_places(idx.shape[1])
    rows = np.full(places, -1, np.int32)
    row_weights = np.zeros(places, np.float32)
    local = owned_experts(attrs.num_experts, attrs.ranks, dest)
    offsets, counts = [], []
    end = 0
    for j in range(max_local_experts(attrs.num_experts, attrs.ranks)):
        offsets.append(align_up(end, attrs.list_alignment))
        end = offsets[j]
        for row in np.nonzero(valid)[0] if j < len(local) else ():
            for k in np.nonzero(idx[row] == local[j])[0]:
                rows[end], row_weights[end] = row, weights[row, k]
                end += 1
        counts.append(end - offsets[j])
    return np.array(offsets, np.int32), np.array(counts, np.int32), rows, row_weights


def pad(attrs, valid, **fields):
    """dispatch_s12: what the rows hold that no token was sent to."""
    if attrs.padding == "zero":
        for name, buffer in fields.items():
            buffer[~valid] = -1 if name in ("recv_topk_idx", "recv_src_idx") else 0


def dispatch(attrs, x, topk_idx, topk_weights, scales=None) -> DispatchResult:
    ranks = attrs.ranks
    k = topk_idx[0].shape[1]
    capacity = attrs.rows(k)
    check_tokens(attrs, [a.shape[0] for a in x])
    check_experts(attrs, topk_idx)
    merged = [merge_repeated(i, w) for i, w in zip(topk_idx, topk_weights)]
    idx = [i for i, _ in merged]
    weights = [w for _, w in merged]

    expert_major = attrs.layout == "expert_major"
    plan, offsets, counts = [], [], []
    for dest in range(ranks):
        if expert_major:
            rows, dest_offsets, dest_counts = expert_rows(attrs, idx, dest)
            offsets.append(np.array(dest_offsets, np.int32))
            counts.append(np.array(dest_counts, np.int32))
        else:
            rows = rank_rows(attrs, idx, dest)
        plan.append(rows)

    out = DispatchResult()
    out.needed = [max([r.row + 1 for r in rows], default=0) for rows in plan]
    over = [d for d in range(ranks) if out.needed[d] > capacity]
    if over and attrs.overflow == "error":
        seen = [out.needed[d] for d in over]
        if expert_major:
            # An empty last group may be counted with its alignment.
            seen += [int(offsets[d][-1] + counts[d][-1]) for d in over]
        raise SpecifiedError(CAPACITY_EXCEEDED, seen, capacity, over)

    true_counts = np.zeros((ranks, ranks), np.int32)  # [sender, dest]
    for dest in range(ranks):
        for row in plan[dest]:
            true_counts[row.sender, dest] += 1
    out.n_tokens_to_rank = [true_counts[r].copy() for r in range(ranks)]
    out.n_tokens_from_rank = [true_counts[:, r].copy() for r in range(ranks)]
    if expert_major:
        out.expert_offsets, out.expert_counts = offsets, counts
    columns = k if expert_major else ranks
    out.send_row = [
        np.full((x[r].shape[0], columns), -1, np.int32) for r in range(ranks)
    ]
    if scales is not None:
        out.recv_scales = []

    for dest in range(ranks):
        local = owned_experts(attrs.num_experts, ranks, dest)
        recv_x = poison((capacity, x[0].shape[1]), x[0].dtype)
        per_row = () if expert_major else (k,)
        recv_idx = poison((capacity, *per_row), idx[0].dtype)
        recv_weights = poison((capacity, *per_row), np.dtype(np.float32))
        recv_src = poison((capacity,), np.dtype(np.int32))
        valid = np.zeros(capacity, bool)
        if scales is not None:
            recv_scales = poison((capacity, scales[0].shape[1]), scales[0].dtype)
        for row in plan[dest]:
            if row.row >= capacity:
                continue
            assert not valid[row.row]
            valid[row.row] = True
            s, t = row.sender, row.token
            recv_x[row.row] = x[s][t]
            if scales is not None:
                recv_scales[row.row] = scales[s][t]
            recv_src[row.row] = s * attrs.t_max + t
            if expert_major:
                recv_idx[row.row] = idx[s][t, row.slot]
                recv_weights[row.row] = weights[s][t, row.slot]
                out.send_row[s][t, row.slot] = row.row
            else:
                here = np.array([int(e) in local for e in idx[s][t]])
                recv_idx[row.row] = np.where(here, idx[s][t], -1)
                recv_weights[row.row] = np.where(here, weights[s][t], 0)
                out.send_row[s][t, dest] = row.row
        pad(
            attrs, valid, recv_x=recv_x, recv_topk_idx=recv_idx,
            recv_topk_weights=recv_weights, recv_src_idx=recv_src,
        )
        out.recv_x.append(recv_x)
        out.recv_topk_idx.append(recv_idx)
        out.recv_topk_weights.append(recv_weights)
        out.recv_src_idx.append(recv_src)
        out.valid.append(valid)
        if scales is not None:
            pad(attrs, valid, recv_scales=recv_scales)
            out.recv_scales.append(recv_scales)
    if attrs.list_alignment is not None:
        lists = [
            expert_lists(attrs, *received, dest) for dest, received in enumerate(
                zip(out.recv_topk_idx, out.recv_topk_weights, out.valid)
            )
        ]
        out.expert_offsets, out.expert_counts, out.list_rows, out.list_weights = (
            list(field) for field in zip(*lists)
        )
    return out


def check_rows(send_row, capacity):
    bad = [
        (rank, int(row))
        for rank, rows in enumerate(send_row)
        for row in rows.reshape(-1)
        if not -1 <= int(row) < capacity
    ]
    if bad:
        raise SpecifiedError(
            INVALID_COUNT, [row for _, row in bad], None, [r for r, _ in bad]
        )


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


def row_places(attrs_layout, num_experts, ranks, send_row, topk_idx, rank, t):
    """The (rank, expert, row) places of token `t`, ascending."""
    places = []
    for column, row in enumerate(send_row[rank][t]):
        if row == -1:
            continue
        if attrs_layout == "expert_major":
            expert = int(topk_idx[rank][t, column])
            places.append((owner(expert, num_experts, ranks), expert, int(row)))
        else:
            places.append((column, 0, int(row)))
    return sorted(places)


def dispatch_reuse(attrs, x, send_row, topk_idx=None, scales=None):
    """dispatch_s10. Returns (recv_x, recv_scales or None, valid)."""
    k = 1 if topk_idx is None else topk_idx[0].shape[1]
    capacity = attrs.rows(k)
    check_tokens(attrs, [a.shape[0] for a in x])
    check_rows(send_row, capacity)
    recv_x = [poison((capacity, a.shape[1]), a.dtype) for a in x]
    recv_scales = None
    if scales is not None:
        recv_scales = [poison((capacity, a.shape[1]), a.dtype) for a in scales]
    valid = [np.zeros(capacity, bool) for _ in x]
    for rank in range(attrs.ranks):
        for t in range(x[rank].shape[0]):
            for dest, _, row in row_places(
                attrs.layout, attrs.num_experts, attrs.ranks, send_row,
                topk_idx, rank, t,
            ):
                assert not valid[dest][row]
                valid[dest][row] = True
                recv_x[dest][row] = x[rank][t]
                if scales is not None:
                    recv_scales[dest][row] = scales[rank][t]
    for rank, rows in enumerate(valid):
        pad(attrs, rows, recv_x=recv_x[rank])
        if scales is not None:
            pad(attrs, rows, recv_scales=recv_scales[rank])
    return recv_x, recv_scales, valid


# --- moe.combine ------------------------------------------------------------ #


@dataclass
class CombineAttrs:
    ranks: int
    num_experts: int
    layout: str = "rank_major"
    max_tokens: int | None = None
    static_tokens: int | None = None
    kernel: str | None = None  # without a meaning: how it is done
    reduce: str = "sum"
    partials: str = "f32"

    @property
    def t_max(self) -> int:
        if self.static_tokens is not None:
            return self.static_tokens
        return self.max_tokens


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


# --- moe.alltoallv ---------------------------------------------------------- #


def alltoallv(send, counts, capacity, overflow="error"):
    """Returns (recv, recv_counts, valid)."""
    ranks = len(send)
    bad = []
    for rank in range(ranks):
        limit = send[rank].shape[0]
        total = 0
        for count in counts[rank]:
            total += int(count)
            if count < 0 or total > limit:
                bad += [(rank, int(count)), (rank, total)]
    if bad:
        raise SpecifiedError(
            INVALID_COUNT, [v for _, v in bad], None, [r for r, _ in bad]
        )
    needed = [sum(int(c[dest]) for c in counts) for dest in range(ranks)]
    over = [d for d in range(ranks) if needed[d] > capacity]
    if over and overflow == "error":
        seen = [needed[d] for d in over]
        raise SpecifiedError(CAPACITY_EXCEEDED, seen, capacity, over)
    recv, recv_counts, valid = [], [], []
    for dest in range(ranks):
        rows = []
        for sender in range(ranks):
            start = int(counts[sender][:dest].sum())
            rows += list(send[sender][start : start + int(counts[sender][dest])])
        buffer = poison((capacity, *send[0].shape[1:]), send[0].dtype)
        for i, row in enumerate(rows[:capacity]):
            buffer[i] = row
        recv.append(buffer)
        recv_counts.append(np.array([c[dest] for c in counts], np.int32))
        valid.append(np.arange(capacity) < len(rows))
    return recv, recv_counts, valid
