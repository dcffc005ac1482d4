// Rows are sent from where they are, and received where they belong.
//
// RUN: moe-opt %s --convert-moe-to-coll | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @alltoallv
// CHECK-SAME: (%[[SEND:[-a-z0-9_]+]]: memref<?x8xf32>, %[[COUNTS:[-a-z0-9_]+]]: memref<4xi32>, %[[RECV:[-a-z0-9_]+]]: memref<64x8xf32>, %[[RECV_COUNTS:[-a-z0-9_]+]]: memref<4xi32>)
// CHECK: symm.phase "count"
// CHECK: symm.check {{.*}}, invalid_count, "sum of send_counts
// CHECK: symm.phase "exchange"
// CHECK: coll.all_gather %{{.*}}, %[[ALL:[-a-z0-9_]+]] : memref<1x4xi32> to memref<4x4xi32>
// CHECK: symm.phase "place"
// CHECK: symm.check {{.*}}, capacity_exceeded
// CHECK: memref.store %{{.*}}, %[[RECV_COUNTS]]
// CHECK: symm.phase "move"
// CHECK-NEXT: coll.exchange {
// CHECK-NEXT: coll.rows %[[SEND]][{{.*}}] to %[[RECV]][{{.*}}] : memref<?x8xf32> to memref<64x8xf32> by memref<4xi32>
// CHECK-NEXT: }
// CHECK: symm.collective_end
func.func @alltoallv(%send: memref<?x8xf32>, %counts: memref<4xi32>,
    %recv: memref<64x8xf32>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
    : (memref<?x8xf32>, memref<4xi32>, memref<64x8xf32>, memref<4xi32>) -> ()
  return
}

// What lies past the capacity is left out on both sides (alltoallv_s5, coll_s4).
// CHECK-LABEL: func.func @drop
// CHECK-NOT: capacity_exceeded
// CHECK: %[[TO:[-a-z0-9_]+]] = arith.minui
// CHECK: arith.subi %{{.*}}, %[[TO]]
// CHECK: arith.minui
// CHECK: %[[TO:[-a-z0-9_]+]] = arith.minui
// CHECK: arith.subi %{{.*}}, %[[TO]]
// CHECK: arith.minui
// CHECK: coll.exchange
func.func @drop(%send: memref<16xf32>, %counts: memref<4xi32>,
    %recv: memref<5xf32>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep {
      overflow = #moe.overflow<drop>}
    : (memref<16xf32>, memref<4xi32>, memref<5xf32>, memref<4xi32>) -> ()
  return
}
