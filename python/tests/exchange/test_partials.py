# ===- test_partials.py - how exact sums of a combine are -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Sums of the trained layer of examples/data against f64, with partial sums in f32
and rounded, and the bounds that docs/Math.md states for both."""

from pathlib import Path

import job
import numpy as np
import pytest

from moe_mlir.exchange import Exchange

DATA = Path(__file__).resolve().parents[3] / "examples" / "data"
RANKS = 4
TOKENS = 64  # of each rank, so that GPUs that are interpreted take seconds
TOP_K = 8
ROUNDOFF = {"f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8}


class TrainedLayer:
    """Tokens of the example, the best TOP_K of its 16 experts, and their weights."""

    def __init__(self):
        names = [DATA / f"x.{rank}.npy" for rank in range(RANKS)]
        self.x = [np.load(name)[:TOKENS] for name in names]
        self.w1, self.w2 = (
            np.concatenate([np.load(DATA / f"{name}.{rank}.npy") for rank in range(RANKS)])
            for name in ("w1", "w2")
        )
        router = np.load(DATA / "router.npy")
        self.idx, self.weights = [], []
        for x in self.x:
            scores = x @ router
            idx = np.argsort(-scores, axis=1, kind="stable")[:, :TOP_K]
            chosen = np.exp(np.take_along_axis(scores, idx, 1))
            self.idx.append(idx.astype(np.int32))
            self.weights.append((chosen / chosen.sum(1, keepdims=True)).astype(np.float32))

    @property
    def num_experts(self):
        return len(self.w1)

    def expert(self, number, rows):
        """What an expert makes of rows, in f32."""
        hidden = rows.astype(np.float32) @ self.w1[number]
        return (hidden / (1 + np.exp(-hidden))) @ self.w2[number]


def exact_sums(plan, layer, y, weights, send_row, rank):
    """Of the tokens of a rank in f64: their sums, the sums of the magnitudes of
    what is added up, and the sums of the magnitudes of what ranks hold."""
    owner = {e: r for r in range(RANKS) for e in plan.experts_of(r, RANKS)}
    held = np.zeros((RANKS, len(send_row), plan.hidden))
    magnitudes = np.zeros(held.shape[1:])
    for (token, k), row in np.ndenumerate(send_row):
        there = owner[int(layer.idx[rank][token, k])]
        term = y[there][row].astype(np.float64) * float(weights[there][row])
        held[there, token] += term
        magnitudes[token] += np.abs(term)
    return held.sum(0), magnitudes, np.abs(held).sum(0)


@pytest.mark.parametrize("algorithm", ["pull", "push"])
@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_sums_are_as_exact_as_stated(load, dtype, algorithm):
    layer = TrainedLayer()
    v = ROUNDOFF[dtype]
    errors = {}
    for partials in ("f32", "element"):
        plan = Exchange(
            num_experts=layer.num_experts,
            top_k=TOP_K,
            hidden=layer.x[0].shape[1],
            dtype=dtype,
            max_tokens=TOKENS,
            layout="expert_major",
            combine_weights=True,
            partials=partials,
        )
        ep = load(plan, RANKS, combine_algorithm=algorithm)
        x = [rows.astype(job.DTYPES[dtype]) for rows in layer.x]
        recv = ep.dispatch(x, layer.idx, layer.weights)
        y = [np.zeros_like(rows) for rows in recv.x]
        for rank, (offsets, counts) in enumerate(
            zip(recv.expert_offsets, recv.expert_counts, strict=True)
        ):
            for number, first, count in zip(
                plan.experts_of(rank, RANKS), offsets, counts, strict=True
            ):
                group = slice(first, first + count)
                y[rank][group] = layer.expert(number, recv.x[rank][group]).astype(y[rank].dtype)
        out = ep.combine(y, recv.handle, recv.topk_weights)
        found = []
        for rank in range(RANKS):
            total, magnitudes, held = exact_sums(
                plan, layer, y, recv.topk_weights, recv.handle.send_row[rank], rank
            )
            error = np.abs(out[rank].astype(np.float64) - total)
            bound = v * np.abs(total) + 41 * 2.0**-24 * magnitudes
            if partials == "element":
                bound += v * (1 + v) * held
            # Values below the normal ones of f16 are rounded to a fixed unit.
            bound += (RANKS + 1) * 2.0**-25 * (dtype == "f16")
            assert (error <= bound).all()
            found.append(error / np.sqrt((total**2).mean()))
        errors[partials] = np.sqrt((np.concatenate(found) ** 2).mean())
    print(dtype, errors)
    if dtype == "f32":
        assert errors["element"] == errors["f32"]
    else:
        # Rounding once is as exact as the type allows; four sums more are not.
        assert errors["f32"] < 0.5 * v
        assert 1.1 * errors["f32"] < errors["element"] < 2 * v
