// Arguments and results of entries that are marked symmetric: symmetric_s1,
// symmetric_s2.
//
// RUN: moe-opt %s --moe-place-symmetric-buffers --remarks-filter=moe-place-symmetric-buffers \
// RUN:   > %t 2>&1
// RUN: FileCheck %s < %t --implicit-check-not=remark:
// RUN: FileCheck %s --check-prefix=MARKS --implicit-check-not=moe.symmetric < %t
// A second run finds nothing to do.
// RUN: moe-opt %s --moe-place-symmetric-buffers --moe-place-symmetric-buffers \
// RUN:   | FileCheck %s

// MARKS: module
shard.grid @ep(shape = 2)

// Read where the caller keeps it, also in another shape.
// CHECK-LABEL: func.func @arguments(
// CHECK-SAME: %[[Y:[a-z0-9_]+]]: memref<6x4xf32>, %[[W:[a-z0-9_]+]]: memref<2x3xf32>,
// CHECK-NOT: symm.alloc
// CHECK: %[[FLAT:[a-z0-9_]+]] = memref.collapse_shape %[[W]]
// CHECK-DAG: %[[YS:[a-z0-9_]+]] = memref.memory_space_cast %[[Y]] : memref<6x4xf32> to memref<6x4xf32, #symm.space>
// CHECK-DAG: %[[WS:[a-z0-9_]+]] = memref.memory_space_cast %[[FLAT]] : memref<6xf32> to memref<6xf32, #symm.space>
// CHECK: moe.combine %[[YS]], {{.*}} weights(%[[WS]])
// CHECK-NOT: memref.copy
// CHECK: return
func.func @arguments(%y: memref<6x4xf32> {moe.symmetric},
                     %w: memref<2x3xf32> {moe.symmetric},
                     %rows: memref<3x2xi32>, %src: memref<6xi32>,
                     %n: memref<2xi32>) -> memref<3x4xf32> {
  %out = memref.alloc() : memref<3x4xf32>
  %flat = memref.collapse_shape %w [[0, 1]]
    : memref<2x3xf32> into memref<6xf32>
  moe.combine %y, %rows, %src, %n weights(%flat) outs(%out) on @ep {
      num_experts = 4 : i64, algorithm = #moe.algorithm<pull>}
    : (memref<6x4xf32>, memref<3x2xi32>, memref<6xi32>, memref<2xi32>,
       memref<6xf32>, memref<3x4xf32>) -> ()
  return %out : memref<3x4xf32>
}

// Both results stay where they are, in the workspace or in memory of the
// caller's, though no peer touches the counts.
// CHECK-LABEL: func.func @results(
// CHECK: %[[RS:[a-z0-9_]+]] = symm.alloc persistent result 1 : memref<6x4xf32, #symm.space>
// CHECK: %[[R:[a-z0-9_]+]] = memref.memory_space_cast %[[RS]] : memref<6x4xf32, #symm.space> to memref<6x4xf32>
// CHECK: %[[CS:[a-z0-9_]+]] = symm.alloc persistent result 0 : memref<2xi32, #symm.space>
// CHECK: %[[C:[a-z0-9_]+]] = memref.memory_space_cast %[[CS]]
// CHECK: moe.alltoallv {{.*}} outs(%[[RS]], %[[C]]) on @ep
// CHECK-NOT: memref.copy
// CHECK-NOT: symm.free
// CHECK: return %[[C]], %[[R]]
func.func @results(%send: memref<3x4xf32>, %n: memref<2xi32>)
    -> (memref<2xi32> {moe.symmetric}, memref<6x4xf32> {moe.symmetric}) {
  %recv = memref.alloc() : memref<6x4xf32>
  %counts = memref.alloc() : memref<2xi32>
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<3x4xf32>, memref<2xi32>, memref<6x4xf32>, memref<2xi32>) -> ()
  return %counts, %recv : memref<2xi32>, memref<6x4xf32>
}

// Received and sent back from the same place, and returned as well.
// CHECK-LABEL: func.func @received_and_combined(
// CHECK-COUNT-1: symm.alloc
// CHECK-NOT: symm.alloc
// CHECK: moe.dispatch {{.*}} outs(%[[SYMM:[a-z0-9_]+]]) on @ep
// CHECK: moe.combine %[[SYMM]],
// CHECK-NOT: symm.free
// CHECK: return
func.func @received_and_combined(
    %x: memref<3x4xf32>, %rows: memref<3x2xi32>, %src: memref<6xi32>,
    %n: memref<2xi32>) -> (memref<6x4xf32> {moe.symmetric}, memref<3x4xf32>) {
  %recv = memref.alloc() : memref<6x4xf32>
  %out = memref.alloc() : memref<3x4xf32>
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 4 : i64}
    : (memref<3x4xf32>, memref<3x2xi32>, memref<6x4xf32>) -> ()
  moe.combine %recv, %rows, %src, %n outs(%out) on @ep {
      num_experts = 4 : i64, algorithm = #moe.algorithm<pull>}
    : (memref<6x4xf32>, memref<3x2xi32>, memref<6xi32>, memref<2xi32>,
       memref<3x4xf32>) -> ()
  return %recv, %out : memref<6x4xf32>, memref<3x4xf32>
}
