// RUN: moe-opt %s --moe-expand-copies | FileCheck %s

// CHECK-LABEL: func.func @strided(
func.func @strided(%a: memref<?x4xf32, strided<[4, 1], offset: ?>>,
                   %b: memref<?x4xf32, strided<[8, 1]>>) {
  // CHECK-NOT: memref.copy
  // CHECK: linalg.generic
  // CHECK-SAME: iterator_types = ["parallel", "parallel"]
  memref.copy %a, %b : memref<?x4xf32, strided<[4, 1], offset: ?>>
                    to memref<?x4xf32, strided<[8, 1]>>
  return
}

// One block of memory each: left to memcpy.
// CHECK-LABEL: func.func @contiguous(
func.func @contiguous(%a: memref<2x4xf32, strided<[4, 1], offset: ?>>,
                      %b: memref<2x4xf32>, %c: memref<?xf32>, %d: memref<?xf32>) {
  // CHECK-COUNT-2: memref.copy
  // CHECK-NOT: linalg
  memref.copy %a, %b : memref<2x4xf32, strided<[4, 1], offset: ?>> to memref<2x4xf32>
  memref.copy %c, %d : memref<?xf32> to memref<?xf32>
  return
}
