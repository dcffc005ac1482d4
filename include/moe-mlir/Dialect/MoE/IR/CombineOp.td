//===- CombineOp.td - moe.combine --------------------------*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_MOE_IR_COMBINEOP_TD
#define MOE_MLIR_DIALECT_MOE_IR_COMBINEOP_TD

include "moe-mlir/Dialect/MoE/IR/CollectiveOp.td"

def MoE_CombineOp : MoE_CollectiveOp<"combine", [AttrSizedOperandSegments]> {
  let summary = "brings rows back to their tokens and adds them up";
  let description = [{
    The transpose of `moe.dispatch`. Rank by rank:

    | operand | shape | element type |
    | --- | --- | --- |
    | `y` | C×H | f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32, i64 (types_c1) |
    | `send_row` | T×R, or T×K when expert_major | i32 |
    | `recv_src_idx` | C | i32 |
    | `n_tokens_from_rank` | R | i32 |
    | `topk` | T×K; only when expert_major | i32, i64 |
    | `weights` | C | f32 |
    | `peer_blocks` | 2×R×P×2 | i32 |
    | `peer_rows` | 4×R; in memory of the host | i32 |

    | result | shape | element type |
    | --- | --- | --- |
    | `out` | T×H; with `reduce = none` T×R×H, or T×K×H when expert_major | that of `y` |

    `send_row`, `recv_src_idx` and `n_tokens_from_rank` are those of the
    dispatch whose rows `y` holds, with the same attributes. A row of `out` is the
    sum of the token's rows: those of one rank are added up first, in ascending
    expert order, and then the ranks, in ascending order. Floating-point data is
    added in f32, with one rounding at the end, and integers wrap around
    (combine_s1). `weights` multiplies each row first (combine_s2). A token
    without rows gets zeros (combine_s3), one with a single row and no weights the
    row's bits (combine_s4). A row number out of range is an error (combine_s5).

    `blocks` takes `peer_blocks` and `peer_rows` of the dispatch, if it keeps
    them. Ranks that exchange messages then exchange no blocks first, and their
    CPU waits for no counts (coll_s10). Results do not depend on it.

    With `partials = element` the sum of the rows of each rank is rounded to the
    element type before the ranks are added (combine_s8). docs/Math.md has the
    error of both forms. No pass sets or changes it.

    With `reduce = none` nothing is added up: `out` has each row in the slot of
    `send_row` that names it, multiplied by its weight where there are `weights`,
    and zeros in slots without a row (combine_s7). The gradient of a token's
    weights is the product of these rows with the gradient of its sum.

    The memref form writes the single buffer of `outs`. It returns on a rank when
    no other rank reads this rank's `y` and `weights` any more. With
    `defer_release` it returns earlier, which saves a round of signals; the caller
    leaves both alone until a later collective of all ranks has ended
    (combine_s6). So `y`, and `weights` where there are any, have to be
    `moe.symmetric` arguments. `algorithm` is chosen by `moe-plan`; a push takes
    T_max*R rows of symmetric memory for slots on each rank, with expert_major
    of f32 unless `partials = element`.

    Example:

    ```mlir
    shard.grid @ep(shape = 4)
    func.func @back(%y: tensor<512x64xbf16>, %send_row: tensor<128x4xi32>,
                    %src: tensor<512xi32>, %n_from: tensor<4xi32>)
        -> tensor<128x64xbf16> {
      %out = moe.combine %y, %send_row, %src, %n_from on @ep
          {num_experts = 8 : i64}
          : (tensor<512x64xbf16>, tensor<128x4xi32>, tensor<512xi32>,
             tensor<4xi32>) -> tensor<128x64xbf16>
      return %out : tensor<128x64xbf16>
    }
    ```

    **Constraints:** group_c1, group_c2, types_c1, combine_c1 to combine_c8,
    and combine_c10 to combine_c12 of docs/Spec.md:
    - (c1) `y` has rank 2, static `C` and `H`; `recv_src_idx` and `weights` have
      `C` elements.
    - (c2) `send_row` is T×R; when expert_major it has the shape of `topk`, which
      only expert_major takes.
    - (c3) The output has the shape of the table above and the element type of
      `y`.
    - (c4) `n_tokens_from_rank` has `R` elements.
    - (c5) A dynamic `T` needs `max_tokens`; a static one does not exceed it.
    - (c6) `weights` needs floating-point `y`.
    - (c7) `1 <= num_experts <= 2^31 - 1`.
    - (c8) Token numbers of all ranks fit i32.
    - (c10) `algorithm = push` needs `reduce = sum`.
    - (c11) `partials = element` needs floating-point `y`, `reduce = sum` and
      `layout = expert_major`.
    - (c12) `blocks` has both of its operands, of the shapes of the table above.
  }];

  let arguments = (ins
    MoE_Data:$y,
    MoE_Rows:$send_row,
    MoE_Indices:$recv_src_idx,
    MoE_Indices:$n_tokens_from_rank,
    Optional<MoE_TopkIdx>:$topk,
    Optional<MoE_Weights>:$weights,
    Optional<MoE_PeerBlocks>:$peer_blocks,
    Optional<MoE_PeerRows>:$peer_rows,
    Variadic<AnyMemRef>:$outs,
    FlatSymbolRefAttr:$grid,
    MoE_NumExperts:$num_experts, // combine_c7
    DefaultValuedAttr<MoE_LayoutAttr, "Layout::rank_major">:$layout,
    DefaultValuedAttr<MoE_ReduceAttr, "Reduce::sum">:$reduce,
    DefaultValuedAttr<MoE_PartialsAttr, "Partials::f32">:$partials,
    OptionalAttr<MoE_PositiveI64>:$max_tokens,
    UnitAttr:$defer_release,
    OptionalAttr<MoE_AlgorithmAttr>:$algorithm,
    OptionalAttr<MoE_ScheduleAttr>:$schedule,
    OptionalAttr<MoE_KernelAttr>:$kernel);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);

  let assemblyFormat = [{
    $y `,` $send_row `,` $recv_src_idx `,` $n_tokens_from_rank
    (`topk` `(` $topk^ `)`)? (`weights` `(` $weights^ `)`)?
    (`blocks` `(` $peer_blocks^ `,` $peer_rows `)`)?
    (`outs` `(` $outs^ `)`)? `on` $grid attr-dict `:`
    functional-type(operands, results)
  }];

  let extraClassDeclaration = [{
    bool isExpertMajor() { return getLayout() == Layout::expert_major; }
    /// Whether `out` has the rows themselves, one per slot (combine_s7).
    bool returnsRows() { return getReduce() == Reduce::none; }
    /// Whether it is known where rows lie, from their dispatch (coll_s10).
    bool hasBlocks() { return static_cast<bool>(getPeerBlocks()); }
    /// Whether the sum of the rows of a rank is rounded (combine_s8).
    bool roundsPartials() { return getPartials() == Partials::element; }
    /// Entries of `send_row` per token: K when expert_major, otherwise R.
    int64_t getNumSlots() { return getSendRow().getType().getDimSize(1); }
    /// The output: the result, or the buffer of `outs`.
    ::mlir::Value getOut() { return getOutputValues().front(); }
    /// T_max: the bound on tokens per rank.
    int64_t getTokenBound();
  }];
}

#endif // MOE_MLIR_DIALECT_MOE_IR_COMBINEOP_TD
