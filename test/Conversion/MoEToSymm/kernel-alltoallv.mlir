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
// Rows of 256 bytes: sixteen at a time, as many as there are and have room.
// CHECK: %[[ROOM:.*]] = arith.maxsi
// CHECK: %[[ROWS:.*]] = arith.minsi %{{.*}}, %[[ROOM]]
// CHECK: arith.divui %[[ROWS]], %c16
// CHECK: scf.for
// CHECK: symm.put_each {{.*}} lanes 1 rows 16 :
// CHECK: scf.for
// CHECK: symm.put_each {{.*}} lanes 1 :
// CHECK: symm.grid_arrive
func.func @exchange(%send: memref<100x64xf32>, %counts: memref<4xi32>,
    %recv: memref<400x64xf32, #symm.space>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
    : (memref<100x64xf32>, memref<4xi32>, memref<400x64xf32, #symm.space>,
       memref<4xi32>) -> ()
  return
}

// A long row goes alone.
// CHECK-LABEL: func.func @long_rows
// CHECK: symm.phase "put"
// CHECK: symm.put_each {{.*}} lanes 1 :
// CHECK-NOT: symm.put_each
// CHECK: symm.grid_arrive
func.func @long_rows(%send: memref<100x7168xbf16>, %counts: memref<4xi32>,
    %recv: memref<400x7168xbf16, #symm.space>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
    : (memref<100x7168xbf16>, memref<4xi32>,
       memref<400x7168xbf16, #symm.space>, memref<4xi32>) -> ()
  return
}
