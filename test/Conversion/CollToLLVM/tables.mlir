// Tables in host memory are copied and cleared there, on every target; the runtime checks one (coll_c9,
// coll_s11).
//
// RUN: moe-opt %s --convert-coll-to-llvm | FileCheck %s
// RUN: moe-opt %s --convert-coll-to-llvm=target=cuda | FileCheck %s

// CHECK-LABEL: func.func @keep
// CHECK: %[[BYTES:.*]] = llvm.mlir.constant(64 : i64)
// CHECK: "llvm.intr.memcpy"(%[[TO:.*]], %[[FROM:.*]], %[[BYTES]]) <{isVolatile = false}>
func.func @keep(%tables: memref<8x4xi32>, %kept: memref<4x4xi32>) {
  %part = memref.subview %tables[4, 0] [4, 4] [1, 1]
    : memref<8x4xi32> to memref<4x4xi32, strided<[4, 1], offset: 16>>
  coll.copy_table %part to %kept
    : memref<4x4xi32, strided<[4, 1], offset: 16>> to memref<4x4xi32>
  return
}

// CHECK-LABEL: func.func @clear
// CHECK: %[[ONES:.*]] = llvm.mlir.constant(-1 : i8)
// CHECK: %[[BYTES:.*]] = llvm.mlir.constant(64 : i64)
// CHECK: "llvm.intr.memset"(%{{.*}}, %[[ONES]], %[[BYTES]]) <{isVolatile = false}>
func.func @clear(%table: memref<4x4xi32>) {
  coll.clear_table %table : memref<4x4xi32>
  return
}

// CHECK-LABEL: func.func @end
// CHECK-DAG: %[[RANKS:.*]] = llvm.mlir.constant(4 : i64)
// CHECK-DAG: %[[LIMIT:.*]] = builtin.unrealized_conversion_cast %{{.*}} : index to i64
// CHECK: llvm.call @moert_table_end(%{{.*}}, %{{.*}}, %[[RANKS]], %[[LIMIT]]) : (!llvm.ptr, !llvm.ptr, i64, i64) -> i64
func.func @end(%starts: memref<4xi32>, %counts: memref<4xi32>, %limit: index)
    -> index {
  %end = coll.table_end %starts[%counts] limit %limit : memref<4xi32>
  return %end : index
}
