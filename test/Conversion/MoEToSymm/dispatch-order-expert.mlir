// Rows of one sender ordered by expert: rows are numbered per expert, counts are
// exchanged per rank.
//
// RUN: moe-opt %s --convert-moe-to-symm | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @order_expert
// CHECK-SAME: %[[TO:[a-z0-9]+]]: memref<4xi32>, %{{[a-z0-9]+}}: memref<4xi32>, %[[ROWS:[a-z0-9]+]]: memref<16x4xi32>)
// K = 1: nothing can be repeated.
// CHECK: symm.phase "route"
// CHECK-NOT: arith.addf
// CHECK: symm.phase "count"
// CHECK: %[[COUNTS:[-a-z0-9_]+]] = memref.alloc() : memref<1x8xi32>
// CHECK: %[[PEER:[-a-z0-9_]+]] = arith.divui %[[EXPERT:[-a-z0-9_]+]], %{{.*}}
// CHECK: %[[NUMBER:[-a-z0-9_]+]] = memref.load %[[COUNTS]][%{{.*}}, %[[EXPERT]]]
// CHECK: memref.store %[[NUMBER]], %[[ROWS]][%{{.*}}, %[[PEER]]]
// CHECK: memref.store %{{.*}}, %[[TO]]
// CHECK: symm.phase "exchange"
// CHECK: %[[MINE:[-a-z0-9_]+]] = memref.alloc() : memref<1x4xi32>
// CHECK: memref.load %[[TO]]
// CHECK: memref.store %{{.*}}, %[[MINE]]
// CHECK: %[[ALL:[-a-z0-9_]+]] = symm.alloc persistent : memref<4x4xi32, #symm.space>
// CHECK: symm.put %[[MINE]][%{{.*}}] to %[[ALL]]

// Within a sender, experts in ascending order (dispatch_s3).
// CHECK: symm.phase "place"
// CHECK: %[[START:[-a-z0-9_]+]] = memref.alloc() : memref<8xi32>
// CHECK: %[[SUMS:[-a-z0-9_]+]]:2 = scf.for
// CHECK: symm.check %{{.*}}, capacity_exceeded
// CHECK: scf.for %[[EXPERT:[-a-z0-9_]+]] = %{{.*}} to %{{.*}} step %{{.*}} iter_args(%[[NEXT:[-a-z0-9_]+]] = %[[SUMS]]#0) -> (index) {
// CHECK:   %[[CAST:[-a-z0-9_]+]] = arith.index_cast %[[NEXT]]
// CHECK:   memref.store %[[CAST]], %[[START]][%[[EXPERT]]]
// CHECK:   memref.load %[[COUNTS]][%{{.*}}, %[[EXPERT]]]
// CHECK: symm.phase "put"
// CHECK: memref.load %[[START]]
// CHECK: symm.put
// CHECK: symm.phase "complete"
func.func @order_expert(%x: memref<16x8xf32>, %idx: memref<16x1xi32>,
    %w: memref<16x1xf32>, %recv_x: memref<64x8xf32, #symm.space>,
    %recv_idx: memref<64x1xi32, #symm.space>,
    %recv_w: memref<64x1xf32, #symm.space>, %src: memref<64xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @ep {num_experts = 8 : i64, order = #moe.order<expert>}
    : (memref<16x8xf32>, memref<16x1xi32>, memref<16x1xf32>,
       memref<64x8xf32, #symm.space>, memref<64x1xi32, #symm.space>,
       memref<64x1xf32, #symm.space>, memref<64xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x4xi32>) -> ()
  return
}
