// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 64)

// Tables of 128 chunks and 65 keys do not fit the memory of a block: each has its own in
// global memory.
// CHECK-LABEL: func.func @by_rank
// CHECK-DAG: %[[POSTED:.*]] = symm.alloc persistent : memref<8320xi64, #symm.space>
// CHECK-DAG: %[[MASKS:.*]] = memref.alloc() : memref<132x128x65xi32>
// CHECK-DAG: %[[CHUNKS:.*]] = memref.alloc() : memref<132x129x65xi32>
// CHECK: gpu.launch blocks(%[[BLOCK:[a-z0-9_]+]],
// CHECK-NOT: x65xi32, #gpu.address_space<workgroup>>
// CHECK: symm.phase "count"
// CHECK: %[[VALUE:.*]], %{{.*}} = symm.collect %[[POSTED]][%[[WORD:.*]]] in
// CHECK-NEXT: %[[KEY:.*]] = arith.divui %[[WORD]], %c128
// CHECK-NEXT: %[[CHUNK:.*]] = arith.remui %[[WORD]], %c128
// CHECK-NEXT: memref.store %[[VALUE]], %[[MASKS]][%[[BLOCK]], %[[CHUNK]], %[[KEY]]]
// CHECK: memref.load %[[MASKS]][%[[BLOCK]],
// CHECK: memref.store %{{.*}}, %[[CHUNKS]][%[[BLOCK]],
// CHECK-NOT: symm.grid_barrier
// CHECK: symm.phase "put"
// CHECK: symm.take
// CHECK: memref.load %[[MASKS]][%[[BLOCK]],
// CHECK: memref.load %[[CHUNKS]][%[[BLOCK]],
// CHECK: symm.put_each
func.func @by_rank(%x: memref<4096x32xbf16>, %idx: memref<4096x2xi32>,
    %w: memref<4096x2xf32>, %recv_x: memref<262144x32xbf16, #symm.space>,
    %recv_idx: memref<262144x2xi32, #symm.space>,
    %recv_w: memref<262144x2xf32, #symm.space>,
    %src: memref<262144xi32, #symm.space>, %to: memref<64xi32>,
    %from: memref<64xi32>, %rows: memref<4096x64xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 64 : i64, kernel = #moe.kernel<>}
    : (memref<4096x32xbf16>, memref<4096x2xi32>, memref<4096x2xf32>,
       memref<262144x32xbf16, #symm.space>, memref<262144x2xi32, #symm.space>,
       memref<262144x2xf32, #symm.space>, memref<262144xi32, #symm.space>,
       memref<64xi32>, memref<64xi32>, memref<4096x64xi32>) -> ()
  return
}
