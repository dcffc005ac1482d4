// Lists of the rows of each expert (dispatch_s14), made by one thread when all rows are there.
//
// RUN: moe-opt %s --convert-moe-to-symm --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// Rows are counted by expert, groups placed, and each row gets the next place of its group. Those
// past the capacity have been dropped (dispatch_s9). 80 entries and 2 times 7 places make 88
// (dispatch_s15).
// CHECK-LABEL: func.func @rank_major
// CHECK-SAME: (%{{.*}}: memref<16x64xbf16>, %{{.*}}: memref<16x2xi32>, %{{.*}}: memref<16x2xf32>, %{{.*}}, %[[IDX:[a-z0-9]+]]: memref<40x2xi32, #symm.space>, %[[W:[a-z0-9]+]]: memref<40x2xf32, #symm.space>, %{{.*}}: memref<40xi32, #symm.space>, %{{.*}}: memref<4xi32>, %[[FROM:[a-z0-9]+]]: memref<4xi32>, %{{.*}}: memref<16x4xi32>, %[[OFFSETS:[a-z0-9]+]]: memref<2xi32>, %[[COUNTS:[a-z0-9]+]]: memref<2xi32>, %[[ROWS:[a-z0-9]+]]: memref<88xi32>, %[[WEIGHTS:[a-z0-9]+]]: memref<88xf32>)
// CHECK: %[[ME:.*]] = symm.rank
// CHECK: symm.phase "complete"
// CHECK: symm.wait
// CHECK: symm.phase "list"
// CHECK-NEXT: linalg.fill ins(%c0_i32 : i32) outs(%[[COUNTS]]
// CHECK-NEXT: linalg.fill ins(%c-1_i32 : i32) outs(%[[ROWS]]
// CHECK-NEXT: linalg.fill ins(%{{.*}} : f32) outs(%[[WEIGHTS]]
// CHECK: %[[FIRST:.*]] = arith.muli %[[ME]], %c2
// CHECK: memref.load %[[FROM]]
// CHECK: %[[END:.*]] = arith.minsi %{{.*}}, %c40
// CHECK: scf.for %[[ROW:[a-z0-9]+]] = %c0 to %[[END]]
// CHECK: memref.load %[[IDX]][%[[ROW]], %
// CHECK: arith.subi %{{.*}}, %[[FIRST]]
// CHECK: memref.store %{{.*}}, %[[COUNTS]]
// CHECK: %[[NEXT:.*]] = memref.alloc() : memref<2xi32>
// CHECK: arith.ceildivui %{{.*}}, %c8
// CHECK: memref.store %{{.*}}, %[[OFFSETS]]
// CHECK: memref.store %{{.*}}, %[[NEXT]]
// CHECK: memref.load %[[COUNTS]]
// CHECK: scf.for %[[ROW:[a-z0-9]+]] = %c0 to
// CHECK: %[[LOADED:.*]] = memref.load %[[NEXT]]
// CHECK: memref.store %{{.*}}, %[[NEXT]]
// CHECK: %[[PLACE:.*]] = arith.index_cast %[[LOADED]]
// CHECK: memref.store %{{.*}}, %[[ROWS]][%[[PLACE]]]
// CHECK: %[[WEIGHT:.*]] = memref.load %[[W]][%[[ROW]], %
// CHECK: memref.store %[[WEIGHT]], %[[WEIGHTS]][%[[PLACE]]]
func.func @rank_major(
    %x: memref<16x64xbf16>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<40x64xbf16, #symm.space>,
    %recv_idx: memref<40x2xi32, #symm.space>, %recv_w: memref<40x2xf32, #symm.space>,
    %src: memref<40xi32, #symm.space>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>, %offsets: memref<2xi32>, %counts: memref<2xi32>,
    %list: memref<88xi32>, %weights: memref<88xf32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %counts, %list, %weights) on @ep {num_experts = 8 : i64, capacity = 40 : i64,
      overflow = #moe.overflow<drop>, list_alignment = 8 : i64}
    : (memref<16x64xbf16>, memref<16x2xi32>, memref<16x2xf32>,
       memref<40x64xbf16, #symm.space>, memref<40x2xi32, #symm.space>, memref<40x2xf32, #symm.space>,
       memref<40xi32, #symm.space>, memref<4xi32>, memref<4xi32>, memref<16x4xi32>,
       memref<2xi32>, memref<2xi32>, memref<88xi32>, memref<88xf32>) -> ()
  return
}

// The rows of each sender begin its slab.
// CHECK-LABEL: func.func @slab
// CHECK-SAME: (%{{.*}}: memref<16x64xbf16>, %{{.*}}: memref<16x2xi32>, %{{.*}}: memref<16x2xf32>, %{{.*}}, %[[IDX:[a-z0-9]+]]: memref<64x2xi32, #symm.space>, %[[W:[a-z0-9]+]]: memref<64x2xf32, #symm.space>, %{{.*}}: memref<64xi32, #symm.space>, %{{.*}}: memref<4xi32>, %[[FROM:[a-z0-9]+]]: memref<4xi32>, %{{.*}}: memref<16x4xi32>, %[[OFFSETS:[a-z0-9]+]]: memref<2xi32>, %[[COUNTS:[a-z0-9]+]]: memref<2xi32>, %[[ROWS:[a-z0-9]+]]: memref<128xi32>, %[[WEIGHTS:[a-z0-9]+]]: memref<128xf32>)
// CHECK: symm.phase "list"
// CHECK: scf.for %[[SENDER:[a-z0-9]+]] = %c0 to %c4
// CHECK-NEXT: %[[SLAB:.*]] = arith.muli %[[SENDER]], %c16
// CHECK-NEXT: memref.load %[[FROM]][%[[SENDER]]]
// CHECK: %[[END:.*]] = arith.addi %[[SLAB]], %
// CHECK: scf.for %[[ROW:[a-z0-9]+]] = %[[SLAB]] to %[[END]]
// CHECK: memref.load %[[IDX]][%[[ROW]], %
func.func @slab(
    %x: memref<16x64xbf16>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<64x64xbf16, #symm.space>,
    %recv_idx: memref<64x2xi32, #symm.space>, %recv_w: memref<64x2xf32, #symm.space>,
    %src: memref<64xi32, #symm.space>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>, %offsets: memref<2xi32>, %counts: memref<2xi32>,
    %list: memref<128xi32>, %weights: memref<128xf32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %counts, %list, %weights) on @ep {num_experts = 8 : i64, layout = #moe.layout<slab>,
      list_alignment = 1 : i64}
    : (memref<16x64xbf16>, memref<16x2xi32>, memref<16x2xf32>,
       memref<64x64xbf16, #symm.space>, memref<64x2xi32, #symm.space>, memref<64x2xf32, #symm.space>,
       memref<64xi32, #symm.space>, memref<4xi32>, memref<4xi32>, memref<16x4xi32>,
       memref<2xi32>, memref<2xi32>, memref<128xi32>, memref<128xf32>) -> ()
  return
}
