// Blocks of a sender lie apart: they come in one box, and are copied to their
// groups.
//
// RUN: moe-opt %s --convert-moe-to-coll | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @expert_major
// CHECK-SAME: %[[RX:[a-z0-9]+]]: memref<192x8xf32>, %[[RI:[a-z0-9]+]]: memref<192xi32>, %[[RW:[a-z0-9]+]]: memref<192xf32>, %[[SRC:[a-z0-9]+]]: memref<192xi32>,
// CHECK-SAME: %[[OFFSETS:[a-z0-9]+]]: memref<3xi32>, %[[GROUPS:[a-z0-9]+]]: memref<3xi32>)
// CHECK: symm.phase "exchange"
// CHECK: coll.all_gather %[[COUNTS:[-a-z0-9_]+]], %[[ALL:[-a-z0-9_]+]] : memref<1x9xi32> to memref<4x9xi32>

// A block per expert that the receiver may own: 9 experts on 4 ranks are 3.
// CHECK: symm.phase "place"
// CHECK: %[[START:[-a-z0-9_]+]] = memref.alloc() : memref<9xi32>
// CHECK: %[[MINE:[-a-z0-9_]+]] = memref.alloc() : memref<4x3x2xi32>
// CHECK: %[[THEIRS:[-a-z0-9_]+]] = memref.alloc() : memref<4x3x2xi32>
// CHECK: memref.load %[[START]][%[[EXPERT:[-a-z0-9_]+]]]
// CHECK: memref.load %[[COUNTS]][%{{.*}}, %[[EXPERT]]]
// CHECK: memref.store %{{.*}}, %[[MINE]]
// In a group, rows of lower senders come first.
// CHECK: memref.load %[[OFFSETS]]
// CHECK: memref.load %[[ALL]][%[[SENDER:[-a-z0-9_]+]], %{{.*}}]
// CHECK: memref.store %{{.*}}, %[[THEIRS]][%[[SENDER]],

// CHECK: symm.phase "pack"
// CHECK: memref.alloc() : memref<4x3xi32>
// CHECK: %[[OX:[-a-z0-9_]+]] = memref.alloc(%{{.*}}) : memref<?x8xf32>

// CHECK: symm.phase "move"
// CHECK: %[[SHIFT:[-a-z0-9_]+]] = memref.alloc() : memref<4x3xi32>
// CHECK: %[[IX:[-a-z0-9_]+]] = memref.alloc(%[[TOTAL:[-a-z0-9_#]+]]) : memref<?x8xf32>
// CHECK: %[[II:[-a-z0-9_]+]] = memref.alloc(%[[TOTAL]]) : memref<?xi32>
// CHECK: %[[IW:[-a-z0-9_]+]] = memref.alloc(%[[TOTAL]]) : memref<?xf32>
// CHECK: %[[ISRC:[-a-z0-9_]+]] = memref.alloc(%[[TOTAL]]) : memref<?xi32>
// CHECK: coll.exchange {
// CHECK-NEXT: coll.rows %[[OX]][{{.*}}] to %[[IX]][
// CHECK-NEXT: coll.rows %{{.*}} to %[[II]][
// CHECK-NEXT: coll.rows %{{.*}} to %[[IW]][
// CHECK-NEXT: coll.rows %{{.*}} to %[[ISRC]][
// CHECK-NEXT: }

// CHECK: symm.phase "unpack"
// CHECK: memref.load %[[SHIFT]]
// CHECK: %[[PACKED:[-a-z0-9_]+]] = arith.addi %[[ROW:[-a-z0-9_]+]],
// CHECK: memref.subview %[[IX]][%[[PACKED]], 0]
// CHECK: memref.subview %[[RX]][%[[ROW]], 0]
// CHECK: memref.copy
// CHECK: memref.load %[[II]]
// CHECK: memref.store %{{.*}}, %[[RI]]
// CHECK: memref.load %[[IW]]
// CHECK: memref.store %{{.*}}, %[[RW]]
// CHECK: memref.load %[[ISRC]]
// CHECK: memref.store %{{.*}}, %[[SRC]]
// CHECK: symm.collective_end
func.func @expert_major(%x: memref<16x8xf32>, %idx: memref<16x3xi32>,
    %w: memref<16x3xf32>, %recv_x: memref<192x8xf32>,
    %recv_idx: memref<192xi32>, %recv_w: memref<192xf32>,
    %src: memref<192xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x3xi32>, %offsets: memref<3xi32>, %groups: memref<3xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %groups)
      on @ep {num_experts = 9 : i64, layout = #moe.layout<expert_major>}
    : (memref<16x8xf32>, memref<16x3xi32>, memref<16x3xf32>,
       memref<192x8xf32>, memref<192xi32>, memref<192xf32>, memref<192xi32>,
       memref<4xi32>, memref<4xi32>, memref<16x3xi32>, memref<3xi32>,
       memref<3xi32>) -> ()
  return
}

// The order of rows within a sender is its own business: blocks are per rank.
// CHECK-LABEL: func.func @order_expert
// CHECK: coll.all_gather %{{.*}} : memref<1x4xi32> to memref<4x4xi32>
// CHECK: memref.alloc() : memref<8xi32>
// CHECK: memref.alloc() : memref<4x1x2xi32>
// CHECK-NOT: symm.phase "unpack"
// CHECK: symm.collective_end
func.func @order_expert(%x: memref<16x8xf32>, %idx: memref<16x1xi32>,
    %w: memref<16x1xf32>, %recv_x: memref<64x8xf32>,
    %recv_idx: memref<64x1xi32>, %recv_w: memref<64x1xf32>,
    %src: memref<64xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @ep {num_experts = 8 : i64, order = #moe.order<expert>}
    : (memref<16x8xf32>, memref<16x1xi32>, memref<16x1xf32>, memref<64x8xf32>,
       memref<64x1xi32>, memref<64x1xf32>, memref<64xi32>, memref<4xi32>,
       memref<4xi32>, memref<16x4xi32>) -> ()
  return
}
