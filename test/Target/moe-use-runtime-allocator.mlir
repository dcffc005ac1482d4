// RUN: moe-opt %s -split-input-file --moe-use-runtime-allocator | FileCheck %s

// CHECK-NOT: _mlir_memref_to_llvm
// CHECK-DAG: llvm.func @moert_alloc(i64, i64) -> (!llvm.ptr {llvm.noalias})
// CHECK-DAG: llvm.func @moert_free(!llvm.ptr)
llvm.func @_mlir_memref_to_llvm_alloc(i64) -> !llvm.ptr
llvm.func @_mlir_memref_to_llvm_aligned_alloc(i64, i64) -> !llvm.ptr
llvm.func @_mlir_memref_to_llvm_free(!llvm.ptr)
// CHECK-LABEL: llvm.func @f(
// CHECK-SAME: %[[BYTES:.*]]: i64, %[[UNKNOWN:.*]]: i64)
llvm.func @f(%bytes: i64, %unknown: i64) {
  %c16 = llvm.mlir.constant(16 : i64) : i64
  %c256 = llvm.mlir.constant(256 : i64) : i64
  // CHECK: %[[C256:.*]] = llvm.mlir.constant(256 : i64)
  // CHECK: %[[MIN:.*]] = llvm.mlir.constant(64 : i64)
  // CHECK: %[[PTR:.*]] = llvm.call @moert_alloc(%[[BYTES]], %[[MIN]])
  %0 = llvm.call @_mlir_memref_to_llvm_alloc(%bytes) : (i64) -> !llvm.ptr
  // CHECK: %[[MIN2:.*]] = llvm.mlir.constant(64 : i64)
  // CHECK: llvm.call @moert_alloc(%[[BYTES]], %[[MIN2]])
  %1 = llvm.call @_mlir_memref_to_llvm_aligned_alloc(%c16, %bytes) : (i64, i64) -> !llvm.ptr
  // CHECK: llvm.call @moert_alloc(%[[BYTES]], %[[C256]])
  %2 = llvm.call @_mlir_memref_to_llvm_aligned_alloc(%c256, %bytes) : (i64, i64) -> !llvm.ptr
  // CHECK: llvm.call @moert_alloc(%[[BYTES]], %[[UNKNOWN]])
  %3 = llvm.call @_mlir_memref_to_llvm_aligned_alloc(%unknown, %bytes) : (i64, i64) -> !llvm.ptr
  // CHECK: llvm.call @moert_free(%[[PTR]])
  llvm.call @_mlir_memref_to_llvm_free(%0) : (!llvm.ptr) -> ()
  llvm.return
}

// -----

// CHECK-LABEL: module
// CHECK-NOT: moert
llvm.func @nothing() {
  llvm.return
}
