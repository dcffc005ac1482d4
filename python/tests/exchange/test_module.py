# ===- test_module.py - modules of exchanges compile -*- python -*-===#
#
# Part of the moe-mlir project, under the Apache License v2.0 with LLVM
# Exceptions. See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Random plans: their modules compile and have the entries that were promised."""

import job
import pytest

from moe_mlir.exchange import Exchange

CASES = 8
DTYPES = ["f32", "f16", "bf16", "f8E4M3FN", "f8E5M2", "i8", "i32", "i64"]


def draw(generator):
    """A plan with random fields that go together, and a number of ranks."""

    def pick(*values):
        return values[int(generator.integers(len(values)))]

    plan = {
        "num_experts": pick(1, 3, 8, 13),
        "hidden": pick(1, 16, 24),
        "dtype": pick(*DTYPES),
        "layout": pick("rank_major", "expert_major", "slab"),
        "index_dtype": pick("i32", "i64"),
        "overflow": pick("error", "drop"),
        "symmetric_recv": pick(True, False),
    }
    plan["top_k"] = int(generator.integers(1, min(plan["num_experts"], 4) + 1))
    plan[pick("tokens", "max_tokens")] = pick(1, 5)
    if plan["dtype"].startswith("f8"):
        plan["scales"], plan["scales_dtype"] = pick(0, 3), pick("f32", "i8")
    if plan["layout"] == "expert_major":
        plan["alignment"] = pick(1, 16)
    elif plan["layout"] == "rank_major" and plan["top_k"] == 1:
        plan["order"] = pick("token", "expert")
    if plan["layout"] != "expert_major":
        plan["list_alignment"] = pick(None, 1, 16)
    if plan["layout"] != "slab":
        plan["capacity"] = pick(None, 64)
    if plan["dtype"][0] != "i":
        plan["combine_weights"] = pick(True, False)
        plan["gradients"] = pick(True, False)
    plan["reduce"] = pick("sum", "none")
    if (plan["layout"], plan["reduce"]) == ("expert_major", "sum") and plan["dtype"][0] != "i":
        plan["partials"] = pick("f32", "element")
    plan["padding"] = pick("none", "zero")
    plan["keep_blocks"] = pick(True, False)
    plan["symmetric_y"] = pick(True, False)
    plan["defer_release"] = plan["symmetric_y"] and pick(True, False)
    return Exchange(**plan), pick(1, 2, 5)


@pytest.mark.parametrize("target", ["host", "cuda"])
def test_modules_compile_to_the_entries_of_the_plan(compiler, generator, target):
    for _ in range(CASES):
        plan, ranks = draw(generator)
        print(plan, ranks)
        artifact = plan.build(ranks, target, compiler=compiler)
        assert [e["name"] for e in artifact.manifest["entries"]] == list(plan.entries)
        # A module of one rank communicates all the same.
        assert artifact.manifest["ranks"] == ranks
        for entry in artifact.manifest["entries"]:
            signed = plan.signature(entry["name"], ranks)
            for specs, found in (
                (signed.arguments, entry["args"]),
                (signed.results, entry["results"]),
            ):
                # All memory of the host target is the host's.
                assert [
                    (s.dtype, list(s.shape), s.symmetric, s.host and target == "cuda")
                    for s in specs
                ] == [
                    (f["dtype"], f["shape"], f.get("symmetric", False), f.get("host", False))
                    for f in found
                ]


def test_text_is_what_a_person_would_write():
    plan = Exchange(num_experts=8, top_k=2, hidden=16, max_tokens=8)
    assert (
        plan.mlir(2)
        == """\
// Exchange(num_experts=8, top_k=2, hidden=16, max_tokens=8)
shard.grid @ep(shape = 2)

func.func @dispatch(
    %x: tensor<?x16xbf16>,
    %topk_idx: tensor<?x2xi32>,
    %topk_weights: tensor<?x2xf32>)
    -> (tensor<16x16xbf16>,
        tensor<16x2xi32>,
        tensor<16x2xf32>,
        tensor<16xi32>,
        tensor<2xi32>,
        tensor<2xi32>,
        tensor<?x2xi32>) {
  %recv_x, %recv_topk_idx, %recv_topk_weights, %recv_src_idx, %n_tokens_to_rank,
  %n_tokens_from_rank, %send_row =
      moe.dispatch %x, %topk_idx, %topk_weights on @ep
      {max_tokens = 8 : i64, num_experts = 8 : i64}
      : (tensor<?x16xbf16>, tensor<?x2xi32>, tensor<?x2xf32>)
     -> (tensor<16x16xbf16>, tensor<16x2xi32>, tensor<16x2xf32>, tensor<16xi32>,
         tensor<2xi32>, tensor<2xi32>, tensor<?x2xi32>)
  return %recv_x, %recv_topk_idx, %recv_topk_weights, %recv_src_idx,
         %n_tokens_to_rank, %n_tokens_from_rank, %send_row
      : tensor<16x16xbf16>, tensor<16x2xi32>, tensor<16x2xf32>, tensor<16xi32>,
        tensor<2xi32>, tensor<2xi32>, tensor<?x2xi32>
}

func.func @combine(
    %y: tensor<16x16xbf16>,
    %send_row: tensor<?x2xi32>,
    %recv_src_idx: tensor<16xi32>,
    %n_tokens_from_rank: tensor<2xi32>)
    -> (tensor<?x16xbf16>) {
  %out =
      moe.combine %y, %send_row, %recv_src_idx, %n_tokens_from_rank on @ep
      {max_tokens = 8 : i64, num_experts = 8 : i64}
      : (tensor<16x16xbf16>, tensor<?x2xi32>, tensor<16xi32>, tensor<2xi32>)
     -> (tensor<?x16xbf16>)
  return %out
      : tensor<?x16xbf16>
}
"""
    )


def test_options_reach_the_compiler(compiler):
    plan = Exchange(num_experts=4, top_k=1, hidden=16, max_tokens=8)
    report = plan.report(2, "cuda", compiler=compiler, blocks=3)
    assert {op.kernel.blocks for op in report.ops} == {3}
    with pytest.raises(job.ToolError, match="unknown combine algorithm 'fetch'"):
        plan.build(2, compiler=compiler, combine_algorithm="fetch")
