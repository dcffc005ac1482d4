"""Entries of one artifact that share memory, called by ranks out of step."""

import os
import random
import time

import numpy as np

import moe_mlir
from moe_mlir.runtime import run_local

RANKS = 3
EXPERTS = 6
TOKENS = 8

ENTRY = """
func.func @{name}(%x: tensor<8x{hidden}xf32>, %idx: tensor<8x2xi32>, %w: tensor<8x2xf32>)
    -> tensor<8x{hidden}xf32> {{
  %recv_x, %recv_idx, %recv_w, %src, %to, %from, %send_row =
    moe.dispatch %x, %idx, %w on @ep {{num_experts = 6 : i64}}
      : (tensor<8x{hidden}xf32>, tensor<8x2xi32>, tensor<8x2xf32>)
     -> (tensor<24x{hidden}xf32>, tensor<24x2xi32>, tensor<24x2xf32>, tensor<24xi32>,
         tensor<3xi32>, tensor<3xi32>, tensor<8x3xi32>)
  %out = moe.combine %recv_x, %send_row, %src, %from on @ep {{num_experts = 6 : i64}}
      : (tensor<24x{hidden}xf32>, tensor<8x3xi32>, tensor<24xi32>, tensor<3xi32>)
     -> tensor<8x{hidden}xf32>
  return %out : tensor<8x{hidden}xf32>
}}
"""
HIDDEN = {"narrow": 4, "wide": 64}


def test_entries_in_turn_keep_their_rows_apart():
    """The entries share a workspace: a rank that is already in the next entry must not
    write over rows that a slower one still reads."""
    seed = int(os.environ.get("MOE_TEST_SEED", random.SystemRandom().randrange(2**31)))
    print(f"MOE_TEST_SEED={seed}")
    text = "shard.grid @ep(shape = 3)\n" + "".join(
        ENTRY.format(name=name, hidden=hidden) for name, hidden in HIDDEN.items())
    artifact = moe_mlir.compile(text)
    order = random.Random(seed)
    turns = [order.choice(list(HIDDEN)) for _ in range(40)]
    rng = np.random.default_rng(seed)
    inputs = [
        (rng.standard_normal((RANKS, TOKENS, HIDDEN[name]), np.float32),
         rng.integers(0, EXPERTS, (RANKS, TOKENS, 2), np.int32))
        for name in turns
    ]
    weights = np.ones((TOKENS, 2), np.float32)

    def main(group):
        lot = random.Random(seed + group.rank)
        loaded = group.load(artifact)
        results = []
        for name, (x, idx) in zip(turns, inputs, strict=True):
            time.sleep(lot.choice([0, 0, 0.001, 0.003]))
            results.append(loaded[name](x[group.rank], idx[group.rank], weights))
        return results

    results = run_local(RANKS, main)
    per_rank = EXPERTS // RANKS
    for turn, (x, idx) in enumerate(inputs):
        # One row for each rank that owns an expert of the token.
        rows = np.array([[len(set(token // per_rank)) for token in rank] for rank in idx])
        for rank in range(RANKS):
            np.testing.assert_allclose(
                results[rank][turn], x[rank] * rows[rank][:, None], rtol=1e-6,
                err_msg=f"seed {seed}, turn {turn} ({turns[turn]}), rank {rank}")
