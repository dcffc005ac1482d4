// RUN: moe-opt %s -split-input-file -verify-diagnostics --moe-use-runtime-launch | FileCheck %s

// CHECK: llvm.mlir.global internal constant @moe_kernel_name_k("k\00")
module attributes {gpu.container_module} {
  gpu.module @moe_kernels {
    // CHECK: gpu.func @k
    gpu.func @k(%m: memref<8xf32>, %v: i64) kernel {
      %c0 = arith.constant 0 : index
      // CHECK: memref.load
      %0 = memref.load %m[%c0] : memref<8xf32>
      gpu.return
    }
  }
  // Parameters in slots of the frame: 5 of the descriptor and the value.
  // CHECK-LABEL: func.func @launch
  // CHECK-DAG: %[[SIX:.*]] = llvm.mlir.constant(6 : i64)
  // CHECK-DAG: %[[SLOTS:.*]] = llvm.alloca %{{.*}} x !llvm.ptr
  // CHECK: scf.for
  // CHECK-NOT: llvm.alloca
  // CHECK: llvm.store %{{.*}}, %{{.*}} : i64, !llvm.ptr
  // CHECK: %[[SHARED:.*]] = llvm.mlir.constant(0 : i64)
  // CHECK: %[[NAME:.*]] = llvm.mlir.addressof @moe_kernel_name_k
  // CHECK: llvm.call @moert_launch(%[[NAME]], %{{.*}}, %{{.*}}, %[[SHARED]], %{{.*}})
  func.func @launch(%m: memref<8xf32>, %v: i64, %n: index) {
    %c1 = arith.constant 1 : index
    %c256 = arith.constant 256 : index
    scf.for %i = %c1 to %n step %c1 {
      gpu.launch_func @moe_kernels::@k blocks in (%n, %c1, %c1) threads in (%c256, %c1, %c1)
        args(%m : memref<8xf32>, %v : i64)
    }
    return
  }
  // CHECK-LABEL: func.func @copy
  // CHECK: %[[BYTES:.*]] = llvm.mul
  // CHECK: llvm.call @moert_copy(%{{.*}}, %{{.*}}, %[[BYTES]]) : (!llvm.ptr, !llvm.ptr, i64) -> ()
  func.func @copy(%a: memref<?xf32>, %b: memref<?xf32>) {
    memref.copy %a, %b : memref<?xf32> to memref<?xf32>
    return
  }
  // CHECK-LABEL: func.func @read
  // CHECK: %[[SLOT:.*]] = llvm.alloca %{{.*}} x i32
  // CHECK: llvm.call @moert_read(%[[SLOT]], %{{.*}}, %{{.*}}) : (!llvm.ptr, !llvm.ptr, i64) -> ()
  // CHECK: llvm.load %[[SLOT]] : !llvm.ptr -> i32
  func.func @read(%a: memref<?xi32>, %i: index) -> i32 {
    %0 = memref.load %a[%i] : memref<?xi32>
    return %0 : i32
  }
}

// -----

module attributes {gpu.container_module} {
  gpu.module @moe_kernels {
    gpu.func @k() kernel { gpu.return }
  }
  func.func @launch(%n: index) {
    // expected-error @+1 {{'gpu.launch_func' op expects a grid and blocks of one dimension}}
    gpu.launch_func @moe_kernels::@k blocks in (%n, %n, %n) threads in (%n, %n, %n)
    return
  }
}
