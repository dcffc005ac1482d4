// RUN: moe-opt %s --pass-pipeline="builtin.module(func.func(moe-parallel-loops-to-kernels))" | FileCheck %s

// Iterations are numbered and spread over the threads of a grid of any size.
// CHECK-LABEL: func.func @fill(
// CHECK-SAME: %[[M:.*]]: memref<?x8xf32>, %[[N:.*]]: index)
// CHECK: gpu.launch blocks(%[[B:.*]], %{{.*}}, %{{.*}}) in (%[[G:.*]] = %{{.*}}, %{{.*}} = %{{.*}}, %{{.*}} = %{{.*}}) threads(%[[T:.*]], %{{.*}}, %{{.*}}) in
// CHECK: %[[W:.*]] = arith.constant 256
// CHECK: %[[BASE:.*]] = arith.muli %[[B]], %[[W]]
// CHECK: %[[FIRST:.*]] = arith.addi %[[BASE]], %[[T]]
// CHECK: %[[STEP:.*]] = arith.muli %[[G]], %[[W]]
// CHECK: scf.for %[[I:.*]] = %[[FIRST]] to %{{.*}} step %[[STEP]]
// CHECK: arith.remui %[[I]]
// CHECK: arith.divui %[[I]]
// CHECK: memref.store
// CHECK: gpu.terminator
func.func @fill(%m: memref<?x8xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %v = arith.constant 1.0 : f32
  scf.parallel (%i, %j) = (%c0, %c0) to (%n, %c8) step (%c1, %c1) {
    memref.store %v, %m[%i, %j] : memref<?x8xf32>
    scf.reduce
  }
  return
}

// A load whose value the host needs stays; a store becomes a kernel; a loop
// that allocates or launches stays on the host.
// CHECK-LABEL: func.func @host
// CHECK-NEXT: %[[L:.*]] = memref.load
// CHECK: scf.for
// CHECK-NEXT: memref.alloc
// CHECK: gpu.launch
// CHECK-NEXT: memref.store %[[L]]
// CHECK-NEXT: gpu.terminator
// CHECK: memref.dealloc
func.func @host(%m: memref<?xindex>, %i: index) {
  %n = memref.load %m[%i] : memref<?xindex>
  scf.for %j = %i to %n step %n {
    %t = memref.alloc() : memref<4xindex>
    memref.store %n, %t[%i] : memref<4xindex>
    memref.dealloc %t : memref<4xindex>
  }
  return
}
