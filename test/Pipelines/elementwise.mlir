// RUN: moe-opt %s --moe-to-host | FileCheck %s

// Arithmetic on whole tensors is ordinary input between two exchanges.
// CHECK: llvm.func internal @local.scale
// CHECK: llvm.fmul
// CHECK: llvm.fadd
func.func @scale(%x: tensor<4x8xf32>, %y: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %0 = arith.mulf %x, %y : tensor<4x8xf32>
  %1 = arith.addf %0, %x : tensor<4x8xf32>
  return %1 : tensor<4x8xf32>
}
