# ===- report.py - what an exchange costs -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The compiler's report about an exchange, as objects.

The compiler says what an op moves at most; what it moves on average over
routings follows from the description, and is added here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .description import Exchange


@dataclasses.dataclass(frozen=True)
class KernelShape:
    """Shape of the kernel of an op on a GPU.

    Attributes
    ----------
    blocks, threads : int
        Most blocks, and threads of each.
    transfer : str
        ``"stores"`` or ``"bulk"``: how rows move.
    stages, team : int or None
        Rows in flight (``bulk``), subgroups per token (``stores``).
    """

    blocks: int
    threads: int
    transfer: str
    stages: int | None = None
    team: int | None = None


@dataclasses.dataclass(frozen=True)
class OpCost:
    """What one op of an entry moves and holds, on one rank.

    Attributes
    ----------
    entry, op : str
        Where it is, and its name: ``"moe.dispatch"`` or ``"moe.combine"``.
    rows : int
        Rows there is room for.
    row_bytes : int
        Bytes of a row with all that travels with it.
    symmetric_bytes : int
        Symmetric memory of its buffers; 0 for ranks that exchange messages.
    wire_bytes_max : int or None
        Most bytes that leave the rank, or come to it for a combine: `token_bound`
        tokens whose rows all go to other ranks. None when the compiler does not
        know.
    wire_bytes_expected : float
        The mean over ranks when each token chooses `top_k` different experts, all
        choices being as likely; not more than `wire_bytes_max`, which is less than
        that where a dispatch sends rows to each rank once (``dispatch_algorithm``).
        Padded messages are as long whatever is chosen.
    kernel : KernelShape or None
        On GPUs.
    table_bytes : int or None
        Bytes that a rank tells the others about its rows; None for ranks that share
        memory.
    """

    entry: str
    op: str
    rows: int
    row_bytes: int
    symmetric_bytes: int
    wire_bytes_max: int | None
    wire_bytes_expected: float
    kernel: KernelShape | None = None
    table_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class EntryCost:
    """Symmetric memory of an entry, in bytes per rank.

    `kept_bytes` keep their contents from call to call; `temporary_bytes` are
    shared with other entries unless it has a workspace of its own.
    """

    name: str
    kept_bytes: int
    temporary_bytes: int
    own_workspace: bool


@dataclasses.dataclass(frozen=True)
class Kernel:
    """What ``ptxas`` says about a kernel; known where there is a ptxas.

    Attributes
    ----------
    name, location : str
        Its name, and where in the module the op is.
    registers : int
        Of each thread.
    spill_bytes : int
        Bytes that a thread stores and loads for want of registers.
    local_bytes : int
        Local memory of a thread: what is spilled, and arrays that are indexed.
    shared_bytes : int
        Shared memory of a block.
    """

    name: str
    location: str
    registers: int
    spill_bytes: int
    local_bytes: int
    shared_bytes: int


@dataclasses.dataclass(frozen=True)
class ExchangeReport:
    """What an exchange costs.

    Attributes
    ----------
    ranks : int
    target : str
    transport : str
        ``"direct"``, through memory that ranks share, or ``"messages"``.
    rows : int
        Rows each rank has room for.
    symmetric_bytes : int
        Symmetric memory each rank contributes.
    artifact_bytes : int
        Size of the artifact; 0 when the compiler did not make one.
    ops : tuple of OpCost
        In the order of the module.
    entries : tuple of EntryCost
    kernels : tuple of Kernel
        Empty on the host, and where there is no ``ptxas``.
    raw : mapping
        The compiler's report itself.
    """

    ranks: int
    target: str
    transport: str
    rows: int
    symmetric_bytes: int
    artifact_bytes: int
    ops: tuple[OpCost, ...]
    entries: tuple[EntryCost, ...]
    kernels: tuple[Kernel, ...]
    raw: Mapping[str, Any] = dataclasses.field(repr=False)

    def op(self, entry: str) -> OpCost:
        """The first op of an entry.

        Raises
        ------
        KeyError
            There is no such entry.
        """
        for op in self.ops:
            if op.entry == entry:
                return op
        raise KeyError(entry)

    def __str__(self) -> str:
        has_messages = self.transport == "messages"
        lines = [
            (
                "entry",
                "op",
                "rows",
                "row bytes",
                "table bytes" if has_messages else "symmetric bytes",
                "wire bytes expected",
                "at most",
            )
        ]
        for op in self.ops:
            most = "?" if op.wire_bytes_max is None else f"{op.wire_bytes_max:,}"
            lines.append(
                (
                    op.entry,
                    op.op,
                    f"{op.rows:,}",
                    f"{op.row_bytes:,}",
                    f"{op.table_bytes if has_messages else op.symmetric_bytes:,}",
                    f"{op.wire_bytes_expected:,.0f}",
                    most,
                )
            )
        text = _columns(lines, names=2)
        text += f"\n{self.ranks} ranks, target {self.target}: " + (
            "messages, no symmetric memory"
            if has_messages
            else f"{self.symmetric_bytes:,} symmetric bytes per rank"
        )
        if self.kernels:
            rows = [("kernel", "registers", "spill bytes", "local bytes", "shared bytes")]
            rows += [
                (
                    k.name,
                    str(k.registers),
                    str(k.spill_bytes),
                    str(k.local_bytes),
                    str(k.shared_bytes),
                )
                for k in self.kernels
            ]
            text += "\n" + _columns(rows, names=1)
        return text


def _columns(lines: Sequence[Sequence[str]], names: int) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < names else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def expected_remote_rows(plan: Exchange, ranks: int) -> float:
    """Rows that a token has on other ranks: the mean over ranks and routings.

    Each token chooses `top_k` different experts of `num_experts`, and each such
    choice is as likely as any other.
    """
    experts, top_k = plan.num_experts, plan.top_k
    owned = [len(plan.experts_of(rank, ranks)) for rank in range(ranks)]
    if plan.is_expert_major:
        return sum(top_k * (experts - mine) / experts for mine in owned) / ranks
    # A rank gets one row unless none of its experts is chosen.
    none = math.comb(experts, top_k)
    reached = [1 - math.comb(experts - mine, top_k) / none for mine in owned]
    return sum(sum(reached) - mine for mine in reached) / ranks


def make(plan: Exchange, ranks: int, target: str, raw: Mapping[str, Any]) -> ExchangeReport:
    """The report of a plan, from the compiler's JSON report.

    Raises
    ------
    ValueError
        The report is not one of the module of this plan.
    """
    names = _ops(plan)
    if "ops" not in raw:
        raise ValueError(
            "expected the compiler's report, which the option report = 'none' leaves out"
        )
    if [op["op"] for op in raw["ops"]] != [op for _, op in names]:
        raise ValueError(
            f"expected a report about {[op for _, op in names]}, got one about "
            f"{[op['op'] for op in raw['ops']]}"
        )
    remote = expected_remote_rows(plan, ranks)
    ops = []
    for (entry, name), cost in zip(names, raw["ops"], strict=True):
        kernel = cost.get("kernel")
        most, expected = cost["wire_bytes"], cost["row_bytes"] * plan.token_bound * remote
        if cost.get("padded"):
            expected = float(most)
        ops.append(
            OpCost(
                entry=entry,
                op=name,
                rows=cost["rows"],
                row_bytes=cost["row_bytes"],
                symmetric_bytes=cost["symmetric_bytes"],
                wire_bytes_max=most,
                wire_bytes_expected=expected if most is None else min(expected, most),
                kernel=KernelShape(**kernel) if kernel else None,
                table_bytes=cost.get("table_bytes"),
            )
        )
    return ExchangeReport(
        ranks=ranks,
        target=target,
        transport=raw["transport"],
        rows=plan.rows(ranks),
        symmetric_bytes=raw["workspace_bytes"],
        artifact_bytes=raw.get("artifact_bytes", 0),
        ops=tuple(ops),
        entries=tuple(
            EntryCost(
                entry["name"],
                entry["persistent_bytes"],
                entry["temporary_bytes"],
                entry["own_workspace"],
            )
            for entry in raw["entries"]
        ),
        kernels=tuple(
            Kernel(
                kernel["name"],
                kernel["location"],
                kernel["registers"],
                kernel["spill_bytes"],
                kernel["local_bytes"],
                kernel["shared_bytes"],
            )
            for kernel in raw.get("kernels", ())
        ),
        raw=raw,
    )


def _ops(plan: Exchange) -> list[tuple[str, str]]:
    """Entry and name of each collective op, in the order of the module."""
    found = []
    for entry in plan.entries:
        if entry in ("dispatch", "dispatch_again", "combine_backward"):
            found.append((entry, "moe.dispatch"))
        else:
            found.append((entry, "moe.combine"))
        if entry == "dispatch_backward":
            found.append((entry, "moe.combine"))
    return found
