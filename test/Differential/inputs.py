#===- inputs.py - random tensors and routings -*- Python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Random inputs: data, routings, token counts, and the parameters of a case."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import oracle
from oracle import DTYPES, CombineAttrs, DispatchAttrs

LAYOUTS = ("rank_major", "expert_major", "slab")
HIDDEN = (1, 7, 384, 2880, 2, 16, 33, 64, 129)
EDGE_HIDDEN = (1, 7, 384, 2880)
TOKEN_MODES = (
    "dynamic", "some_empty", "static", "full", "dynamic", "one_rank_only",
    "static_max", "all_empty",
)
ROUTINGS = (
    "uniform", "skewed", "one_rank", "sparse", "repeated", "uniform",
    "one_expert", "none",
)
ALIGNMENTS = (1, 2, 16, 3, 8, 128)
LIST_ALIGNMENTS = (None, 1, 16, None, 3, 128)
CAPACITIES = ("default", "exact", "drop", "generous", "default", "one")
SCALES = ("f32", "f16", "bf16", "i8")

# Keeps a case, and with it the default run, small.
MAX_RECV_BYTES = 512 * 1024


def random_bits(rng, dtype, shape):
    """Every bit pattern is as likely as any other."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.frombuffer(rng.bytes(size), np.uint8).copy()
    return raw.view(dtype).reshape(shape)


def summands(rng, dtype, shape):
    """Values to add up: rounding in every sum, some special values."""
    if not oracle.is_float(dtype):
        return random_bits(rng, dtype, shape)
    scale = np.exp2(rng.integers(-4, 5, shape)).astype(np.float32)
    values = rng.standard_normal(shape, np.float32) * scale
    if rng.random() < 0.5:
        special = np.array(
            [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-7, -6e-8, 1e-40, 3e4, -448],
            np.float32,
        )
        where = rng.random(shape) < 0.05
        values = np.where(where, rng.choice(special, shape), values)
    elif rng.random() < 0.3:
        values = np.zeros(shape, np.float32) * -1  # sums of negative zeros
    with np.errstate(all="ignore"):
        return values.astype(dtype)


def token_counts(rng, mode, ranks, t_max):
    """Tokens of each rank; None as the static extent when T is dynamic."""
    if mode.startswith("static"):
        return [t_max] * ranks
    if mode == "full":
        return [t_max] * ranks
    if mode == "all_empty":
        return [0] * ranks
    counts = [int(rng.integers(0, t_max + 1)) for _ in range(ranks)]
    if mode == "some_empty":
        counts[int(rng.integers(ranks))] = 0
    if mode == "one_rank_only":
        keep = int(rng.integers(ranks))
        counts = [t_max if r == keep else 0 for r in range(ranks)]
    return counts


def random_topk(rng, routing, tokens, k, num_experts, ranks, dtype, focus):
    """Expert ids of `tokens` tokens. `focus` is the hot rank or expert."""
    idx = np.full((tokens, k), -1, dtype)
    local = list(oracle.owned_experts(num_experts, ranks, focus % ranks))
    for t in range(tokens):
        if routing == "none":
            continue
        if routing == "repeated":
            pool = rng.integers(0, num_experts, max(1, k // 2))
            idx[t] = rng.choice(pool, k)
            continue
        if routing == "one_expert":
            idx[t, int(rng.integers(k))] = focus % num_experts
            continue
        pool = np.arange(num_experts)
        if routing == "one_rank" and local:
            pool = np.array(local)
        p = None
        if routing == "skewed":
            p = 1.0 / (1 + (pool - focus) % num_experts) ** 1.5
            p /= p.sum()
        n = min(k, len(pool))
        chosen = rng.choice(pool, n, replace=False, p=p)
        idx[t, rng.permutation(k)[:n]] = chosen
        if routing == "sparse":
            idx[t, rng.random(k) < 0.6] = -1
    return idx


def random_weights(rng, shape):
    weights = rng.random(shape, np.float32)
    special = np.array([-0.0, 0.0, np.inf, 1e-40, -3.5], np.float32)
    where = rng.random(shape) < 0.05
    return np.where(where, rng.choice(special, shape), weights)


@dataclass
class Params:
    """What a case is made of; see `sample`."""

    ranks: int
    layout: str
    order: str
    dtype: str
    hidden: int
    k: int
    num_experts: int
    idx_dtype: str
    token_mode: str
    t_max: int
    routing: str
    capacity: str
    alignment: int
    scales: str | None
    weighted: bool
    algorithm: str | None  # of combine; None leaves it to the compiler
    bench: int
    kernel: str | None = None  # pins the kernels
    padding: str = "none"
    reduce: str = "sum"  # of a combine whose result is returned
    dispatch_algorithm: str | None = None  # None leaves it to the compiler
    partials: str = "f32"  # of sums
    list_alignment: int | None = None  # of lists, where the layout has some
    keep_blocks: bool = False  # where rows lie, for later ops

    @property
    def static_tokens(self):
        return self.t_max if self.token_mode.startswith("static") else None

    @property
    def tokens_extent(self):
        return self.static_tokens

    @property
    def max_tokens(self):
        if self.token_mode == "static":
            return None
        if self.token_mode == "static_max":
            return self.t_max + 3  # allowed, and without effect
        return self.t_max

    def dispatch_attrs(self, **changes) -> DispatchAttrs:
        values = dict(
            ranks=self.ranks, num_experts=self.num_experts, layout=self.layout,
            order=self.order, alignment=self.alignment, padding=self.padding,
            max_tokens=self.max_tokens, static_tokens=self.static_tokens,
            kernel=self.kernel, algorithm=self.dispatch_algorithm,
            list_alignment=self.list_alignment, keep_blocks=self.keep_blocks,
        )
        attrs = DispatchAttrs(**{**values, **changes})
        if attrs.layout != "expert_major":  # of one that an entry changes
            attrs.algorithm = None
        if attrs.layout == "expert_major":
            attrs.list_alignment = None
        return attrs

    def combine_attrs(self, reduce="sum") -> CombineAttrs:
        has_partials = reduce == "sum" and self.layout == "expert_major"
        return CombineAttrs(
            self.ranks, self.num_experts, self.layout, self.max_tokens,
            self.static_tokens, self.kernel, reduce,
            self.partials if has_partials else "f32",
        )


def sample(rng, pick, **fixed) -> Params:
    """Draws parameters; `pick(name, options)` makes the stratified choices."""

    def choose(name, options):
        return fixed[name] if name in fixed else pick(name, options)

    ranks = choose("ranks", range(1, 9))
    layout = choose("layout", LAYOUTS)
    k = choose("k", range(1, 9))
    order = fixed.get("order", "token")
    if "order" not in fixed and layout == "rank_major" and k == 1:
        order = str(rng.choice(["token", "expert"]))
    experts = choose("experts", ("few", "odd", "many", "equal", "double", "one"))
    num_experts = fixed.get("num_experts") or {
        "one": 1,
        "few": max(1, ranks - 1 - int(rng.integers(2))),
        "equal": ranks,
        "double": 2 * ranks,
        "odd": 3 * ranks + int(rng.integers(1, max(2, ranks))),
        "many": 64 + int(rng.integers(3)),
    }[experts]
    dtype = choose("dtype", tuple(DTYPES))
    hidden = choose("hidden", HIDDEN)
    t_max = choose("t_max", (3, 8, 1, 17, 5, 33, 2, 12))
    rows = ranks
    if layout == "expert_major":
        rows *= min(k, oracle.max_local_experts(num_experts, ranks))
    row_bytes = hidden * DTYPES[dtype].itemsize
    if "t_max" not in fixed:
        t_max = max(1, min(t_max, MAX_RECV_BYTES // (rows * row_bytes)))
    alignment = 1
    if layout == "expert_major":
        alignment = choose("alignment", ALIGNMENTS)
    algorithm = choose("algorithm", (None, "push", "pull"))
    dispatch_algorithm = None
    if layout == "expert_major":
        dispatch_algorithm = choose("dispatch_algorithm", ("expand", None, "direct"))
    reduce = choose("reduce", ("sum", "none", "sum"))
    if reduce == "none" and algorithm == "push" and "reduce" not in fixed:
        reduce = "sum"  # rows that are not added up have no slots to push to
    partials = "f32"
    if layout == "expert_major" and dtype in oracle.FLOATS:
        partials = choose("partials", ("f32", "element"))
    scales = None
    if dtype.startswith("f8"):
        scales = choose("scales", (None, *SCALES))
    return Params(
        ranks=ranks, layout=layout, order=order, dtype=dtype, hidden=hidden,
        k=k, num_experts=num_experts,
        idx_dtype=choose("idx_dtype", ("i32", "i64")),
        token_mode=choose("token_mode", TOKEN_MODES), t_max=t_max,
        routing=choose("routing", ROUTINGS),
        capacity=choose("capacity", CAPACITIES), alignment=alignment,
        scales=scales,
        weighted=bool(
            choose("weighted", (False, True)) and dtype in oracle.FLOATS
        ),
        algorithm=algorithm,
        bench=choose("bench", (0, 0, 0, 3)), kernel=fixed.get("kernel"),
        padding=choose("padding", ("none", "zero")), reduce=reduce,
        dispatch_algorithm=dispatch_algorithm,
        partials=partials,
        list_alignment=choose("list_alignment", LIST_ALIGNMENTS),
        keep_blocks=choose("keep_blocks", (False, True, True)),
    )
