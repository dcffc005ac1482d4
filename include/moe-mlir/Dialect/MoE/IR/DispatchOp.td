//===- DispatchOp.td - moe.dispatch ------------------------*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_MOE_IR_DISPATCHOP_TD
#define MOE_MLIR_DIALECT_MOE_IR_DISPATCHOP_TD

include "moe-mlir/Dialect/MoE/IR/CollectiveOp.td"

def MoE_DispatchOp : MoE_CollectiveOp<"dispatch", [AttrSizedOperandSegments]> {
  let summary = "sends tokens to the ranks that own their experts";
  let description = [{
    Rank by rank, with `R` ranks, `T` tokens on this rank, `H` values per token,
    top-`K` of `E` experts, and room for `C` rows:

    | operand | shape | element type |
    | --- | --- | --- |
    | `x` | T×H | f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32, i64 (types_c1) |
    | `topk_idx` | T×K | i32, i64; global expert ids, -1 for none |
    | `topk_weights` | T×K | f32 |
    | `scales` | T×S | f32, f16, bf16, i8; for 8-bit float `x` |

    | result | shape | element type |
    | --- | --- | --- |
    | `recv_x` | C×H | that of `x` |
    | `recv_scales` | C×S | that of `scales`; only with `scales` |
    | `recv_topk_idx` | C×K, or C when expert_major | that of `topk_idx` |
    | `recv_topk_weights` | C×K, or C when expert_major | f32 |
    | `recv_src_idx` | C | i32: sender * T_max + token |
    | `n_tokens_to_rank` | R | i32 |
    | `n_tokens_from_rank` | R | i32 |
    | `send_row` | T×R, or T×K when expert_major | i32: row on the destination, or -1 |
    | `expert_offsets` | ceil(E/R) | i32; only when expert_major, or with `list_alignment` |
    | `expert_counts` | ceil(E/R) | i32; only when expert_major, or with `list_alignment` |
    | `list_rows` | L | i32: a received row, or -1; only with `list_alignment` |
    | `list_weights` | L | f32: its weight; only with `list_alignment` |
    | `peer_blocks` | 2×R×P×2 | i32: where rows lie; only with `keep_blocks` |
    | `peer_rows` | 4×R | i32: what messages carry; only with `keep_blocks` |

    Experts are placed in blocks in rank order (placement_s1); the id -1 means
    no expert (placement_s2); an expert repeated within a token counts once and
    its weights add up (placement_s3). Rows move bit for bit (types_s1), results
    are deterministic (determinism_s1), and ranks without tokens are welcome
    (empty_s1).

    `layout` lays out the received rows: `rank_major` (dispatch_s1, dispatch_s2),
    `expert_major` with groups aligned to `alignment` rows (dispatch_s4), or
    `slab` (dispatch_s5). `order` orders the rows of one sender (dispatch_s3).
    The counts are those of dispatch_s6; rows that no token was sent to are
    unspecified (dispatch_s7), or zero with `padding = zero` (dispatch_s12).
    `capacity` is `C` (default: dispatch_s8) and `overflow` says what happens
    when it does not suffice (dispatch_s9). A dynamic `T` is bounded by
    `max_tokens` (dispatch_s11).

    With `reuse` the op takes `send_row` of an earlier dispatch with the same
    attributes (and its `topk_idx` when expert_major) instead of `topk_idx` and
    `topk_weights`, sends new rows along the same routes and returns only
    `recv_x` and `recv_scales` (dispatch_s10). Its `padding` need not be that of
    the earlier dispatch.

    With `list_alignment`, where rows are not grouped by expert, the op also lists
    which rows each local expert takes, and with which weights (dispatch_s14,
    dispatch_s15): what kernels need that gather the rows of an expert themselves.
    No row is copied for it. Lists are ordinary memory, not symmetric.

    With `keep_blocks` the op also returns what ranks that exchange messages know
    of one another's rows (dispatch_s16): where they lie (`peer_blocks`, P is 1,
    or ceil(E/R) when expert_major), and how many go to and come from each rank
    (`peer_rows`, in memory of the host on every target). Combines and reuses that
    take both as `blocks` exchange no blocks first, and their CPU waits for no
    counts (coll_s10).

    `algorithm` says who makes the rows of a token that has several experts on
    one rank, and changes no result (dispatch_s13). Without it the rank that has
    the token puts each row (`direct`). `expand`, for `layout = expert_major`,
    puts one and takes symmetric memory for lists of places: K numbers and a word
    for each token of each rank, and each subgroup of a team.

    The memref form has the same operands as memrefs, no results, and lists the
    buffers of all results in `outs`. It reads its operands, writes `outs`, and
    returns on a rank when all rows for this rank have arrived and no other rank
    reads or writes this rank's buffers any more.

    Example:

    ```mlir
    shard.grid @ep(shape = 4)
    func.func @send(%x: tensor<128x64xbf16>, %idx: tensor<128x2xi32>,
                    %w: tensor<128x2xf32>) -> tensor<512x64xbf16> {
      %recv_x, %recv_idx, %recv_w, %recv_src, %n_to, %n_from, %send_row =
        moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
          : (tensor<128x64xbf16>, tensor<128x2xi32>, tensor<128x2xf32>)
         -> (tensor<512x64xbf16>, tensor<512x2xi32>, tensor<512x2xf32>,
             tensor<512xi32>, tensor<4xi32>, tensor<4xi32>, tensor<128x4xi32>)
      return %recv_x : tensor<512x64xbf16>
    }
    ```

    **Constraints:** group_c1, group_c2, types_c1, dispatch_c1 to dispatch_c12,
    and dispatch_c14 to dispatch_c17 of docs/Spec.md:
    - (c1) `x` has rank 2 and static `H >= 1`.
    - (c2) `topk_idx` and `topk_weights` are T×K with static `1 <= K <= 32`.
    - (c3) `1 <= num_experts <= 2^31 - 1`.
    - (c4) A dynamic `T` needs `max_tokens`; a static one does not exceed it.
    - (c5) `scales` is T×S, S static and at least 1, and needs an 8-bit float `x`.
    - (c6) `order = expert` needs `K = 1` and `layout = rank_major`.
    - (c7) `alignment >= 1`; above 1 only when expert_major.
    - (c8) `capacity >= 1`, and not with `layout = slab`.
    - (c9) The outputs have the types of the table above.
    - (c10) Tensor form without `outs`, or memref form without results.
    - (c11) Either `topk_idx` and `topk_weights`, or `reuse`.
    - (c12) Row numbers, and places in lists, fit i32.
    - (c14) `algorithm = expand` needs `layout = expert_major`.
    - (c15) `list_alignment >= 1`; neither when expert_major nor with `reuse`.
    - (c16) `keep_blocks` is not allowed with `reuse`.
    - (c17) `blocks` needs `reuse`, and both of its operands, of the shapes above.
  }];

  let arguments = (ins
    MoE_Data:$x,
    Optional<MoE_TopkIdx>:$topk_idx,
    Optional<MoE_TopkWeights>:$topk_weights,
    Optional<MoE_Scales>:$scales,
    Variadic<AnyType>:$reuse,
    Optional<MoE_PeerBlocks>:$peer_blocks,
    Optional<MoE_PeerRows>:$peer_rows,
    Variadic<AnyMemRef>:$outs,
    FlatSymbolRefAttr:$grid,
    MoE_NumExperts:$num_experts, // dispatch_c3
    DefaultValuedAttr<MoE_LayoutAttr, "Layout::rank_major">:$layout,
    DefaultValuedAttr<MoE_OrderAttr, "Order::token">:$order,
    DefaultValuedAttr<MoE_OverflowAttr, "Overflow::error">:$overflow,
    DefaultValuedAttr<MoE_PositiveI64, "1">:$alignment,
    DefaultValuedAttr<MoE_PaddingAttr, "Padding::none">:$padding,
    OptionalAttr<MoE_PositiveI64>:$list_alignment, // dispatch_c15
    UnitAttr:$keep_blocks, // dispatch_c16
    OptionalAttr<MoE_PositiveI64>:$capacity,
    OptionalAttr<MoE_PositiveI64>:$max_tokens,
    OptionalAttr<MoE_DispatchAlgorithmAttr>:$algorithm,
    OptionalAttr<MoE_ScheduleAttr>:$schedule,
    OptionalAttr<MoE_KernelAttr>:$kernel);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);

  let assemblyFormat = [{
    $x (`,` $topk_idx^ `,` $topk_weights)? (`scales` `(` $scales^ `)`)?
    (`reuse` `(` $reuse^ `)`)? (`blocks` `(` $peer_blocks^ `,` $peer_rows `)`)?
    (`outs` `(` $outs^ `)`)? `on` $grid attr-dict `:`
    functional-type(operands, results)
  }];

  let extraClassDeclaration = [{
    /// The outputs, in the order of the op's results. Not every dispatch has
    /// every output.
    enum class Output {
      RecvX, RecvScales, RecvTopkIdx, RecvTopkWeights, RecvSrcIdx,
      TokensToRank, TokensFromRank, SendRow, ExpertOffsets, ExpertCounts,
      ListRows, ListWeights, PeerBlocks, PeerRows
    };
    /// The outputs this op has, in order.
    ::llvm::SmallVector<Output> getOutputKinds();
    /// The value of an output (a result, or a buffer of `outs`); null when the
    /// op does not have it.
    ::mlir::Value getOutput(Output kind);
    static ::llvm::StringRef stringifyOutput(Output kind);

    bool isExpertMajor() { return getLayout() == Layout::expert_major; }
    bool isReuse() { return !getReuse().empty(); }
    /// Whether ranks copy the rows that they receive to their other places.
    bool isExpand() { return getAlgorithm() == DispatchAlgorithm::expand; }
    /// Whether the op lists the rows of each expert (dispatch_s14).
    bool hasLists() { return getListAlignment().has_value(); }
    /// Whether it is known where rows lie, from the dispatch whose routes are
    /// used again (coll_s10).
    bool hasBlocks() { return static_cast<bool>(getPeerBlocks()); }
    /// Whether rows that no token was sent to are zero (dispatch_s12).
    bool hasZeroPadding() { return getPadding() == Padding::zero; }
    /// Expert ids of the tokens: `topk_idx`, or that of `reuse`; null for a
    /// reuse that is not expert_major.
    ::mlir::Value getRoutingTopkIdx();
    /// K; 0 for a reuse that is not expert_major.
    int64_t getTopK();
    /// T_max: the bound on tokens per rank.
    int64_t getTokenBound();
    /// C, given the number of ranks.
    int64_t getNumRows(int64_t numRanks);
    /// L, given the number of ranks; 0 without lists.
    int64_t getListLength(int64_t numRanks);
  }];
}

#endif // MOE_MLIR_DIALECT_MOE_IR_DISPATCHOP_TD
