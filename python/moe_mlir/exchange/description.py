# ===- description.py - what an exchange is -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
""":class:`Exchange`: the description that everything else is made of."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from . import checks, fields, module, parallel, report, rules, signature

# Text of a module, target and options to an artifact, as
# moe_mlir.compiler.compile does it.
Compiler = Callable[..., Any]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Exchange:
    """The exchange of one Mixture-of-Experts layer.

    `T` is the number of tokens of a rank, `R` of ranks, `K` is `top_k`, `H` is
    `hidden`, `E` is `num_experts`, `EL = ceil(E / R)` the largest number of
    experts any rank owns, and `C` the number of rows a rank has room for
    (:meth:`rows`). Experts are placed in blocks, in rank order.

    Parameters
    ----------
    num_experts : int
        Experts of all ranks together, 1 to 2^31 - 1.
    top_k : int
        Experts chosen per token, 1 to 32. An id of -1 stands for no expert.
    hidden : int
        Values per row.
    dtype : str or dtype, default "bf16"
        Type of the values: f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32 or i64, or
        what numpy, ml_dtypes or torch call it.
    max_tokens : int, optional
        Most tokens that any rank sends at once; calls may send fewer.
    tokens : int, optional
        Tokens that each rank sends in every call. Either this or `max_tokens`.
    scales : int, default 0
        Scales that travel with each row of 8-bit floats.
    scales_dtype : str or dtype, default "f32"
        f32, f16, bf16 or i8.
    layout : {"rank_major", "expert_major", "slab"}
        ``rank_major``: one row per token and destination rank, one after
        another. ``expert_major``: one row per token and expert, grouped by
        expert. ``slab``: as ``rank_major``, but each sender has a fixed place,
        which is fastest for few tokens.
    alignment : int, default 1
        Groups start at multiples of so many rows (``expert_major`` only).
    capacity : int, optional
        Rows a rank has room for. By default as many as any routing needs.
    overflow : {"error", "drop"}
        What happens to rows beyond the capacity.
    order : {"token", "expert"}
        Order of the rows of one sender; ``expert`` needs ``top_k = 1`` and
        ``rank_major``.
    list_alignment : int, optional
        Whether a dispatch lists the received rows of each expert, in groups that
        start at multiples of so many places (``rank_major`` and ``slab``). That is
        what kernels take which gather the rows of an expert themselves. No row is
        copied for it.
    padding : {"none", "zero"}
        What rows hold that no token was sent to: nothing that may be read, or
        zeros, the id -1 and the weight 0.
    combine_dtype : str or dtype, optional
        Type of the rows that come back and of gradients. By default `dtype`,
        and bf16 where that is an 8-bit float. ``dataclasses.replace`` keeps it
        when it replaces `dtype`, unless it is told ``combine_dtype=None``.
    combine_weights : bool, default False
        Whether combine multiplies each row by a weight (``f32``, one per row)
        before it adds.
    reduce : {"sum", "none"}
        Whether combine adds the rows of a token, or gives them back apart
        (``(T, K, H)`` in ``expert_major``, else ``(T, R, H)``).
    partials : {"f32", "element"}
        Type of the sums that combine makes of the rows of each rank before it adds
        the ranks: ``element`` rounds them to `combine_dtype`, which is less exact and
        needs ``expert_major``. The sums of gradients are not rounded.
    index_dtype : {"i32", "i64"}
        Type of expert ids.
    symmetric_recv : bool, default False
        Whether received rows are handed out where they arrived, without a
        copy. They are valid until the next dispatch, unless ``out=`` has symmetric
        memory of ``group.empty`` for them.
    symmetric_y : bool, default False
        Whether combine reads its rows from symmetric memory of the caller
        (``group.empty``), without a copy.
    defer_release : bool, default False
        Whether combine may return while others still read `y`, which saves a
        round of signals. The caller then leaves `y` alone until a later
        collective has ended. Needs `symmetric_y`; weights of combine are
        symmetric memory as well then.
    gradients : bool, default False
        Whether there are entries for gradients as well: `dispatch_backward`,
        `dispatch_backward_x`, `dispatch_backward_weights` and `combine_backward`,
        and `dispatch_again` for layers that are computed again in the backward
        pass. See `Notes`.
    keep_blocks : bool, default False
        Whether a dispatch also returns where its rows lie, as a part of its handle.
        With exact messages, combine and the gradients then exchange no blocks first,
        and wait for nothing.

    Raises
    ------
    TypeError
        A value is not of the type that was expected.
    ValueError
        A value is out of range, or does not go with another one.

    Notes
    -----
    Dispatch copies rows. With `rows(t)` for the rows made of token `t`, each
    being `(rank, row number)`::

        recv_x[r] = x[t]                    for r in rows(t)

    so its transpose, ``dispatch_backward``, adds up::

        grad_x[t] = sum(grad_recv_x[r]      for r in rows(t))
        grad_topk_weights[t, k] = grad_recv_topk_weights[row of expert k]

    It is 0 where slot ``k`` has no expert, or its row was dropped. A slot that
    repeats an expert has the gradient of the slot it repeats, since the dispatch
    adds up their weights. ``dispatch_backward_x`` computes ``grad_x`` alone, and
    ``dispatch_backward_weights`` ``grad_topk_weights``, without sending rows.

    Combine adds up, with ``w = 1`` unless `combine_weights`::

        out[t] = sum(w[r] * y[r]            for r in rows(t))

    so ``combine_backward`` sends the gradient along the same routes::

        grad_y[r] = w[r] * grad_out[t]
        grad_weights[r] = dot(y[r], grad_out[t])

    ``dispatch_again`` sends rows along the routes of an earlier dispatch, which are
    not computed again.

    With ``reduce = "none"`` each row has a gradient of its own: ``grad_out[t, s]`` of its
    slot takes the place of ``grad_out[t]``.

    Products and sums are in f32, rounded once at the end. Rows of ``grad_y`` and
    ``grad_weights`` that hold no token are unspecified; with ``padding = "zero"``
    they are zero times what is there.

    Examples
    --------
    >>> plan = Exchange(num_experts=8, top_k=2, hidden=64, max_tokens=128)
    >>> plan.rows(ranks=4)
    512
    """

    num_experts: int
    top_k: int
    hidden: int
    dtype: fields.Dtype = fields.BF16
    max_tokens: int | None = None
    tokens: int | None = None
    scales: int = 0
    scales_dtype: fields.Dtype = fields.F32
    layout: str = "rank_major"
    alignment: int = 1
    capacity: int | None = None
    overflow: str = "error"
    order: str = "token"
    padding: str = "none"
    list_alignment: int | None = None
    combine_dtype: fields.Dtype = fields.UNSET
    combine_weights: bool = False
    reduce: str = "sum"
    partials: str = "f32"
    index_dtype: str = "i32"
    symmetric_recv: bool = False
    symmetric_y: bool = False
    defer_release: bool = False
    gradients: bool = False
    keep_blocks: bool = False

    def __post_init__(self) -> None:
        for field, value in fields.checked(self).items():
            object.__setattr__(self, field, value)
        rules.check_together(self)

    def __repr__(self) -> str:
        """What is not as it is by default, as code that makes this."""
        given = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            usual = field.default
            if field.name == "combine_dtype":
                usual = fields.usual_combine_dtype(self.dtype)
            if value != usual:
                given.append(f"{field.name}={value!r}")
        return f"Exchange({', '.join(given)})"

    # What follows from the description.

    @property
    def is_expert_major(self) -> bool:
        """Whether received rows are grouped by expert."""
        return self.layout == "expert_major"

    @property
    def has_lists(self) -> bool:
        """Whether a dispatch lists the received rows of each expert."""
        return self.list_alignment is not None

    @property
    def token_bound(self) -> int:
        """The most tokens a rank sends at once."""
        bound = self.max_tokens if self.tokens is None else self.tokens
        assert bound is not None  # checked when this was made
        return bound

    @property
    def token_extent(self) -> int:
        """Extent of tensors of tokens: `tokens`, or -1 when calls differ."""
        return signature.DYNAMIC if self.tokens is None else self.tokens

    @property
    def entries(self) -> tuple[str, ...]:
        """Names of the entries, in the order of the module."""
        return signature.entries(self)

    def local_experts(self, ranks: int) -> int:
        """EL: the largest number of experts any rank owns."""
        return -(-self.num_experts // rules.check_ranks(ranks))

    def experts_of(self, rank: int, ranks: int) -> range:
        """The experts that a rank owns.

        Raises
        ------
        ValueError
            There is no such rank.
        """
        ranks = rules.check_ranks(ranks)
        rank = checks.whole_number("rank", rank, -checks.INT32_MAX)
        each, more = divmod(self.num_experts, ranks)
        if not 0 <= rank < ranks:
            raise ValueError(f"expected a rank from 0 to {ranks - 1}, got {rank}")
        first = rank * each + min(rank, more)
        return range(first, first + each + (rank < more))

    def slots(self, ranks: int) -> int:
        """Rows a token can have: K in expert_major, else R."""
        ranks = rules.check_ranks(ranks)
        return self.top_k if self.is_expert_major else ranks

    def rows(self, ranks: int) -> int:
        """C: rows that a rank has room for.

        Without a `capacity` that is enough for every routing: ``R * T``, in
        ``expert_major`` times ``min(K, EL)``, and then room for the gaps between
        aligned groups, rounded up to the alignment.
        """
        ranks = rules.check_ranks(ranks)
        if self.capacity is not None:
            return self.capacity
        rows = ranks * self.token_bound
        if self.is_expert_major:
            local = self.local_experts(ranks)
            rows *= min(self.top_k, local)
            gaps = min(local, rows) * (self.alignment - 1)
            rows = -(-(rows + gaps) // self.alignment) * self.alignment
        return rows

    def list_places(self, ranks: int) -> int:
        """L: places of the lists of a dispatch, which are enough for every routing.

        The rows times ``min(K, EL)``, and then room for the gaps between aligned
        groups, in whole multiples of the alignment; 0 without lists.
        """
        ranks = rules.check_ranks(ranks)
        if self.list_alignment is None:
            return 0
        local = self.local_experts(ranks)
        entries = self.rows(ranks) * min(self.top_k, local)
        most = entries + min(local, entries) * (self.list_alignment - 1)
        return most - most % self.list_alignment

    def stated_capacity(self, ranks: int) -> int | None:
        """The capacity the module states; None where the op has it anyway."""
        ranks = rules.check_ranks(ranks)
        if self.capacity is not None or self.alignment == 1:
            return self.capacity
        return self.rows(ranks)

    def signature(self, entry: str, ranks: int) -> signature.Signature:
        """Names, types and shapes of arguments and results of an entry.

        Raises
        ------
        ValueError
            There is no such entry.
        """
        return signature.signature(self, entry, rules.check_rows(self, ranks))

    # What is made of it.

    def mlir(self, ranks: int) -> str:
        """The module of all entries, as MLIR text.

        Parameters
        ----------
        ranks : int
            Number of ranks, 1 to 65536.

        Raises
        ------
        TypeError, ValueError
            `ranks` is out of range, or there would be too many rows.
        """
        return module.module(self, rules.check_rows(self, ranks))

    def build(
        self,
        ranks: int,
        target: str = "host",
        *,
        compiler: Compiler | None = None,
        **options: Any,
    ) -> Any:
        """Compiles the module.

        Parameters
        ----------
        ranks : int
            Number of ranks.
        target : str, default "host"
            ``"host"``, ``"cuda"``, or ``"cuda:sm_90"`` for a chip; ``"nccl:sm_90"`` is
            the latter with the option ``transport="messages"``.
        compiler : callable, optional
            Takes the text of the module, `target=` and `options`, and returns
            the artifact; ``moe_mlir.compiler.compile`` by default.
        **options
            Options of the compiler, such as ``blocks=16``. Ranks of several hosts need
            ``transport="messages"``, which `Group.load` gives by itself; messages have
            ``schedule="padded"`` and `pair_capacity` besides.

        Returns
        -------
        moe_mlir.compiler.Artifact

        Raises
        ------
        moe_mlir.compiler.CompileError
            The compiler refuses the module or an option.
        """
        if compiler is None:
            from moe_mlir import compiler as package

            # Locations name a line of the text of this plan.
            compiler = functools.partial(package.compile, filename="Exchange")
        return compiler(self.mlir(ranks), target=target, **options)

    def report(
        self,
        ranks: int,
        target: str = "host",
        *,
        compiler: Compiler | None = None,
        **options: Any,
    ) -> report.ExchangeReport:
        """What the exchange costs: rows, memory, bytes on the wire, kernels.

        Parameters
        ----------
        ranks, target, compiler, **options
            As for :meth:`build`; the module is compiled.
        """
        ranks = rules.check_ranks(ranks)
        artifact = self.build(ranks, target, compiler=compiler, **options)
        return report.make(self, ranks, target, artifact.report)

    def bind(self, loaded: Any) -> parallel.ExpertParallel:
        """What calls the entries of a loaded artifact by their meaning.

        ``group.load(plan)`` compiles the plan, loads the artifact and binds it.

        Parameters
        ----------
        loaded
            A loaded artifact of this plan: ``loaded[name]`` is an entry.
        """
        return parallel.ExpertParallel(self, loaded)
