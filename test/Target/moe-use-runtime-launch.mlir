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

// What a kernel does not use is not passed: of a memref of known shape its address alone.
// Two launches share the kernel.
module attributes {gpu.container_module} {
  gpu.module @moe_kernels {
    // CHECK: llvm.func @k(%[[ADDRESS:.*]]: !llvm.ptr, %[[VALUE:.*]]: i64 {llvm.noundef}) attributes {gpu.kernel, nvvm.kernel} {
    // CHECK: llvm.store %[[VALUE]], %[[ADDRESS]]
    llvm.func @k(%allocated: !llvm.ptr, %aligned: !llvm.ptr, %offset: i64, %size: i64, %stride: i64,
                 %unused: f32, %v: i64 {llvm.noundef}, %last: i32)
        attributes {gpu.kernel, nvvm.kernel} {
      llvm.store %v, %aligned : i64, !llvm.ptr
      llvm.return
    }
  }
  // CHECK-LABEL: func.func @launch
  // CHECK-SAME: %[[M:.*]]: memref<8xf32>, %[[F:.*]]: f32, %[[V:.*]]: i64, %[[I:.*]]: i32
  // CHECK-DAG: %[[CAST:.*]] = builtin.unrealized_conversion_cast %[[M]]
  // CHECK-DAG: %[[TWO:.*]] = llvm.mlir.constant(2 : i64)
  // CHECK-DAG: %[[SLOTS:.*]] = llvm.alloca %[[TWO]] x !llvm.ptr
  // CHECK: %[[ALIGNED:.*]] = llvm.extractvalue %[[CAST]][1]
  // CHECK: llvm.store %[[ALIGNED]], %[[SLOT0:.*]] :
  // CHECK: %[[ENTRY0:.*]] = llvm.getelementptr %[[SLOTS]][0]
  // CHECK: llvm.store %[[SLOT0]], %[[ENTRY0]]
  // CHECK: llvm.store %[[V]], %[[SLOT1:.*]] :
  // CHECK: %[[ENTRY1:.*]] = llvm.getelementptr %[[SLOTS]][1]
  // CHECK: llvm.store %[[SLOT1]], %[[ENTRY1]]
  // CHECK-NOT: llvm.store
  // CHECK: llvm.call @moert_launch
  func.func @launch(%m: memref<8xf32>, %f: f32, %v: i64, %i: i32) {
    %c1 = arith.constant 1 : index
    gpu.launch_func @moe_kernels::@k blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1)
      args(%m : memref<8xf32>, %f : f32, %v : i64, %i : i32)
    return
  }
  // CHECK-LABEL: func.func @launch_again
  // CHECK: llvm.alloca %{{.*}} x !llvm.ptr
  // CHECK-COUNT-4: llvm.store
  // CHECK-NOT: llvm.store
  // CHECK: llvm.call @moert_launch
  func.func @launch_again(%m: memref<8xf32>, %f: f32, %v: i64, %i: i32) {
    %c1 = arith.constant 1 : index
    gpu.launch_func @moe_kernels::@k blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1)
      args(%m : memref<8xf32>, %f : f32, %v : i64, %i : i32)
    return
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
