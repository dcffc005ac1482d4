// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @exchange
// CHECK: symm.collective_begin "moe.alltoallv" site 0
// CHECK: %[[ALL:.*]] = symm.alloc persistent : memref<4x4xi32, #symm.space>
// CHECK: gpu.launch
// CHECK: symm.phase "exchange"
// CHECK: symm.check %{{.*}}, invalid_count, "send_counts"
// CHECK: symm.peer %[[ALL]]
// CHECK: symm.signal
// CHECK: symm.wait
// CHECK: symm.phase "place"
// CHECK: symm.check %{{.*}}, capacity_exceeded
// CHECK: symm.phase "put"
// CHECK: symm.put_each {{.*}} lanes 1
// CHECK: symm.grid_arrive
func.func @exchange(%send: memref<100x64xf32>, %counts: memref<4xi32>,
    %recv: memref<400x64xf32, #symm.space>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
    : (memref<100x64xf32>, memref<4xi32>, memref<400x64xf32, #symm.space>,
       memref<4xi32>) -> ()
  return
}
