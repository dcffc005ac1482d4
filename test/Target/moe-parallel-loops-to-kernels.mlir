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

// A loop around parallel ones stays where it is.
// CHECK-LABEL: func.func @loop_around
// CHECK: scf.for
// CHECK-NOT: scf.for
// CHECK: gpu.launch blocks({{.*}} threads({{.*}}) in (%{{.*}} = %c256{{[_0-9]*}},
// CHECK-NOT: scf.parallel
// CHECK: gpu.terminator
// CHECK-NEXT: }
// CHECK-NEXT: }
// CHECK-NEXT: return
func.func @loop_around(%x: memref<1024xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c1024 = arith.constant 1024 : index
  scf.for %i = %c0 to %n step %c1 {
    scf.parallel (%j) = (%c0) to (%c1024) step (%c1) {
      %v = memref.load %x[%j] : memref<1024xf32>
      %w = arith.mulf %v, %v : f32
      memref.store %w, %x[%j] : memref<1024xf32>
    }
  }
  return
}

// But not where the host would have to read in each round.
// CHECK-LABEL: func.func @loop_that_reads
// CHECK: gpu.launch blocks({{.*}}) in (%{{.*}} = %c1{{[_0-9]*}}, {{.*}} threads({{.*}}) in (%{{.*}} = %c1{{[_0-9]*}},
// CHECK: scf.for
func.func @loop_that_reads(%x: memref<1024xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c1024 = arith.constant 1024 : index
  scf.for %i = %c0 to %n step %c1 {
    %f = memref.load %x[%i] : memref<1024xf32>
    scf.parallel (%j) = (%c0) to (%c1024) step (%c1) {
      %v = memref.load %x[%j] : memref<1024xf32>
      %w = arith.mulf %v, %f : f32
      memref.store %w, %x[%j] : memref<1024xf32>
    }
  }
  return
}
