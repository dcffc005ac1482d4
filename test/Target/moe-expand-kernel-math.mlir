// RUN: moe-opt %s --moe-expand-kernel-math | FileCheck %s

// LLVM's conversion of a float to i1 gives the opposite in PTX.
// CHECK-LABEL: gpu.func @to_bool
// CHECK:       %[[U:.*]] = arith.fptoui %{{.*}} : f32 to i32
// CHECK:       arith.trunci %[[U]] : i32 to i1
// CHECK:       %[[S:.*]] = arith.fptosi %{{.*}} : vector<4xf64> to vector<4xi32>
// CHECK:       arith.trunci %[[S]] : vector<4xi32> to vector<4xi1>
// CHECK:       arith.fptoui %{{.*}} : f32 to i8
// Host code is left alone.
// CHECK-LABEL: func.func @host
// CHECK:       arith.fptoui %{{.*}} : f32 to i1
gpu.module @kernels {
  gpu.func @to_bool(%x: f32, %v: vector<4xf64>, %b: memref<i1>, %w: memref<vector<4xi1>>, %i: memref<i8>) kernel {
    %0 = arith.fptoui %x : f32 to i1
    %1 = arith.fptosi %v : vector<4xf64> to vector<4xi1>
    %2 = arith.fptoui %x : f32 to i8
    memref.store %0, %b[] : memref<i1>
    memref.store %1, %w[] : memref<vector<4xi1>>
    memref.store %2, %i[] : memref<i8>
    gpu.return
  }
}
func.func @host(%x: f32) -> i1 {
  %0 = arith.fptoui %x : f32 to i1
  return %0 : i1
}
