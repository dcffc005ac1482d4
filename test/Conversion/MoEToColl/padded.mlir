// schedule=padded: what a message has room for is known when it is compiled.
//
// RUN: moe-opt %s --convert-moe-to-coll=schedule=padded --canonicalize --cse | FileCheck %s
// RUN: moe-opt %s --convert-moe-to-coll="schedule=padded pair-capacity=5" --canonicalize --cse | FileCheck %s --check-prefix=FIVE
// RUN: not moe-opt %s --convert-moe-to-coll=schedule=tight 2>&1 | FileCheck %s --check-prefix=TIGHT
// RUN: not moe-opt %s --convert-moe-to-coll=pair-capacity=5 2>&1 | FileCheck %s --check-prefix=EXACT
// TIGHT: error: convert-moe-to-coll expects 'schedule' to be exact or padded (tight)
// EXACT: error: convert-moe-to-coll expects 'pair-capacity' to be positive, with schedule padded (5, schedule exact)

shard.grid @ep(shape = 4)

// A token has one row on a rank at most: 16 rows for each. More are refused
// (coll_s8).
// CHECK-LABEL: func.func @dispatch
// CHECK: symm.phase "pack"
// CHECK: symm.check {{.*}}, capacity_exceeded, "rows between two ranks, bounded by the pair capacity" expected %c16{{.*}} peer
// CHECK: %[[STARTS:.*]] = coll.table [0, 16, 32, 48] : memref<4xi32>
// CHECK: %[[NUMBERS:.*]] = coll.table [16, 16, 16, 16] : memref<4xi32>
// CHECK: %[[OX:[-a-z0-9_]+]] = memref.alloc() : memref<64x8xf32>
// CHECK: symm.phase "move"
// CHECK: %[[IX:[-a-z0-9_]+]] = memref.alloc() : memref<64x8xf32>
// CHECK: coll.exchange {
// CHECK-NEXT: coll.rows %{{.*}}[%[[STARTS]], %[[NUMBERS]]] to %{{.*}}[%[[STARTS]], %[[NUMBERS]]]
// CHECK: symm.phase "unpack"
// FIVE-LABEL: func.func @dispatch
// FIVE: symm.check {{.*}}, capacity_exceeded, {{.*}} expected %c5
// FIVE: memref.alloc() : memref<20x8xf32>
func.func @dispatch(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<64x8xf32>,
    %recv_idx: memref<64x2xi32>, %recv_w: memref<64x2xf32>,
    %src: memref<64xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @ep {num_experts = 8 : i64}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>, memref<64x8xf32>,
       memref<64x2xi32>, memref<64x2xf32>, memref<64xi32>, memref<4xi32>,
       memref<4xi32>, memref<16x4xi32>) -> ()
  return
}

// Rows that are left out have a place in a message like all others.
// CHECK-LABEL: func.func @drop
// FIVE-LABEL: func.func @drop
// FIVE: symm.phase "place"
// FIVE: symm.check {{.*}}, capacity_exceeded, "rows between two ranks, bounded by the pair capacity" expected %c5
// FIVE: symm.phase "pack"
func.func @drop(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<20x8xf32>,
    %recv_idx: memref<20x2xi32>, %recv_w: memref<20x2xf32>,
    %src: memref<20xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @ep {num_experts = 8 : i64, overflow = #moe.overflow<drop>, capacity = 20 : i64}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>, memref<20x8xf32>,
       memref<20x2xi32>, memref<20x2xf32>, memref<20xi32>, memref<4xi32>,
       memref<4xi32>, memref<16x4xi32>) -> ()
  return
}

// An op may have a schedule of its own.
// CHECK-LABEL: func.func @own
// CHECK-NOT: coll.table
// CHECK: coll.exchange
func.func @own(%send: memref<16x8xf32>, %counts: memref<4xi32>,
    %recv: memref<9x8xf32>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
      {schedule = #moe.schedule<exact>}
    : (memref<16x8xf32>, memref<4xi32>, memref<9x8xf32>, memref<4xi32>) -> ()
  return
}

// With expert_major as many as the experts of a rank: 2 of 8 on 4 ranks.
// CHECK-LABEL: func.func @combine
// CHECK: symm.phase "pack"
// CHECK: memref.alloc() : memref<128x8xf16>
// CHECK: symm.phase "move"
// CHECK: memref.alloc() : memref<128x8xf16>
// CHECK: coll.exchange
// CHECK: symm.phase "reduce"
func.func @combine(%y: memref<64x8xf16>, %rows: memref<16x3xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %idx: memref<16x3xi32>,
    %out: memref<16x8xf16>) {
  moe.combine %y, %rows, %src, %n topk(%idx) outs(%out) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (memref<64x8xf16>, memref<16x3xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x3xi32>, memref<16x8xf16>) -> ()
  return
}

// CHECK-LABEL: func.func @alltoallv
// CHECK: symm.phase "pack"
// CHECK: memref.alloc() : memref<36x8xf32>
// CHECK: symm.phase "move"
// CHECK: coll.exchange
// CHECK: symm.phase "unpack"
func.func @alltoallv(%send: memref<16x8xf32>, %counts: memref<4xi32>,
    %recv: memref<9x8xf32>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
    : (memref<16x8xf32>, memref<4xi32>, memref<9x8xf32>, memref<4xi32>) -> ()
  return
}
