// Rows along routes that are known: the sender finds its blocks in `send_row` and
// tells the receivers (dispatch_s10).
//
// RUN: moe-opt %s --convert-moe-to-coll | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @reuse
// CHECK-SAME: (%[[X:[-a-z0-9_]+]]: memref<16x8xf8E5M2>, %[[S:[-a-z0-9_]+]]: memref<16x2xf32>, %[[ROWS:[-a-z0-9_]+]]: memref<16x4xi32>, %[[RX:[-a-z0-9_]+]]: memref<64x8xf8E5M2>, %[[RS:[-a-z0-9_]+]]: memref<64x2xf32>)
// CHECK: symm.phase "ready"
// CHECK: %[[MINE:[-a-z0-9_]+]] = memref.alloc() : memref<4x1x2xi32>
// CHECK: memref.load %[[ROWS]]
// CHECK: symm.check {{.*}}, invalid_count, "send_row"
// The block reaches from the lowest row to the highest.
// CHECK: arith.minui
// CHECK: memref.store %{{.*}}, %[[MINE]]
// CHECK: arith.maxui
// CHECK: memref.store %{{.*}}, %[[MINE]]
// CHECK: symm.phase "exchange"
// CHECK: coll.all_to_all %[[MINE]], %[[THEIRS:[-a-z0-9_]+]] : memref<4x1x2xi32> to memref<4x1x2xi32>
// CHECK: symm.check {{.*}}, invalid_count, "end of the rows that the peer's send_row names, bounded by the capacity"
// CHECK: symm.phase "pack"
// CHECK: %[[SHIFT:[-a-z0-9_]+]] = memref.alloc() : memref<4x1xi32>
// CHECK: symm.check {{.*}}, invalid_count, "rows of all messages of an exchange"
// CHECK: %[[OX:[-a-z0-9_]+]] = memref.alloc(%{{.*}}) : memref<?x8xf8E5M2>
// CHECK: %[[OS:[-a-z0-9_]+]] = memref.alloc(%{{.*}}) : memref<?x2xf32>
// CHECK-NOT: linalg.fill
// CHECK: memref.subview %[[X]]
// CHECK: memref.subview %[[OX]]
// CHECK: memref.subview %[[S]]
// CHECK: memref.subview %[[OS]]
// CHECK: symm.phase "move"
// CHECK: coll.exchange {
// CHECK-NEXT: coll.rows %[[OX]][{{.*}}] to %[[RX]][
// CHECK-NEXT: coll.rows %[[OS]][{{.*}}] to %[[RS]][
// CHECK-NEXT: }
// CHECK: symm.collective_end
func.func @reuse(%x: memref<16x8xf8E5M2>, %s: memref<16x2xf32>,
    %rows: memref<16x4xi32>, %recv_x: memref<64x8xf8E5M2>,
    %recv_s: memref<64x2xf32>) {
  moe.dispatch %x scales(%s) reuse(%rows) outs(%recv_x, %recv_s)
      on @ep {num_experts = 8 : i64}
    : (memref<16x8xf8E5M2>, memref<16x2xf32>, memref<16x4xi32>,
       memref<64x8xf8E5M2>, memref<64x2xf32>) -> ()
  return
}

// Rows of no block are empty, and so are those of a block that `send_row` leaves
// out (dispatch_s12).
// CHECK-LABEL: func.func @padded
// CHECK: symm.phase "pack"
// CHECK: %[[OX:[-a-z0-9_]+]] = memref.alloc(%{{.*}}) : memref<?x8xf32>
// CHECK: linalg.fill {{.*}} outs(%[[OX]] :
// CHECK: symm.phase "move"
// CHECK: %[[MARKS:[-a-z0-9_]+]] = memref.alloc() : memref<128xi8>
// CHECK: linalg.fill {{.*}} outs(%[[MARKS]] :
// CHECK: memref.store %{{.*}}, %[[MARKS]]
// CHECK: symm.phase "pad"
// CHECK: memref.load %[[MARKS]]
// CHECK: scf.if
// CHECK: memref.store
func.func @padded(%x: memref<16x8xf32>, %rows: memref<16x2xi32>,
    %idx: memref<16x2xi32>, %recv_x: memref<128x8xf32>) {
  moe.dispatch %x reuse(%rows, %idx) outs(%recv_x)
      on @ep {num_experts = 8 : i64, layout = #moe.layout<expert_major>,
              padding = #moe.padding<zero>}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xi32>,
       memref<128x8xf32>) -> ()
  return
}
