// A slab needs no counts to place rows, but messages do to be sent.
//
// RUN: moe-opt %s --convert-moe-to-coll | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @slab
// CHECK-SAME: %[[TO:[-a-z0-9_]+]]: memref<4xi32>, %[[FROM:[-a-z0-9_]+]]: memref<4xi32>, %{{.*}}: memref<16x4xi32>)
// CHECK: %[[ME:[-a-z0-9_]+]] = symm.rank
// CHECK: symm.phase "exchange"
// CHECK: coll.all_gather %{{.*}}, %[[ALL:[-a-z0-9_]+]] : memref<1x4xi32> to memref<4x4xi32>
// CHECK: symm.phase "place"
// CHECK-NOT: symm.check
// CHECK: %[[SLAB:[-a-z0-9_]+]] = arith.muli %[[ME]],
// CHECK: %[[MINE:[-a-z0-9_]+]] = memref.alloc() : memref<4x1x2xi32>
// CHECK: %[[THEIRS:[-a-z0-9_]+]] = memref.alloc() : memref<4x1x2xi32>
// CHECK: memref.load %[[TO]]
// CHECK: memref.store %{{.*}}, %[[MINE]]
// CHECK: arith.muli %[[SENDER:[-a-z0-9_]+]],
// CHECK: memref.load %[[ALL]][%[[SENDER]], %[[ME]]]
// CHECK: memref.store %{{.*}}, %[[THEIRS]]
// CHECK: memref.store %{{.*}}, %[[FROM]][%[[SENDER]]]
// CHECK: symm.phase "pack"
// CHECK: symm.phase "move"
// CHECK: coll.exchange
// CHECK-COUNT-4: coll.rows
func.func @slab(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<64x8xf32>,
    %recv_idx: memref<64x2xi32>, %recv_w: memref<64x2xf32>,
    %src: memref<64xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @ep {num_experts = 8 : i64, layout = #moe.layout<slab>}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>, memref<64x8xf32>,
       memref<64x2xi32>, memref<64x2xf32>, memref<64xi32>, memref<4xi32>,
       memref<4xi32>, memref<16x4xi32>) -> ()
  return
}
