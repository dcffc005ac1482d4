// A table that does not depend on data is a constant of the artifact, on all
// targets; equal ones are one.
//
// RUN: moe-opt %s --convert-coll-to-llvm | FileCheck %s
// RUN: moe-opt %s --convert-coll-to-llvm=target=cuda | FileCheck %s

// CHECK-DAG: llvm.mlir.global internal constant @[[$STARTS:moe_table_[0-9a-f]+]](dense<[0, 16, 32, 48]> : tensor<4xi32>) {{.*}}: !llvm.array<4 x i32>
// CHECK-DAG: llvm.mlir.global internal constant @[[$COUNTS:moe_table_[0-9a-f]+]](dense<16> : tensor<4xi32>) {{.*}}: !llvm.array<4 x i32>
// CHECK-NOT: llvm.mlir.global

// CHECK-LABEL: func.func @table
// CHECK-DAG: %[[S:.*]] = llvm.mlir.addressof @[[$STARTS]]
// CHECK-DAG: %[[C:.*]] = llvm.mlir.addressof @[[$COUNTS]]
// CHECK: llvm.call @moert_exchange_rows
func.func @table(%x: memref<64x4xf32>, %recv: memref<64x4xf32>) {
  %starts = coll.table [0, 16, 32, 48] : memref<4xi32>
  %counts = coll.table [16, 16, 16, 16] : memref<4xi32>
  %same = coll.table [16, 16, 16, 16] : memref<4xi32>
  coll.exchange {
    coll.rows %x[%starts, %counts] to %recv[%starts, %same]
      : memref<64x4xf32> to memref<64x4xf32> by memref<4xi32>
  }
  return
}
