// Constants are folded as exactly as generated code computes: the C library
// (glibc 2.36) gives ...36E-11, ...528 and ...793 here, two units off.
// RUN: moe-opt %s --canonicalize | FileCheck %s
// RUN: moe-compile %s --emit=symm | FileCheck %s

// CHECK: dense<[1.44940154E-11, -0.0302332491, 0.430517733]>
func.func @constants() -> tensor<3xf32> {
  %a = arith.constant 0x4098CCDA : f32
  %b = arith.constant 0x3F6EC8EA : f32
  %c = arith.constant 0x3EEBCADB : f32
  %0 = math.erfc %a : f32
  %1 = math.log10 %b : f32
  %2 = math.tanh %c : f32
  %3 = tensor.from_elements %0, %1, %2 : tensor<3xf32>
  return %3 : tensor<3xf32>
}
