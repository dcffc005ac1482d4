// Lists of the rows of each expert (dispatch_s14), made by all blocks of a kernel when all rows are
// there.
//
// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// Few rows: each block counts all of them. Blocks have waited for rows for each other, and so meet
// once.
// CHECK-LABEL: func.func @few_rows
// CHECK-SAME: (%{{.*}}: memref<16x64xbf16>, %{{.*}}: memref<16x2xi32>, %{{.*}}: memref<16x2xf32>, %{{.*}}, %[[IDX:[a-z0-9]+]]: memref<40x2xi32, #symm.space>, %[[W:[a-z0-9]+]]: memref<40x2xf32, #symm.space>, %{{.*}}: memref<40xi32, #symm.space>, %{{.*}}: memref<4xi32>, %[[FROM:[a-z0-9]+]]: memref<4xi32>, %{{.*}}: memref<16x4xi32>, %[[OFFSETS:[a-z0-9]+]]: memref<2xi32>, %[[COUNTS:[a-z0-9]+]]: memref<2xi32>, %[[ROWS:[a-z0-9]+]]: memref<88xi32>, %[[WEIGHTS:[a-z0-9]+]]: memref<88xf32>)
// CHECK: gpu.launch
// CHECK: symm.phase "complete"
// CHECK: symm.signal
// CHECK: symm.wait
// CHECK: symm.phase "list"
// CHECK-NEXT: %[[MET:.*]] = symm.grid_barrier
// When they have not met, nothing is listed.
// CHECK-NEXT: %[[LENGTH:.*]] = arith.select %[[MET]], %c88, %c0
// CHECK: memref.load %[[FROM]]
// CHECK: %[[KEPT:.*]] = arith.minsi %{{.*}}, %c40
// CHECK: %[[ITEMS:.*]] = arith.select %[[MET]], %[[KEPT]], %c0
// CHECK: scf.for %{{.*}} = %c0 to %[[BEGIN:[-a-z0-9_]+]] step %c32
// CHECK: memref.load %[[IDX]]
// CHECK: nvvm.vote.sync ballot
// CHECK: scf.for %{{.*}} = %[[BEGIN]] to %[[ITEMS]] step %c32
// CHECK-NOT: symm.grid_barrier
// CHECK: gpu.barrier
// CHECK: arith.ceildivui %{{.*}}, %c8
// CHECK: memref.store %{{.*}}, %[[OFFSETS]]
// CHECK: memref.store %{{.*}}, %[[COUNTS]]
// CHECK: gpu.barrier
// CHECK: nvvm.vote.sync ballot
// No entry is written past the lists.
// CHECK: %[[IN:.*]] = arith.cmpi ult, %[[PLACE:.*]], %[[LENGTH]]
// CHECK: scf.if %[[IN]]
// CHECK: memref.store %{{.*}}, %[[ROWS]][%[[PLACE]]]
// CHECK: %[[WEIGHT:.*]] = memref.load %[[W]]
// CHECK: memref.store %[[WEIGHT]], %[[WEIGHTS]][%[[PLACE]]]
// Gaps between groups, and what is behind the last.
// CHECK: memref.store %c-1_i32, %[[ROWS]]
// CHECK: memref.store %{{.*}}, %[[WEIGHTS]]
// CHECK: scf.for %{{.*}} = %{{.*}} to %[[LENGTH]]
// CHECK: memref.store %c-1_i32, %[[ROWS]]
// CHECK: gpu.terminator
func.func @few_rows(
    %x: memref<16x64xbf16>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<40x64xbf16, #symm.space>,
    %recv_idx: memref<40x2xi32, #symm.space>, %recv_w: memref<40x2xf32, #symm.space>,
    %src: memref<40xi32, #symm.space>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>, %offsets: memref<2xi32>, %counts: memref<2xi32>,
    %list: memref<88xi32>, %weights: memref<88xf32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %counts, %list, %weights) on @ep {num_experts = 8 : i64, capacity = 40 : i64,
      list_alignment = 8 : i64}
    : (memref<16x64xbf16>, memref<16x2xi32>, memref<16x2xf32>,
       memref<40x64xbf16, #symm.space>, memref<40x2xi32, #symm.space>, memref<40x2xf32, #symm.space>,
       memref<40xi32, #symm.space>, memref<4xi32>, memref<4xi32>, memref<16x4xi32>,
       memref<2xi32>, memref<2xi32>, memref<88xi32>, memref<88xf32>) -> ()
  return
}

// In slabs a lane finds the sender of the row that it looks at: of four by two steps.
// CHECK-LABEL: func.func @slab
// CHECK: symm.phase "list"
// CHECK: memref.store %{{.*}}, %[[BEGINS:[-a-z0-9_]+]][%{{.*}}] : memref<4xi32, #gpu.address_space<workgroup>>
// CHECK: gpu.barrier
// CHECK: memref.load %[[BEGINS]][%c2]
// CHECK: memref.load %[[BEGINS]][%{{.*}}]
// CHECK: memref.load %[[BEGINS]][%{{.*}}]
// CHECK-NOT: memref.load %[[BEGINS]]
// CHECK: nvvm.vote.sync ballot
// Without alignment there are no gaps but the one behind the last group.
// CHECK-COUNT-1: memref.store %c-1_i32
// CHECK-NOT: memref.store %c-1_i32
// CHECK: gpu.terminator
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

// Many rows: blocks share them out, here in 4 parts for each of 2 experts and 8 subgroups, and learn
// what the others have counted. The counts of 12 parts are added up at once.
// CHECK-LABEL: func.func @many_rows
// CHECK: %[[PARTS:.*]] = memref.alloc() : memref<2x12xi32>
// CHECK: symm.phase "list"
// CHECK: symm.grid_barrier
// CHECK: scf.for %{{.*}} = %{{.*}} to %c8 step %c8
// CHECK: memref.store %{{.*}}, %[[PARTS]]
// CHECK: %[[MET:.*]] = symm.grid_barrier
// CHECK-NEXT: arith.select %[[MET]]
// CHECK-NEXT: arith.select %[[MET]]
// CHECK: scf.for %{{.*}} = %{{.*}} to %c8 step %c8
// CHECK: memref.load %[[PARTS]]
// CHECK: gpu.barrier
// CHECK-NOT: symm.grid_barrier
// CHECK: gpu.terminator
func.func @many_rows(%x: memref<400x64xbf16>, %idx: memref<400x2xi64>,
    %w: memref<400x2xf32>, %recv_x: memref<1600x64xbf16, #symm.space>,
    %recv_idx: memref<1600x2xi64, #symm.space>,
    %recv_w: memref<1600x2xf32, #symm.space>,
    %src: memref<1600xi32, #symm.space>, %to: memref<4xi32>,
    %from: memref<4xi32>, %rows: memref<400x4xi32>, %offsets: memref<2xi32>,
    %counts: memref<2xi32>, %list: memref<3216xi32>, %weights: memref<3216xf32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %counts, %list, %weights) on @ep {num_experts = 8 : i64,
      list_alignment = 16 : i64, kernel = #moe.kernel<blocks = 3, threads = 256>}
    : (memref<400x64xbf16>, memref<400x2xi64>, memref<400x2xf32>,
       memref<1600x64xbf16, #symm.space>, memref<1600x2xi64, #symm.space>,
       memref<1600x2xf32, #symm.space>, memref<1600xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<400x4xi32>, memref<2xi32>,
       memref<2xi32>, memref<3216xi32>, memref<3216xf32>) -> ()
  return
}
