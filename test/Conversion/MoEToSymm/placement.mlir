// The owner of an expert (placement_s1), and the experts of a rank.
//
// RUN: moe-opt %s --convert-moe-to-symm | FileCheck %s

shard.grid @ep(shape = 4)
shard.grid @alone(shape = 1)

// E = 8, R = 4: two each.
// CHECK-LABEL: func.func @divisible
// CHECK: symm.phase "count"
// CHECK: arith.divui %{{.*}}, %c2{{(_[0-9]+)?}}
// CHECK-NOT: arith.maxsi
// CHECK: symm.phase "put"
// CHECK-NOT: arith.minui
// CHECK: symm.collective_end
func.func @divisible(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<64x8xf32, #symm.space>,
    %recv_idx: memref<64x2xi32, #symm.space>,
    %recv_w: memref<64x2xf32, #symm.space>, %src: memref<64xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @ep {num_experts = 8 : i64}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>,
       memref<64x8xf32, #symm.space>, memref<64x2xi32, #symm.space>,
       memref<64x2xf32, #symm.space>, memref<64xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x4xi32>) -> ()
  return
}

// E = 10, R = 4: the first two ranks own 3, the others 2. The owner is the
// larger of e / 3 and (e - 2) / 2.
// CHECK-LABEL: func.func @remainder
// CHECK: symm.phase "count"
// CHECK: %[[A:[-a-z0-9_]+]] = arith.divui %[[E:[-a-z0-9_]+]], %c3{{(_[0-9]+)?}}
// CHECK: %[[REST:[-a-z0-9_]+]] = arith.subi %[[E]], %c2{{(_[0-9]+)?}}
// CHECK: %[[B:[-a-z0-9_]+]] = arith.divsi %[[REST]], %c2{{(_[0-9]+)?}}
// CHECK: arith.maxsi %[[A]], %[[B]]
// The first expert of rank r: 2 * r + min(r, 2).
// CHECK: symm.phase "put"
// CHECK: symm.peer
// CHECK: %[[TWICE:[-a-z0-9_]+]] = arith.muli %[[PEER:[-a-z0-9_]+]], %{{.*}}
// CHECK: %[[MORE:[-a-z0-9_]+]] = arith.minui %[[PEER]], %{{.*}}
// CHECK: arith.addi %[[TWICE]], %[[MORE]]
func.func @remainder(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<64x8xf32, #symm.space>,
    %recv_idx: memref<64x2xi32, #symm.space>,
    %recv_w: memref<64x2xf32, #symm.space>, %src: memref<64xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @ep {num_experts = 10 : i64}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>,
       memref<64x8xf32, #symm.space>, memref<64x2xi32, #symm.space>,
       memref<64x2xf32, #symm.space>, memref<64xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x4xi32>) -> ()
  return
}

// E = 3, R = 4: one on each of the first three ranks, which is its number.
// CHECK-LABEL: func.func @fewer_experts_than_ranks
// CHECK: symm.phase "count"
// CHECK-NOT: arith.div
// CHECK-NOT: arith.maxsi
// CHECK: memref.load %{{.*}}[%{{.*}}, %[[E:[-a-z0-9_]+]]] : memref<1x4xi32>
// CHECK: symm.phase "exchange"
func.func @fewer_experts_than_ranks(%x: memref<16x8xf32>,
    %idx: memref<16x2xi32>, %w: memref<16x2xf32>,
    %recv_x: memref<64x8xf32, #symm.space>,
    %recv_idx: memref<64x2xi32, #symm.space>,
    %recv_w: memref<64x2xf32, #symm.space>, %src: memref<64xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @ep {num_experts = 3 : i64}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>,
       memref<64x8xf32, #symm.space>, memref<64x2xi32, #symm.space>,
       memref<64x2xf32, #symm.space>, memref<64xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x4xi32>) -> ()
  return
}

// One rank owns them all.
// CHECK-LABEL: func.func @one_rank
// CHECK: symm.phase "count"
// CHECK: arith.divui %{{.*}}, %c8{{(_[0-9]+)?}}
// CHECK: symm.alloc persistent : memref<1x1xi32, #symm.space>
func.func @one_rank(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<16x8xf32, #symm.space>,
    %recv_idx: memref<16x2xi32, #symm.space>,
    %recv_w: memref<16x2xf32, #symm.space>, %src: memref<16xi32, #symm.space>,
    %to: memref<1xi32>, %from: memref<1xi32>, %rows: memref<16x1xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @alone {num_experts = 8 : i64}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>,
       memref<16x8xf32, #symm.space>, memref<16x2xi32, #symm.space>,
       memref<16x2xf32, #symm.space>, memref<16xi32, #symm.space>,
       memref<1xi32>, memref<1xi32>, memref<16x1xi32>) -> ()
  return
}
