//===- AllToAllvOp.td - moe.alltoallv ----------------------*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_MOE_IR_ALLTOALLVOP_TD
#define MOE_MLIR_DIALECT_MOE_IR_ALLTOALLVOP_TD

include "moe-mlir/Dialect/MoE/IR/CollectiveOp.td"

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

#endif // MOE_MLIR_DIALECT_MOE_IR_ALLTOALLVOP_TD
