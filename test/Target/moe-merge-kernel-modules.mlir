// RUN: moe-opt %s -split-input-file --moe-merge-kernel-modules | FileCheck %s

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

// -----

// Equal kernels become one; another constant, another attribute, or an op of an
// exchange keeps them apart.
// CHECK: gpu.module @moe_kernels {
// CHECK: gpu.func @a(
// CHECK: gpu.func @other_constant(
// CHECK: gpu.func @other_attribute(
// CHECK: gpu.func @exchange(
// CHECK: gpu.func @exchange_again(
// CHECK-NOT: gpu.func
// CHECK-LABEL: func.func @launches(
// CHECK: gpu.launch_func @moe_kernels::@a blocks
// CHECK: gpu.launch_func @moe_kernels::@a blocks
// CHECK: gpu.launch_func @moe_kernels::@other_constant blocks
// CHECK: gpu.launch_func @moe_kernels::@other_attribute blocks
// CHECK: gpu.launch_func @moe_kernels::@exchange blocks
// CHECK: gpu.launch_func @moe_kernels::@exchange_again blocks
module attributes {gpu.container_module} {
  gpu.module @a {
    gpu.func @k(%m: memref<4xf32>, %i: index) kernel {
      %c = arith.constant 1.0 : f32
      memref.store %c, %m[%i] : memref<4xf32>
      gpu.return
    }
  }
  gpu.module @b {
    gpu.func @k(%x: memref<4xf32>, %at: index) kernel {
      %one = arith.constant 1.0 : f32
      memref.store %one, %x[%at] : memref<4xf32>
      gpu.return
    }
  }
  gpu.module @other_constant {
    gpu.func @k(%m: memref<4xf32>, %i: index) kernel {
      %c = arith.constant 2.0 : f32
      memref.store %c, %m[%i] : memref<4xf32>
      gpu.return
    }
  }
  gpu.module @other_attribute {
    gpu.func @k(%m: memref<4xf32>, %i: index) kernel
        attributes {known_block_size = array<i32: 32, 1, 1>} {
      %c = arith.constant 1.0 : f32
      memref.store %c, %m[%i] : memref<4xf32>
      gpu.return
    }
  }
  gpu.module @exchange {
    gpu.func @k() kernel {
      symm.phase "put"
      gpu.return
    }
  }
  gpu.module @exchange_again {
    gpu.func @k() kernel {
      symm.phase "put"
      gpu.return
    }
  }
  func.func @launches(%m: memref<4xf32>, %i: index) {
    gpu.launch_func @a::@k blocks in (%i, %i, %i) threads in (%i, %i, %i) args(%m : memref<4xf32>, %i : index)
    gpu.launch_func @b::@k blocks in (%i, %i, %i) threads in (%i, %i, %i) args(%m : memref<4xf32>, %i : index)
    gpu.launch_func @other_constant::@k blocks in (%i, %i, %i) threads in (%i, %i, %i) args(%m : memref<4xf32>, %i : index)
    gpu.launch_func @other_attribute::@k blocks in (%i, %i, %i) threads in (%i, %i, %i) args(%m : memref<4xf32>, %i : index)
    gpu.launch_func @exchange::@k blocks in (%i, %i, %i) threads in (%i, %i, %i)
    gpu.launch_func @exchange_again::@k blocks in (%i, %i, %i) threads in (%i, %i, %i)
    return
  }
}
