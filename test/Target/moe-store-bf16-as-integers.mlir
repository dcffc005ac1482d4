// RUN: moe-opt %s --moe-store-bf16-as-integers -split-input-file -verify-diagnostics | FileCheck %s

// Constants keep their bits: 1.0 is 0x3F80, and so does a NaN with a payload.
// CHECK-LABEL: llvm.mlir.global internal constant @table
// CHECK-SAME: (dense<[16256, -16383]> : tensor<2xi16>) {{.*}} : !llvm.array<2 x i16>
llvm.mlir.global internal constant @table(dense<[1.0, -2.015625]> : tensor<2xbf16>) : !llvm.array<2 x bf16>

// CHECK-LABEL: llvm.func @choose
// CHECK-SAME: %[[FROM:.*]]: !llvm.ptr, %[[TO:.*]]: !llvm.ptr, %[[WHICH:.*]]: i1, %[[BITS:.*]]: i16
llvm.func @choose(%from: !llvm.ptr, %to: !llvm.ptr, %which: i1, %bits: i16) {
  // CHECK: %[[NAN:.*]] = llvm.mlir.constant(32705 : i16) : i16
  %nan = llvm.mlir.constant(0x7FC1 : bf16) : bf16
  // CHECK: %[[LOADED:.*]] = llvm.load %[[FROM]] : !llvm.ptr -> i16
  %0 = llvm.load %from : !llvm.ptr -> bf16
  // CHECK-NOT: llvm.bitcast
  %1 = llvm.bitcast %bits : i16 to bf16
  // CHECK: %[[A:.*]] = llvm.select %[[WHICH]], %[[LOADED]], %[[BITS]] : i1, i16
  %2 = llvm.select %which, %0, %1 : i1, bf16
  // CHECK: %[[B:.*]] = llvm.select %[[WHICH]], %[[A]], %[[NAN]] : i1, i16
  %3 = llvm.select %which, %2, %nan : i1, bf16
  // CHECK: llvm.store %[[B]], %[[TO]] : i16, !llvm.ptr
  llvm.store %3, %to : bf16, !llvm.ptr
  llvm.return
}

// What an entry looks like from outside keeps its types.
// CHECK-LABEL: llvm.func @entry
// CHECK-SAME: moe.entry = (tensor<4xbf16>) -> tensor<4xbf16>
llvm.func @entry(%x: !llvm.ptr) attributes {moe.entry = (tensor<4xbf16>) -> tensor<4xbf16>} {
  llvm.return
}

// -----

llvm.func @computes(%x: bf16) -> bf16 {
  // expected-error @+1 {{'llvm.fadd' op expects no bf16 operands or results once arithmetic is expanded}}
  %0 = llvm.fadd %x, %x : bf16
  llvm.return %0 : bf16
}
