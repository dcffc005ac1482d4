// Lists of the rows of each expert (dispatch_s14), made by all blocks of a kernel when all rows are
// there.
//
// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// Few rows: each block waits for the 132 blocks of all four ranks, makes the masks of all rows, and
// lists those of its share. Blocks do not meet.
// CHECK-LABEL: func.func @few_rows
// CHECK-SAME: (%{{.*}}: memref<16x64xbf16>, %{{.*}}: memref<16x2xi32>, %{{.*}}: memref<16x2xf32>, %{{.*}}, %[[IDX:[a-z0-9]+]]: memref<40x2xi32, #symm.space>, %[[W:[a-z0-9]+]]: memref<40x2xf32, #symm.space>, %{{.*}}: memref<40xi32, #symm.space>, %{{.*}}: memref<4xi32>, %[[FROM:[a-z0-9]+]]: memref<4xi32>, %{{.*}}: memref<16x4xi32>, %[[OFFSETS:[a-z0-9]+]]: memref<2xi32>, %[[COUNTS:[a-z0-9]+]]: memref<2xi32>, %[[ROWS:[a-z0-9]+]]: memref<88xi32>, %[[WEIGHTS:[a-z0-9]+]]: memref<88xf32>)
// CHECK: gpu.launch
// CHECK: symm.phase "complete"
// CHECK: symm.signal
// The words of two rows' masks for four experts are cleared before the wait.
// CHECK: %[[MASKS:.*]] = memref.view %{{.*}} to memref<8xi32, #gpu.address_space<workgroup>>
// CHECK: memref.store %c0_i32, %[[MASKS]]
// CHECK: %[[WAITED:.*]] = scf.for %[[WORD:.*]] = %{{.*}} to %c528 step %c512 iter_args({{.*}} = %true)
// CHECK: %[[PEER:.*]] = arith.divui %[[WORD]], %c132
// CHECK: %[[SEEN:.*]] = symm.wait %{{.*}}[%[[WORD]]] from %[[PEER]], %[[EPOCH:.*]] :
// CHECK: symm.check {{.*}} peer_failed
// CHECK: arith.cmpi uge, %[[SEEN]], %[[EPOCH]]
// CHECK: %[[BIT:.*]] = arith.extui %[[WAITED]]
// CHECK: %[[ALL:.*]] = nvvm.barrier #nvvm.reduction<and> %[[BIT]]
// CHECK: %[[THERE:.*]] = arith.cmpi ne, %[[ALL]], %c0_i32
// CHECK-NOT: symm.grid_barrier
// CHECK: symm.phase "list"
// When rows have not come, nothing is listed.
// CHECK-NEXT: %[[LENGTH:.*]] = arith.select %[[THERE]], %c88, %c0
// CHECK: memref.load %[[FROM]]
// CHECK: %[[KEPT:.*]] = arith.minsi %{{.*}}, %c40
// CHECK: %[[ITEMS:.*]] = arith.select %[[THERE]], %[[KEPT]], %c0
// CHECK: gpu.barrier
// An entry is loaded once. Of 80, each thread has one at most.
// CHECK: %[[IS_ITEM:.*]] = arith.cmpi ult, %[[NUMBER:.*]], %[[ITEMS]]
// CHECK-NEXT: %[[ROW:.*]] = arith.select %[[IS_ITEM]], %[[NUMBER]], %c0
// CHECK-NEXT: memref.load %[[IDX]][%[[ROW]], %[[SLOT:.*]]]
// CHECK: %[[OWN_ROW:.*]] = arith.select %[[IS_OWN:.*]], %[[ROW]], %c0
// CHECK-NEXT: %[[WEIGHT:.*]] = memref.load %[[W]][%[[OWN_ROW]], %[[SLOT]]]
// CHECK-NOT: memref.load %[[IDX]]
// CHECK: symm.mark %[[MASKS]]
// CHECK: gpu.barrier
// CHECK: memref.load %[[MASKS]]
// CHECK: math.ctpop
// CHECK-NOT: symm.grid_barrier
// CHECK: gpu.barrier
// CHECK: arith.ceildivui %{{.*}}, %c8
// CHECK: memref.store %{{.*}}, %[[OFFSETS]]
// CHECK: memref.store %{{.*}}, %[[COUNTS]]
// CHECK: gpu.barrier
// CHECK: memref.load %[[MASKS]]
// No entry is written past the lists.
// CHECK: %[[IN:.*]] = arith.cmpi ult, %[[PLACE:.*]], %[[LENGTH]]
// CHECK: scf.if %[[IN]]
// CHECK: memref.store %{{.*}}, %[[ROWS]][%[[PLACE]]]
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

// In slabs a thread finds the sender of the row that it looks at: of four by two steps. Each block
// receives the counts of the senders.
// CHECK-LABEL: func.func @slab
// CHECK: symm.phase "complete"
// CHECK: memref.store %{{.*}}, %[[COUNTS:[-a-z0-9_]+]][%{{.*}}] : memref<4xi32, #gpu.address_space<workgroup>>
// CHECK: symm.phase "list"
// CHECK: memref.load %[[COUNTS]]
// CHECK: memref.store %{{.*}}, %[[BEGINS:[-a-z0-9_]+]][%{{.*}}] : memref<4xi32, #gpu.address_space<workgroup>>
// CHECK: gpu.barrier
// CHECK: memref.load %[[BEGINS]][%c2]
// CHECK: memref.load %[[BEGINS]][%{{.*}}]
// CHECK: memref.load %[[BEGINS]][%{{.*}}]
// CHECK-NOT: memref.load %[[BEGINS]]
// CHECK: symm.mark
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

// Many rows: three blocks share out nine parts, since a byte counts the rows that an expert has in
// one. Those behind a block's first part it counts before and lists after that.
// CHECK-LABEL: func.func @many_rows
// CHECK: %[[PARTS:.*]] = memref.alloc() : memref<9x1xi32>
// CHECK: symm.phase "complete"
// CHECK: %[[MASKS:.*]] = memref.view %{{.*}} to memref<24xi32, #gpu.address_space<workgroup>>
// CHECK: %[[SUMS:.*]] = memref.view %{{.*}} to memref<72xi32, #gpu.address_space<workgroup>>
// CHECK-NOT: symm.grid_barrier
// CHECK: symm.phase "list"
// CHECK: scf.for
// CHECK: symm.mark %[[MASKS]]
// CHECK: symm.mark %[[MASKS]]
// CHECK: memref.store %{{.*}}, %[[PARTS]]
// CHECK: memref.store %c0_i32, %[[MASKS]]
// CHECK: symm.mark %[[MASKS]]
// CHECK: symm.mark %[[MASKS]]
// CHECK: gpu.barrier
// CHECK-COUNT-24: math.ctpop
// CHECK-NOT: math.ctpop
// CHECK: memref.store %{{.*}}, %[[PARTS]]
// CHECK: %[[MET:.*]] = symm.grid_barrier
// CHECK-NEXT: arith.select %[[MET]]
// CHECK-NEXT: arith.select %[[MET]]
// The counts of nine parts are added up by as many threads.
// CHECK-COUNT-1: memref.load %[[PARTS]]
// CHECK-NOT: memref.load %[[PARTS]]
// CHECK: memref.store %{{.*}}, %[[SUMS]]
// CHECK: gpu.barrier
// CHECK: memref.load %[[SUMS]]
// CHECK: gpu.barrier
// CHECK: gpu.barrier
// CHECK: scf.for
// CHECK: memref.store %c0_i32, %[[MASKS]]
// CHECK: symm.mark %[[MASKS]]
// CHECK: symm.mark %[[MASKS]]
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

// Masks of 5000 experts do not fit shared memory: a tile is a part and 4096 of them, or the rest.
// CHECK-LABEL: func.func @many_experts
// CHECK: %[[PARTS:.*]] = memref.alloc() : memref<132x2048xi32>
// CHECK: symm.phase "complete"
// CHECK: %[[MASKS:.*]] = memref.view %{{.*}} to memref<4096xi32, #gpu.address_space<workgroup>>
// CHECK: symm.phase "list"
// CHECK: scf.for
// CHECK: %[[RANGE:.*]] = arith.remui %{{.*}}, %c2
// CHECK: %[[FIRST:.*]] = arith.muli %[[RANGE]], %c4096
// CHECK: %[[EXPERT:.*]] = arith.subi %{{.*}}, %[[FIRST]]
// CHECK: arith.cmpi ult, %[[EXPERT]], %c4096
// CHECK: symm.mark %[[MASKS]]
// CHECK: gpu.terminator
func.func @many_experts(
    %x: memref<16x64xbf16>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<64x64xbf16, #symm.space>,
    %recv_idx: memref<64x2xi32, #symm.space>, %recv_w: memref<64x2xf32, #symm.space>,
    %src: memref<64xi32, #symm.space>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>, %offsets: memref<5000xi32>, %counts: memref<5000xi32>,
    %list: memref<128xi32>, %weights: memref<128xf32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %counts, %list, %weights) on @ep {num_experts = 20000 : i64,
      layout = #moe.layout<slab>, list_alignment = 1 : i64}
    : (memref<16x64xbf16>, memref<16x2xi32>, memref<16x2xf32>,
       memref<64x64xbf16, #symm.space>, memref<64x2xi32, #symm.space>, memref<64x2xf32, #symm.space>,
       memref<64xi32, #symm.space>, memref<4xi32>, memref<4xi32>, memref<16x4xi32>,
       memref<5000xi32>, memref<5000xi32>, memref<128xi32>, memref<128xf32>) -> ()
  return
}

// A thread would wait for five blocks: so each block waits for those with its numbers, and the blocks
// of a rank meet.
// CHECK-LABEL: func.func @few_threads
// CHECK: symm.phase "complete"
// CHECK: scf.for %[[WORD:.*]] = %{{.*}} to %c132 step
// CHECK: %[[PLACE:.*]] = arith.addi %{{.*}}, %[[WORD]]
// CHECK: symm.wait %{{.*}}[%[[PLACE]]]
// CHECK: symm.phase "list"
// CHECK: %[[MET:.*]] = symm.grid_barrier
// CHECK-NEXT: arith.select %[[MET]], %c88, %c0
// CHECK: gpu.terminator
func.func @few_threads(
    %x: memref<16x64xbf16>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<40x64xbf16, #symm.space>,
    %recv_idx: memref<40x2xi32, #symm.space>, %recv_w: memref<40x2xf32, #symm.space>,
    %src: memref<40xi32, #symm.space>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>, %offsets: memref<2xi32>, %counts: memref<2xi32>,
    %list: memref<88xi32>, %weights: memref<88xf32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %counts, %list, %weights) on @ep {num_experts = 8 : i64, capacity = 40 : i64,
      list_alignment = 8 : i64, kernel = #moe.kernel<blocks = 132, threads = 128>}
    : (memref<16x64xbf16>, memref<16x2xi32>, memref<16x2xf32>,
       memref<40x64xbf16, #symm.space>, memref<40x2xi32, #symm.space>, memref<40x2xf32, #symm.space>,
       memref<40xi32, #symm.space>, memref<4xi32>, memref<4xi32>, memref<16x4xi32>,
       memref<2xi32>, memref<2xi32>, memref<88xi32>, memref<88xf32>) -> ()
  return
}
