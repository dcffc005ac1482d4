//===- MoEBase.td - moe dialect, attributes and type constraints -*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_MOE_IR_MOEBASE_TD
#define MOE_MLIR_DIALECT_MOE_IR_MOEBASE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

def MoE_Dialect : Dialect {
  let name = "moe";
  let cppNamespace = "::mlir::moe";
  let summary = "Communication of Mixture-of-Experts layers";
  let description = [{
    The dialect says *what* the ranks of a Mixture-of-Experts layer exchange:
    `moe.dispatch` sends tokens to the ranks that own their experts,
    `moe.combine` brings the results back and adds them up, `moe.alltoallv`
    exchanges blocks of rows. How rows move is left to the target.

    A module names its group of ranks with an upstream `shard.grid` of one
    dimension; ops refer to it with `on @grid`. All ranks execute the same ops
    in the same order.

    Each op has a tensor form (results) and a memref form (`outs`), which
    bufferization produces. docs/Spec.md states every rule with a label; labels
    below refer to it.

    Arguments and results of a public function, an entry of the artifact, may be
    marked `moe.symmetric`, a unit attribute: their memory is symmetric, so that
    an exchange works in it and nothing is copied (symmetric_s1, symmetric_s2).

    ```mlir
    shard.grid @ep(shape = 4)
    func.func @back(%y: tensor<512x64xbf16> {moe.symmetric},
                    %send_row: tensor<128x4xi32>, %src: tensor<512xi32>,
                    %n_from: tensor<4xi32>) -> tensor<128x64xbf16> {
      %out = moe.combine %y, %send_row, %src, %n_from on @ep
          {num_experts = 8 : i64}
          : (tensor<512x64xbf16>, tensor<128x4xi32>, tensor<512xi32>,
             tensor<4xi32>) -> tensor<128x64xbf16>
      return %out : tensor<128x64xbf16>
    }
    ```

    - An argument: the caller passes memory of the symmetric heap, at the same
      offset on all ranks.
    - A result: a buffer of a moe op of the entry, in the artifact's workspace,
      at the same offset on all ranks. It is valid until the entry is called
      again.

    The attribute stands on arguments and results of public `func.func`s whose
    types are ranked tensors, or memrefs, of static shape (symmetric_c1).

    `moe.host`, a unit attribute, marks those arguments and results of an entry
    that lie in memory of the host, whatever the target: the `peer_rows` of a
    dispatch with `keep_blocks` (host_c1 to host_c3, host_s1).

    Version log:
    - 0.1: dispatch, combine, alltoallv. Text and bytecode carry no promise of
      stability yet.
  }];
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let hasRegionArgAttrVerify = 1;
  let hasRegionResultAttrVerify = 1;
}

class MoE_Op<string mnemonic, list<Trait> traits = []>
    : Op<MoE_Dialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

def MoE_LayoutEnum : I32EnumAttr<"Layout", "how received rows are laid out", [
    I32EnumAttrCase<"rank_major", 0>,
    I32EnumAttrCase<"expert_major", 1>,
    I32EnumAttrCase<"slab", 2>]> {
  let cppNamespace = "::mlir::moe";
  let genSpecializedAttr = 0;
  let description = [{
    - `rank_major`: one row per (token, destination rank), contiguous, ordered
      by sender (dispatch_s1).
    - `expert_major`: one row per (token, local expert), grouped by expert,
      groups aligned (dispatch_s4).
    - `slab`: like rank_major, but the rows of each sender start at a fixed
      place, so that no counts are exchanged first (dispatch_s5).
  }];
}
def MoE_LayoutAttr : EnumAttr<MoE_Dialect, MoE_LayoutEnum, "layout"> {
  let assemblyFormat = "`<` $value `>`";
}

def MoE_OrderEnum : I32EnumAttr<"Order", "order of the rows of one sender", [
    I32EnumAttrCase<"token", 0>, I32EnumAttrCase<"expert", 1>]> {
  let cppNamespace = "::mlir::moe";
  let genSpecializedAttr = 0;
  let description = [{
    `token` orders the rows of a sender by token, `expert` by (expert, token)
    (dispatch_s3).
  }];
}
def MoE_OrderAttr : EnumAttr<MoE_Dialect, MoE_OrderEnum, "order"> {
  let assemblyFormat = "`<` $value `>`";
}

def MoE_OverflowEnum : I32EnumAttr<"Overflow",
    "what happens to rows beyond the capacity", [
    I32EnumAttrCase<"error", 0>, I32EnumAttrCase<"drop", 1>]> {
  let cppNamespace = "::mlir::moe";
  let genSpecializedAttr = 0;
  let description = [{
    `error` ends the entry with an error on every rank before any row is
    written; `drop` leaves out the rows that do not fit (dispatch_s9).
  }];
}
def MoE_OverflowAttr : EnumAttr<MoE_Dialect, MoE_OverflowEnum, "overflow"> {
  let assemblyFormat = "`<` $value `>`";
}

def MoE_PaddingEnum : I32EnumAttr<"Padding",
    "what received rows hold that no token was sent to", [
    I32EnumAttrCase<"none", 0>, I32EnumAttrCase<"zero", 1>]> {
  let cppNamespace = "::mlir::moe";
  let genSpecializedAttr = 0;
  let description = [{
    `none` leaves them as they are (dispatch_s7); `zero` writes zeros, and -1 for
    their expert ids and sources (dispatch_s12).
  }];
}
def MoE_PaddingAttr : EnumAttr<MoE_Dialect, MoE_PaddingEnum, "padding"> {
  let assemblyFormat = "`<` $value `>`";
}

def MoE_ReduceEnum : I32EnumAttr<"Reduce",
    "what a combine makes of the rows of a token", [
    I32EnumAttrCase<"sum", 0>, I32EnumAttrCase<"none", 1>]> {
  let cppNamespace = "::mlir::moe";
  let genSpecializedAttr = 0;
  let description = [{
    `sum` adds them up (combine_s1); `none` returns each row in its slot
    (combine_s7).
  }];
}
def MoE_ReduceAttr : EnumAttr<MoE_Dialect, MoE_ReduceEnum, "reduce"> {
  let assemblyFormat = "`<` $value `>`";
}

def MoE_PartialsEnum : I32EnumAttr<"Partials",
    "type of the sums of the rows that one rank holds", [
    I32EnumAttrCase<"f32", 0>, I32EnumAttrCase<"element", 1>]> {
  let cppNamespace = "::mlir::moe";
  let genSpecializedAttr = 0;
  let description = [{
    A combine adds up the rows of each rank before it adds the ranks
    (combine_s1). `f32` keeps these partial sums as they are; `element` rounds
    them to the element type of the rows (combine_s8), which makes them as short
    as a row where they travel, and the result less exact.
  }];
}
def MoE_PartialsAttr : EnumAttr<MoE_Dialect, MoE_PartialsEnum, "partials"> {
  let assemblyFormat = "`<` $value `>`";
}

def MoE_AlgorithmEnum : I32EnumAttr<"Algorithm", "how a combine moves rows", [
    I32EnumAttrCase<"pull", 0>, I32EnumAttrCase<"push", 1>]> {
  let cppNamespace = "::mlir::moe";
  let genSpecializedAttr = 0;
  let description = [{
    Set by `moe-plan`.
    - `pull`: the owner of a token reads its rows from the ranks that hold them,
      along `send_row`, and adds them as they come.
    - `push`: the ranks that hold rows put them back along `recv_src_idx` into
      one slot per (token, rank); the owner adds the slots afterwards. With
      `layout = expert_major` the owner asks the ranks for the rows, and each puts
      the sum of those that it holds. Not with `reduce = none` (combine_c10).
  }];
}
def MoE_AlgorithmAttr : EnumAttr<MoE_Dialect, MoE_AlgorithmEnum, "algorithm"> {
  let assemblyFormat = "`<` $value `>`";
}

def MoE_DispatchAlgorithmEnum : I32EnumAttr<"DispatchAlgorithm",
    "where the rows of a token for several experts are made", [
    I32EnumAttrCase<"direct", 0>, I32EnumAttrCase<"expand", 1>]> {
  let cppNamespace = "::mlir::moe";
  let genSpecializedAttr = 0;
  let description = [{
    Results do not depend on it (dispatch_s13).
    - `direct`: the rank that has a token puts each of its rows.
    - `expand`: it puts one row to each rank, and that rank copies the row to its
      other places while more rows arrive. Only with `layout = expert_major`
      (dispatch_c14), and only kernels do it.
  }];
}
def MoE_DispatchAlgorithmAttr
    : EnumAttr<MoE_Dialect, MoE_DispatchAlgorithmEnum, "dispatch_algorithm"> {
  let assemblyFormat = "`<` $value `>`";
}

def MoE_ScheduleEnum : I32EnumAttr<"Schedule",
    "how long the messages of an op are", [
    I32EnumAttrCase<"exact", 0>, I32EnumAttrCase<"padded", 1>]> {
  let cppNamespace = "::mlir::moe";
  let genSpecializedAttr = 0;
  let description = [{
    Set by `moe-plan{transport=messages}`. Of no meaning where ranks write to each
    other's memory. It makes no difference to results (coll_s6).
    - `exact`: as long as their rows, of which a CPU has to know the number.
    - `padded`: with room for a number of rows that is known when the op is
      compiled (coll_s8).
  }];
}
def MoE_ScheduleAttr : EnumAttr<MoE_Dialect, MoE_ScheduleEnum, "schedule"> {
  let assemblyFormat = "`<` $value `>`";
}

def MoE_TransferEnum : I32EnumAttr<"Transfer", "how a kernel moves rows", [
    I32EnumAttrCase<"stores", 0>, I32EnumAttrCase<"bulk", 1>]> {
  let cppNamespace = "::mlir::moe";
  let genSpecializedAttr = 0;
  let description = [{
    - `stores`: 16-byte loads and stores, through registers.
    - `bulk`: bulk copies, through shared memory. Needs sm_90 and rows of a
      multiple of 16 bytes.
  }];
}
def MoE_TransferParameter : EnumParameter<MoE_TransferEnum> {
  let defaultValue = "::mlir::moe::Transfer::stores";
}

def MoE_KernelAttr : AttrDef<MoE_Dialect, "Kernel"> {
  let mnemonic = "kernel";
  let summary = "shape of the kernel of an op";
  let description = [{
    Set by `moe-plan{target=cuda}`.
    - `blocks`: at most so many blocks run. The kernel is persistent; the runtime
      launches fewer when not all fit at once.
    - `threads` per block.
    - `transfer`: how rows move.
    - `stages`: rows in flight per subgroup of 32 threads (combine: tokens per
      block) with `bulk`; of no meaning otherwise.
    - `team`: subgroups that move one token together with `stores`, or shares of
      it that subgroups take one by one (alltoallv: pieces that a row is moved
      in); of no meaning otherwise.

    Example: `#moe.kernel<blocks = 132, threads = 256, transfer = bulk, stages = 2>`

    **Constraints:**
    - `blocks` is at least 1.
    - `threads` is a multiple of 32 from 32 to 1024.
    - `stages` is from 1 to 32.
    - `team` is a power of two that divides `threads` / 32.
  }];
  let parameters = (ins
    DefaultValuedParameter<"int64_t", "132">:$blocks,
    DefaultValuedParameter<"int64_t", "512">:$threads,
    MoE_TransferParameter:$transfer,
    DefaultValuedParameter<"int64_t", "3">:$stages,
    DefaultValuedParameter<"int64_t", "1">:$team);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

//===----------------------------------------------------------------------===//
// Type constraints
//===----------------------------------------------------------------------===//

// types_c1
def MoE_DataElement : AnyTypeOf<[F32, F16, BF16, F8E4M3FN, F8E5M2, I8, I32, I64],
    "f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32 or i64">;
def MoE_ScaleElement : AnyTypeOf<[F32, F16, BF16, I8], "f32, f16, bf16 or i8">;

class MoE_ShapedOf<Type element, int rank, string what>
    : ShapedContainerType<[element],
        And<[Or<[IsTensorTypePred, IsBaseMemRefTypePred]>, HasAnyRankOfPred<[rank]>]>,
        what, "::mlir::ShapedType">;

def MoE_Data : MoE_ShapedOf<MoE_DataElement, 2, "rank-2 tensor or memref">;
def MoE_Scales : MoE_ShapedOf<MoE_ScaleElement, 2, "rank-2 tensor or memref">;
def MoE_TopkIdx : MoE_ShapedOf<AnyTypeOf<[I32, I64]>, 2, "rank-2 tensor or memref">;
def MoE_TopkWeights : MoE_ShapedOf<F32, 2, "rank-2 tensor or memref">;
def MoE_Rows : MoE_ShapedOf<I32, 2, "rank-2 tensor or memref">;
def MoE_Indices : MoE_ShapedOf<I32, 1, "rank-1 tensor or memref">;
def MoE_Weights : MoE_ShapedOf<F32, 1, "rank-1 tensor or memref">;
def MoE_PeerBlocks : MoE_ShapedOf<I32, 4, "rank-4 tensor or memref">;
def MoE_PeerRows : MoE_ShapedOf<I32, 2, "rank-2 tensor or memref">;
def MoE_Blocks : ShapedContainerType<[MoE_DataElement],
    And<[Or<[IsTensorTypePred, IsBaseMemRefTypePred]>, HasAnyRankOfPred<[1, 2, 3, 4, 5, 6, 7, 8]>]>,
    "tensor or memref of rank 1 to 8", "::mlir::ShapedType">;

def MoE_PositiveI64 : ConfinedAttr<I64Attr, [IntPositive]>;
def MoE_NumExperts : ConfinedAttr<I64Attr, [IntPositive, IntMaxValue<2147483647>]>;

#endif // MOE_MLIR_DIALECT_MOE_IR_MOEBASE_TD
