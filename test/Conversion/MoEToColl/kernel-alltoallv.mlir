// An alltoallv on GPUs that exchange messages: rows go from where they lie to
// where they belong.
//
// RUN: moe-opt %s --convert-moe-to-coll=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @exchange
// CHECK-SAME: (%[[SEND:[-a-z0-9_]+]]: memref<100x8xf32>, %[[NS:[-a-z0-9_]+]]: memref<4xi32>, %[[RECV:[-a-z0-9_]+]]: memref<400x8xf32>, %[[NR:[-a-z0-9_]+]]: memref<4xi32>)
// CHECK: %[[COUNTS:[-a-z0-9_]+]] = memref.alloc() : memref<1x4xi32>
// CHECK: gpu.launch
// CHECK: symm.check %{{.*}}, invalid_count
// CHECK: memref.store %{{.*}}, %[[COUNTS]]
// CHECK: coll.all_gather %[[COUNTS]]
// CHECK: gpu.launch
// CHECK: symm.check %{{.*}}, peer_failed
// CHECK: symm.check %{{.*}}, capacity_exceeded
// CHECK: memref.store %{{.*}}, %[[NR]]
// CHECK: coll.read
// CHECK: coll.exchange
// CHECK-NEXT: coll.rows %[[SEND]][{{.*}}] to %[[RECV]][
// CHECK-NOT: gpu.launch
func.func @exchange(%send: memref<100x8xf32>, %counts: memref<4xi32>,
                    %recv: memref<400x8xf32>, %received: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %received) on @ep
      {kernel = #moe.kernel<blocks = 4, threads = 64>}
    : (memref<100x8xf32>, memref<4xi32>, memref<400x8xf32>, memref<4xi32>) -> ()
  return
}
