// The kernel of an op has the shape that its attribute says.
//
// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @planned(
// CHECK-DAG: %[[BLOCKS:.*]] = arith.constant 24 : index
// CHECK-DAG: %[[THREADS:.*]] = arith.constant 96 : index
// CHECK: gpu.launch blocks({{.*}}) in ({{.*}} = %[[BLOCKS]], {{.*}}) threads({{.*}}) in ({{.*}} = %[[THREADS]],
func.func @planned(%x: memref<64x8xbf16>, %n: memref<4xi32>,
    %recv: memref<256x8xbf16, #symm.space>, %counts: memref<4xi32>) {
  moe.alltoallv %x, %n outs(%recv, %counts) on @ep
      {kernel = #moe.kernel<blocks = 24, threads = 96>}
    : (memref<64x8xbf16>, memref<4xi32>, memref<256x8xbf16, #symm.space>,
       memref<4xi32>) -> ()
  return
}

// CHECK-LABEL: func.func @default(
// CHECK-DAG: %[[BLOCKS:.*]] = arith.constant 132 : index
// CHECK-DAG: %[[THREADS:.*]] = arith.constant 512 : index
// CHECK: gpu.launch blocks({{.*}}) in ({{.*}} = %[[BLOCKS]], {{.*}}) threads({{.*}}) in ({{.*}} = %[[THREADS]],
func.func @default(%x: memref<64x8xbf16>, %n: memref<4xi32>,
    %recv: memref<256x8xbf16, #symm.space>, %counts: memref<4xi32>) {
  moe.alltoallv %x, %n outs(%recv, %counts) on @ep
    : (memref<64x8xbf16>, memref<4xi32>, memref<256x8xbf16, #symm.space>,
       memref<4xi32>) -> ()
  return
}
