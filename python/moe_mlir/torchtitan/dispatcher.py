# ===- dispatcher.py - a token dispatcher of torchtitan -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===----------------------------------------------------------------------===#
""":class:`TokenDispatcher`: what torchtitan's experts get their tokens from."""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torchtitan.models.common.token_dispatcher import (
    BaseEPTokenDispatcher,
    LocalTokenDispatcher,
)

from moe_mlir.exchange import Exchange
from moe_mlir.runtime import Group, gather
from moe_mlir.runtime.gather import AllGather
from moe_mlir.torch import ExpertParallel, Handle


class _Shared:
    """The exchanges of a process group, by what they were made from.

    Layers of the same configuration share one. It lives as long as a dispatcher has it,
    which Python collects at another time on each rank. So ranks compare the numbers of
    what they have.
    """

    def __init__(self) -> None:
        self.exchanges: weakref.WeakValueDictionary[Any, ExpertParallel]
        self.exchanges = weakref.WeakValueDictionary()
        self.numbers: dict[Any, int] = {}
        self.attempts = 0

    def find(self, key: Any, gather: AllGather, timeout: float) -> ExpertParallel | None:
        """The exchange that all ranks still have. Collective."""
        found = self.exchanges.get(key)
        is_here = found is not None and not found.group.is_closed
        number = self.numbers[key] if is_here else 0
        every = gather(number.to_bytes(8, "little"), timeout)
        is_everywhere = number and every == number.to_bytes(8, "little") * (len(every) // 8)
        return found if is_everywhere else None

    def add(self, key: Any, make: Callable[[], ExpertParallel]) -> ExpertParallel:
        """Make an exchange. Collective; an attempt that fails on some ranks counts on all."""
        self.attempts += 1
        number = self.attempts
        made = self.exchanges[key] = make()
        self.numbers[key] = number
        return made


_shared: weakref.WeakKeyDictionary[Any, _Shared] = weakref.WeakKeyDictionary()


class Metadata(NamedTuple):
    """What a combine needs of its dispatch.

    Attributes
    ----------
    handle : Handle
        The routes.
    scores : Tensor, C, float32
        The received router scores, one for each row.
    """

    handle: Handle
    scores: torch.Tensor


class TokenDispatcher(BaseEPTokenDispatcher):  # type: ignore[misc] # without torchtitan it is Any
    """Brings tokens to their experts, and results back, by an exchange of moe-mlir.

    The received rows are one tensor of a fixed extent, so that nothing waits for the
    GPU and ``torch.compile(fullgraph=True)`` makes one graph of a layer. Rows behind
    those of the last expert hold nothing; grouped matrix products leave them out.

    Without expert parallelism (`ep_mesh` is None) tokens stay where they are, as those
    of ``AllToAllTokenDispatcher`` do.
    """

    @dataclasses.dataclass(kw_only=True, slots=True)
    class Config(BaseEPTokenDispatcher.Config):  # type: ignore[misc]
        """Fields besides `num_experts` and `top_k`.

        Parameters
        ----------
        hidden_dim : int
            Values of a token.
        num_max_tokens_per_rank : int
            Most tokens that a rank has in one call.
        dtype : str or torch.dtype
            Type of the tokens when they come to the experts. By default that of
            torchtitan's mixed precision.
        pad_multiple : int
            Rows of each expert are filled up with zeros to a multiple of so many, for
            grouped products of 8-bit floats.
        capacity_factor : float
            Rows that a rank has room for, as part of what any routing could need. More
            rows than that are an error on all ranks; none is dropped.
        timeout_seconds : float
            How long ranks wait for each other: for the slowest compilation and
            checkpoint. By default as torchtitan's process groups do at first.
        artifact : str, optional
            File of the compiled exchange, where there is no compiler.
        options : dict
            Options of the compiler, such as ``{"blocks": 16}``.
        """

        hidden_dim: int
        num_max_tokens_per_rank: int
        dtype: Any = "bfloat16"
        pad_multiple: int = 1
        capacity_factor: float = 1.0
        timeout_seconds: float = 300.0
        artifact: str | None = None
        options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.config = config
        self.pad_multiple = config.pad_multiple
        self.ep: ExpertParallel | None = None
        if not 0 < config.capacity_factor <= 1:
            raise ValueError(
                "TokenDispatcher: expected capacity_factor above 0 and at most 1, got "
                f"{config.capacity_factor}"
            )

    def plan(self, ranks: int) -> Exchange:
        """The exchange for a number of ranks.

        Raises
        ------
        ValueError
            `ranks` do not divide `num_experts`, or a field is out of range.
        """
        if self.num_experts % ranks:
            raise ValueError(
                "TokenDispatcher: expected num_experts to be a multiple of the "
                f"{ranks} ranks, since torchtitan shards the experts' weights evenly, got "
                f"{self.num_experts}"
            )
        plan = Exchange(
            num_experts=self.num_experts,
            top_k=self.top_k,
            hidden=self.config.hidden_dim,
            dtype=self.config.dtype,
            max_tokens=self.config.num_max_tokens_per_rank,
            layout="expert_major",
            alignment=self.pad_multiple,
            # Only where gaps between experts are part of what is multiplied.
            padding="zero" if self.pad_multiple > 1 else "none",
            index_dtype="i64",  # as torch.topk has them
            combine_weights=True,
            gradients=True,
        )
        if self.config.capacity_factor == 1:
            return plan
        rows = math.ceil(plan.rows(ranks) * self.config.capacity_factor)
        rows += -rows % self.pad_multiple
        return dataclasses.replace(plan, capacity=rows)

    def init_buffer(self) -> None:
        """Join the ranks of the mesh and load the exchange. Collective.

        torchtitan calls it when it parallelizes the layer.
        """
        if self.ep_mesh is None:
            if self.pad_multiple > 1:
                raise ValueError(
                    "TokenDispatcher: expected expert parallelism with pad_multiple = "
                    f"{self.pad_multiple}, got a model without a mesh of experts"
                )
            return
        process_group = self.ep_mesh.get_group()
        config = self.config
        plan = self.plan(process_group.size())
        key = (plan, config.artifact, config.timeout_seconds, repr(sorted(config.options.items())))
        shared = _shared.setdefault(process_group, _Shared())

        def make() -> ExpertParallel:
            group = Group.from_torch(process_group, timeout=config.timeout_seconds)
            return ExpertParallel(plan, group, artifact=config.artifact, **config.options)

        found = shared.find(key, gather.of_torch(process_group), config.timeout_seconds)
        self.ep = found or shared.add(key, make)

    def dispatch(
        self,
        x_TD: torch.Tensor,
        topk_scores_TK: torch.Tensor,
        topk_expert_ids_TK: torch.Tensor,
        num_local_tokens_per_expert_E: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """Bring tokens to their experts. Collective.

        Parameters
        ----------
        x_TD : Tensor, (T, D)
        topk_scores_TK : Tensor, (T, K)
        topk_expert_ids_TK : Tensor, (T, K), int64
        num_local_tokens_per_expert_E : Tensor, E
            Not looked at: the exchange counts tokens itself.

        Returns
        -------
        rows : Tensor, (C, D)
            Grouped by local expert, one group behind the other.
        counts : Tensor, E / ranks, int32
            Rows of each group, with those that fill it up.
        metadata : Metadata

        Raises
        ------
        MoEError
            More than `num_max_tokens_per_rank` tokens, or `x_TD` of another type or
            extent than the configuration says; on all ranks.
        """
        if self.ep is None:
            local: tuple[torch.Tensor, torch.Tensor, Any] = LocalTokenDispatcher.dispatch(
                self, x_TD, topk_scores_TK, topk_expert_ids_TK, num_local_tokens_per_expert_E
            )
            return local
        recv = self.ep.dispatch(x_TD, topk_expert_ids_TK, topk_scores_TK.float())
        counts = recv.expert_counts
        if self.pad_multiple > 1:
            counts = (counts + (self.pad_multiple - 1)) // self.pad_multiple * self.pad_multiple
        return recv.x, counts, Metadata(recv.handle, recv.topk_weights)

    def combine(
        self,
        routed_output_RD: torch.Tensor,
        metadata: Any,
        x_TD: torch.Tensor,
    ) -> torch.Tensor:
        """Bring results back, and add up those of a token, times its scores. Collective.

        Products and sums are in float32 and rounded once, where torchtitan's own
        dispatchers round each of them to the type of the tokens.
        """
        if self.ep is None:
            local: torch.Tensor = LocalTokenDispatcher.combine(
                self, routed_output_RD, metadata, x_TD
            )
            return local
        return self.ep.combine(routed_output_RD, metadata.handle, metadata.scores)
