// RUN: moe-opt %s --moe-merge-kernel-modules | FileCheck %s

// Kernels of the same name stay apart.
// CHECK: gpu.module @moe_kernels {
// CHECK: gpu.func @a_kernel(%{{.*}}: index) kernel
// CHECK: gpu.func @a_kernel_0() kernel
// CHECK-NOT: gpu.module
// CHECK: func.func @a
// CHECK: gpu.launch_func @moe_kernels::@a_kernel_0
// CHECK: gpu.launch_func @moe_kernels::@a_kernel blocks
module attributes {gpu.container_module} {
  gpu.module @a_kernel {
    gpu.func @a_kernel(%i: index) kernel { gpu.return }
  }
  gpu.module @a_kernel_0 {
    gpu.func @a_kernel() kernel { gpu.return }
  }
  func.func @a(%i: index) {
    gpu.launch_func @a_kernel_0::@a_kernel blocks in (%i, %i, %i) threads in (%i, %i, %i)
    gpu.launch_func @a_kernel::@a_kernel blocks in (%i, %i, %i) threads in (%i, %i, %i) args(%i : index)
    return
  }
}
