# ===- workload.py - an exchange with random tokens -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""An exchange on random tokens, compiled and with its inputs in files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from moe_mlir.exchange import Exchange

from . import programs

COMPILE_SECONDS = 600.0
RUN_SECONDS = 600.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say what is exchanged."""
    parser.add_argument(
        "--target", default="host", help="host, cuda, or cuda:sm_90 (default: host)"
    )
    parser.add_argument("-n", "--ranks", type=int, default=4, help="ranks (default: 4)")
    parser.add_argument(
        "--tokens", type=int, help="tokens a rank, all present (default: 512, on GPUs 4096)"
    )
    parser.add_argument("--hidden", type=int, help="values a row (default: 2048, on GPUs 7168)")
    parser.add_argument("--experts", type=int, default=64, help="experts (default: 64)")
    parser.add_argument("--top-k", type=int, default=8, help="experts a token (default: 8)")
    parser.add_argument("--layout", default="rank_major", help="rank_major, expert_major or slab")
    parser.add_argument("--seed", type=int, default=1, help="of the routing (default: 1)")


class Workload:
    """Dispatch and combine of bf16 rows, with random choices of experts.

    Parameters
    ----------
    given : argparse.Namespace
        Values of :func:`add_options`.
    folder : Path
        Where files are written to.

    Raises
    ------
    CommandError
        A value is wrong, the compiler refuses the module, or numpy is missing.
    """

    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        # Enough for what an exchange costs by itself to be small beside the rows.
        tokens, hidden = (512, 2048) if given.target == "host" else (4096, 7168)
        try:
            self.plan = Exchange(
                num_experts=given.experts,
                top_k=given.top_k,
                hidden=hidden if given.hidden is None else given.hidden,
                dtype="bf16",
                tokens=tokens if given.tokens is None else given.tokens,
                layout=given.layout,
                symmetric_recv=True,
                symmetric_y=True,
            )
            text = self.plan.mlir(given.ranks)
        except (TypeError, ValueError) as error:
            raise programs.CommandError(str(error).removeprefix("Exchange: ")) from None
        self.ranks, self.folder = int(given.ranks), folder
        self.artifact = folder / "exchange.so"
        module = folder / "exchange.mlir"
        module.write_text(text, encoding="utf-8")
        command = [programs.need("moe-compile"), str(module), "--target", given.target]
        programs.run([*command, "-o", str(self.artifact)], COMPILE_SECONDS)
        self._write_inputs(given.seed)

    def _write_inputs(self, seed: int) -> None:
        import numpy as np

        generator = np.random.default_rng(seed)
        tokens, top_k = self.plan.token_bound, self.plan.top_k
        for rank in range(self.ranks):
            # bf16 as ml_dtypes writes it: two bytes that numpy has no name for. Any
            # bits will do, since rows are moved and added.
            x = generator.integers(0, 0x7F80, (tokens, self.plan.hidden), np.uint16)
            keys = generator.random((tokens, self.plan.num_experts))
            idx = np.argpartition(keys, top_k - 1, axis=1)[:, :top_k].astype(np.int32)
            np.save(folder_file(self.folder, "x", rank), x.view("V2"))
            np.save(folder_file(self.folder, "topk_idx", rank), idx)
            weights = np.ones((tokens, top_k), np.float32)
            np.save(folder_file(self.folder, "topk_weights", rank), weights)

    def run(self, entry: str, *options: str) -> dict[str, Any]:
        """Runs an entry with ``moe-run --json``; results are files of their names.

        A combine takes what the dispatch before it wrote.
        """
        signed = self.plan.signature(entry, self.ranks)
        command = [programs.need("moe-run"), "-n", str(self.ranks), str(self.artifact)]
        command += ["--alone", "--json", "--entry", entry, *options]
        for argument in signed.arguments:
            # The rows that came are the rows that go back.
            name = "recv_x" if argument.name == "y" else argument.name
            command += ["--in", str(self.folder / f"{name}.{{rank}}.npy")]
        for result in signed.results:
            command += ["--out", str(self.folder / f"{result.name}.{{rank}}.npy")]
        document: dict[str, Any] = json.loads(programs.run(command, RUN_SECONDS))
        return document

    def rows_that_leave(self) -> float:
        """Rows that leave a rank, the mean over ranks; after a dispatch."""
        import numpy as np

        rows = 0
        for rank in range(self.ranks):
            sent = np.load(folder_file(self.folder, "n_tokens_to_rank", rank))
            rows += int(sent.sum() - sent[rank])
        return rows / self.ranks


def folder_file(folder: Path, name: str, rank: int) -> Path:
    """The file of a value of a rank."""
    return folder / f"{name}.{rank}.npy"
