// A reduction of all elements has threads for its parts; what one thread does
// alone is remarked upon.
// RUN: moe-compile %s --target cuda --emit=mlir -o - | FileCheck %s
// RUN: moe-compile %s --target cuda --emit=ptx -o %t.ptx --remarks=moe-parallel-loops-to-kernels 2>&1 | FileCheck %s --check-prefix=REMARK

// CHECK: @sum_kernel
// CHECK: nvvm.read.ptx.sreg.ctaid.x

// REMARK-NOT: remark
// REMARK: [[#@LINE+12]]:8: remark: [Missed] sequential-kernel | Category:moe-parallel-loops-to-kernels | Function=difference | Remark="runs in one thread: no loop of it is parallel (4096 iterations)"
// REMARK-NOT: remark
func.func @sum(%a: tensor<4096x7168xf32>) -> tensor<f32> {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<f32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<f32>) -> tensor<f32>
  %m = linalg.reduce { arith.addf } ins(%a : tensor<4096x7168xf32>)
      outs(%f : tensor<f32>) dimensions = [0, 1]
  return %m : tensor<f32>
}
func.func @difference(%a: tensor<64x64xf32>, %f: tensor<f32>) -> tensor<f32> {
  // Not associative.
  %m = linalg.reduce { arith.subf } ins(%a : tensor<64x64xf32>)
      outs(%f : tensor<f32>) dimensions = [0, 1]
  return %m : tensor<f32>
}
