// Calls of the runtime; sizes in bytes.
//
// RUN: moe-opt %s --convert-coll-to-llvm --split-input-file --verify-diagnostics | FileCheck %s

// CHECK-DAG: llvm.func @moert_all_gather(!llvm.ptr, !llvm.ptr, i64)
// CHECK-DAG: llvm.func @moert_all_to_all(!llvm.ptr, !llvm.ptr, i64)
// CHECK-DAG: llvm.func @moert_exchange_begin()
// CHECK-DAG: llvm.func @moert_exchange_rows(!llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr, i64)
// CHECK-DAG: llvm.func @moert_exchange_end()

// CHECK-LABEL: func.func @gather
// CHECK: %[[BYTES:.*]] = llvm.mlir.constant(32 : i64)
// CHECK: llvm.call @moert_all_gather(%{{.*}}, %{{.*}}, %[[BYTES]])
// CHECK-NOT: coll.
func.func @gather(%one: memref<1x8xi32>, %all: memref<4x8xi32>) {
  coll.all_gather %one, %all : memref<1x8xi32> to memref<4x8xi32>
  return
}

// A part per rank.
// CHECK-LABEL: func.func @to_all
// CHECK: %[[BYTES:.*]] = llvm.mlir.constant(24 : i64)
// CHECK: llvm.call @moert_all_to_all(%{{.*}}, %{{.*}}, %[[BYTES]])
func.func @to_all(%mine: memref<4x3x2xi32>, %theirs: memref<4x3x2xi32>) {
  coll.all_to_all %mine, %theirs : memref<4x3x2xi32> to memref<4x3x2xi32>
  return
}

// The offset of a buffer is part of its address.
// CHECK-LABEL: func.func @exchange
// CHECK: llvm.call @moert_exchange_begin()
// CHECK: %[[ROW:.*]] = llvm.mlir.constant(128 : i64)
// CHECK: llvm.call @moert_exchange_rows({{.*}}, %[[ROW]])
// CHECK: %[[EIGHT:.*]] = llvm.mlir.constant(8 : index)
// CHECK: %[[SHIFTED:.*]] = llvm.getelementptr %{{.*}}[%[[EIGHT]]] : (!llvm.ptr, i64) -> !llvm.ptr, f32
// CHECK: %[[ROW:.*]] = llvm.mlir.constant(4 : i64)
// CHECK: llvm.call @moert_exchange_rows(%[[SHIFTED]], {{.*}}, %[[ROW]])
// CHECK: llvm.call @moert_exchange_end()
// CHECK-NEXT: return
func.func @exchange(%x: memref<?x64xbf16>, %recv: memref<512x64xbf16>,
                    %s: memref<?xf32, strided<[1], offset: 8>>,
                    %t: memref<512xf32>, %from: memref<4xi32>,
                    %n: memref<4xi32>, %to: memref<4xi32>, %m: memref<4xi32>) {
  coll.exchange {
    coll.rows %x[%from, %n] to %recv[%to, %m]
      : memref<?x64xbf16> to memref<512x64xbf16> by memref<4xi32>
    coll.rows %s[%from, %n] to %t[%to, %m]
      : memref<?xf32, strided<[1], offset: 8>> to memref<512xf32>
        by memref<4xi32>
  }
  return
}

// -----

// expected-error @+1 {{'func.func' op takes the name of a runtime function; expects a declaration of type '!llvm.func<void ()>'}}
func.func private @moert_exchange_end(%x: i32)
