// A combine: each rank tells which rows it needs, gets them, and adds them up as
// where it reads them itself.
//
// RUN: moe-opt %s --convert-moe-to-coll | FileCheck %s --implicit-check-not=symm.peer --implicit-check-not=symm.put

shard.grid @ep(shape = 4)

// Neither `algorithm` nor `defer_release` makes a difference (coll_s6).
// CHECK-LABEL: func.func @rank_major
// CHECK-SAME: (%[[Y:[-a-z0-9_]+]]: memref<64x8xbf16>, %[[ROWS:[-a-z0-9_]+]]: memref<16x4xi32>, %[[SRC:[-a-z0-9_]+]]: memref<64xi32>, %[[N:[-a-z0-9_]+]]: memref<4xi32>, %[[OUT:[-a-z0-9_]+]]: memref<16x8xbf16>)
// CHECK: symm.collective_begin "moe.combine" site 0
// CHECK: symm.phase "ready"
// CHECK: symm.check {{.*}}, invalid_count, "send_row"
// CHECK: symm.phase "exchange"
// CHECK: coll.all_to_all %[[MINE:[-a-z0-9_]+]], %[[THEIRS:[-a-z0-9_]+]] : memref<4x1x2xi32>
// CHECK: symm.check {{.*}}, invalid_count, "end of the rows that the peer's send_row names, bounded by the capacity" {{.*}} peer
// Rows are sent from where they are.
// CHECK-NOT: symm.phase "pack"
// CHECK: symm.phase "move"
// CHECK: %[[SHIFT:[-a-z0-9_]+]] = memref.alloc() : memref<4x1xi32>
// CHECK: %[[IN:[-a-z0-9_]+]] = memref.alloc(%{{.*}}) : memref<?x8xbf16>
// CHECK: coll.exchange {
// CHECK-NEXT: coll.rows %[[Y]][{{.*}}] to %[[IN]][
// CHECK-NEXT: }
// CHECK: symm.phase "reduce"
// CHECK-NOT: "send_row"
// The first row starts the sum; others are added in f32, rounded once
// (combine_s1).
// CHECK: memref.load %[[SHIFT]]
// CHECK: memref.load %[[IN]]
// CHECK: arith.addf %{{.*}} : f32
// CHECK: arith.truncf
// CHECK: memref.store %{{.*}}, %[[OUT]]
// CHECK-NOT: symm.phase
// CHECK: symm.collective_end
func.func @rank_major(%y: memref<64x8xbf16>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %out: memref<16x8xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64,
      algorithm = #moe.algorithm<push>, defer_release}
    : (memref<64x8xbf16>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x8xbf16>) -> ()
  return
}

// Weights come with their rows (combine_s2).
// CHECK-LABEL: func.func @weights
// CHECK-SAME: %[[W:[a-z0-9]+]]: memref<64xf32>,
// CHECK: coll.exchange {
// CHECK-NEXT: coll.rows
// CHECK-NEXT: coll.rows %[[W]][{{.*}}] to %[[IW:[-a-z0-9_]+]][
// CHECK: memref.load %[[IW]]
// CHECK: arith.mulf
func.func @weights(%y: memref<64x8xf32>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %w: memref<64xf32>,
    %out: memref<16x8xf32>) {
  moe.combine %y, %rows, %src, %n weights(%w) outs(%out) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<slab>}
    : (memref<64x8xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<64xf32>, memref<16x8xf32>) -> ()
  return
}

// Blocks of experts are packed: those of one rank go in one message.
// CHECK-LABEL: func.func @expert_major
// CHECK-SAME: (%[[Y:[-a-z0-9_]+]]: memref<64x8xf16>,
// CHECK: coll.all_to_all %[[MINE:[-a-z0-9_]+]], %[[THEIRS:[-a-z0-9_]+]] : memref<4x3x2xi32>
// CHECK: symm.phase "pack"
// CHECK: %[[OUT:[-a-z0-9_]+]] = memref.alloc(%{{.*}}) : memref<?x8xf16>
// CHECK: memref.load %[[THEIRS]]
// CHECK: memref.subview %[[Y]]
// CHECK: memref.subview %[[OUT]]
// CHECK: memref.copy
// CHECK: symm.phase "move"
// CHECK: coll.rows %[[OUT]][
func.func @expert_major(%y: memref<64x8xf16>, %rows: memref<16x3xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %idx: memref<16x3xi32>,
    %out: memref<16x3x8xf16>) {
  moe.combine %y, %rows, %src, %n topk(%idx) outs(%out) on @ep {
      num_experts = 9 : i64, layout = #moe.layout<expert_major>,
      reduce = #moe.reduce<none>}
    : (memref<64x8xf16>, memref<16x3xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x3xi32>, memref<16x3x8xf16>) -> ()
  return
}

// Equal ops are lowered once.
// CHECK-LABEL: func.func @twice
// CHECK: symm.collective_begin "moe.combine" site 3
// CHECK-NEXT: call @[[F:[a-z_0-9]+]](
// CHECK: symm.collective_begin "moe.combine" site 4
// CHECK-NEXT: call @[[F]](
// CHECK: func.func private @[[F]]
func.func @twice(%y: memref<64x8xi8>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %out: memref<16x8xi8>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64}
    : (memref<64x8xi8>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x8xi8>) -> ()
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64}
    : (memref<64x8xi8>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x8xi8>) -> ()
  return
}
