//===- MoEOps.td - moe dialect operations ------------------*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_MOE_IR_MOEOPS_TD
#define MOE_MLIR_DIALECT_MOE_IR_MOEOPS_TD

include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "moe-mlir/Dialect/MoE/IR/MoEBase.td"
include "moe-mlir/Dialect/MoE/IR/MoEInterfaces.td"

class MoE_CollectiveOp<string mnemonic, list<Trait> traits = []>
    : MoE_Op<mnemonic, !listconcat(traits, [
        DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
        DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>,
        DeclareOpInterfaceMethods<SymbolUserOpInterface>,
        DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                                  ["reifyResultShapes"]>,
        DeclareOpInterfaceMethods<MoE_CollectiveOpInterface,
                                  ["getExpectedOutputTypes", "getOutputName",
                                   "getSymmetricOperands"]>])> {
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

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
    dispatch_c14 and dispatch_c15 of docs/Spec.md:
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
  }];

  let arguments = (ins
    MoE_Data:$x,
    Optional<MoE_TopkIdx>:$topk_idx,
    Optional<MoE_TopkWeights>:$topk_weights,
    Optional<MoE_Scales>:$scales,
    Variadic<AnyType>:$reuse,
    Variadic<AnyMemRef>:$outs,
    FlatSymbolRefAttr:$grid,
    MoE_NumExperts:$num_experts, // dispatch_c3
    DefaultValuedAttr<MoE_LayoutAttr, "Layout::rank_major">:$layout,
    DefaultValuedAttr<MoE_OrderAttr, "Order::token">:$order,
    DefaultValuedAttr<MoE_OverflowAttr, "Overflow::error">:$overflow,
    DefaultValuedAttr<MoE_PositiveI64, "1">:$alignment,
    DefaultValuedAttr<MoE_PaddingAttr, "Padding::none">:$padding,
    OptionalAttr<MoE_PositiveI64>:$list_alignment, // dispatch_c15
    OptionalAttr<MoE_PositiveI64>:$capacity,
    OptionalAttr<MoE_PositiveI64>:$max_tokens,
    OptionalAttr<MoE_DispatchAlgorithmAttr>:$algorithm,
    OptionalAttr<MoE_ScheduleAttr>:$schedule,
    OptionalAttr<MoE_KernelAttr>:$kernel);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);

  let assemblyFormat = [{
    $x (`,` $topk_idx^ `,` $topk_weights)? (`scales` `(` $scales^ `)`)?
    (`reuse` `(` $reuse^ `)`)? (`outs` `(` $outs^ `)`)? `on` $grid
    attr-dict `:` functional-type(operands, results)
  }];

  let extraClassDeclaration = [{
    /// The outputs, in the order of the op's results. Not every dispatch has
    /// every output.
    enum class Output {
      RecvX, RecvScales, RecvTopkIdx, RecvTopkWeights, RecvSrcIdx,
      TokensToRank, TokensFromRank, SendRow, ExpertOffsets, ExpertCounts,
      ListRows, ListWeights
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
    combine_c10 and combine_c11 of docs/Spec.md:
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
  }];

  let arguments = (ins
    MoE_Data:$y,
    MoE_Rows:$send_row,
    MoE_Indices:$recv_src_idx,
    MoE_Indices:$n_tokens_from_rank,
    Optional<MoE_TopkIdx>:$topk,
    Optional<MoE_Weights>:$weights,
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
    (`outs` `(` $outs^ `)`)? `on` $grid attr-dict `:`
    functional-type(operands, results)
  }];

  let extraClassDeclaration = [{
    bool isExpertMajor() { return getLayout() == Layout::expert_major; }
    /// Whether `out` has the rows themselves, one per slot (combine_s7).
    bool returnsRows() { return getReduce() == Reduce::none; }
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

def MoE_AllToAllvOp : MoE_CollectiveOp<"alltoallv", []> {
  let summary = "exchanges blocks of rows between all ranks";
  let description = [{
    Rank by rank, where a row is everything below the leading dimension:

    | operand | shape | element type |
    | --- | --- | --- |
    | `send` | N×... | f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32, i64 (types_c1) |
    | `send_counts` | R | i32: rows for each rank |

    | result | shape | element type |
    | --- | --- | --- |
    | `recv` | C×... | that of `send` |
    | `recv_counts` | R | i32: rows from each rank |

    `send` holds the rows for rank 0, then those for rank 1, and so on, from row 0;
    `recv` holds the rows from rank 0, then those from rank 1, and so on
    (alltoallv_s1, alltoallv_s2). Counts are read by the op alone, on the device
    (alltoallv_s3). Bad counts are an error (alltoallv_s4); `overflow` says what
    happens when a rank gets more than `C` rows (alltoallv_s5). Rows of `recv`
    past the valid ones are unspecified.

    The memref form writes the two buffers of `outs`.

    Example:

    ```mlir
    shard.grid @ep(shape = 4)
    func.func @exchange(%send: tensor<100x64xf32>, %counts: tensor<4xi32>)
        -> (tensor<400x64xf32>, tensor<4xi32>) {
      %recv, %recv_counts = moe.alltoallv %send, %counts on @ep
          : (tensor<100x64xf32>, tensor<4xi32>)
         -> (tensor<400x64xf32>, tensor<4xi32>)
      return %recv, %recv_counts : tensor<400x64xf32>, tensor<4xi32>
    }
    ```

    **Constraints:** group_c1, group_c2, types_c1, alltoallv_c1 to alltoallv_c3 of
    docs/Spec.md:
    - (c1) `send` and `recv` have the same element type and static row shape; `C`
      is static.
    - (c2) `send_counts` and `recv_counts` have `R` elements.
    - (c3) Two results and no `outs`, or two `outs` and no result.
  }];

  let arguments = (ins
    MoE_Blocks:$send,
    MoE_Indices:$send_counts,
    Variadic<AnyMemRef>:$outs,
    FlatSymbolRefAttr:$grid,
    DefaultValuedAttr<MoE_OverflowAttr, "Overflow::error">:$overflow,
    OptionalAttr<MoE_ScheduleAttr>:$schedule,
    OptionalAttr<MoE_KernelAttr>:$kernel);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);

  let assemblyFormat = [{
    $send `,` $send_counts (`outs` `(` $outs^ `)`)? `on` $grid attr-dict
    `:` functional-type(operands, results)
  }];
}

#endif // MOE_MLIR_DIALECT_MOE_IR_MOEOPS_TD
