// Rows that no token was sent to (dispatch_s12), filled by a kernel: a block does so between
// its signals and its waits.
//
// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// All subgroups of the grid share the rows out; lanes store 16 bytes. Nothing is filled
// unless all ranks have come and their counts fit.
// CHECK-LABEL: func.func @rank_major
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<40x64xbf16, #symm.space>, %[[IDX:[a-z0-9]+]]: memref<40x2xi32, #symm.space>, %[[W:[a-z0-9]+]]: memref<40x2xf32, #symm.space>, %[[SRC:[a-z0-9]+]]: memref<40xi32, #symm.space>,
// CHECK: %[[ME:[-a-z0-9_]+]] = symm.rank
// CHECK: gpu.launch
// CHECK: %[[HAVE_COME:.*]] = arith.cmpi ne, %{{.*}}, %c0_i32
// CHECK: symm.phase "place"
// CHECK: memref.store %{{.*}}, %[[NEEDED:[-a-z0-9_]+]][%{{[-a-z0-9_]+}}] : memref<4xi32, #gpu.address_space<workgroup>>
// CHECK: symm.phase "put"
// CHECK: symm.phase "complete"
// CHECK: gpu.barrier
// CHECK: symm.signal
// CHECK: symm.phase "pad"
// CHECK-NEXT: %[[IS_FINE:.*]] = arith.andi %{{.*}}, %{{.*}} : i1
// CHECK-NEXT: scf.if %[[IS_FINE]]
// CHECK: memref.load %[[NEEDED]][%[[ME]]]
// CHECK: %[[ROWS:.*]] = arith.maxsi %{{.*}}, %c0
// CHECK: %[[OWN:.*]] = arith.addi %{{.*}}, %{{.*}} : index
// CHECK: %[[ALL:.*]] = arith.muli %{{.*}}, %c16
// CHECK: %[[FIRST:.*]] = arith.addi %[[ROWS]], %[[OWN]]
// CHECK: scf.for %[[ROW:[a-z0-9]+]] = %[[FIRST]] to %c40 step %[[ALL]]
// CHECK: vector.store %{{.*}}, %[[X]][%[[ROW]], %{{.*}}] {alignment = 16 : i64} : memref<40x64xbf16, #symm.space>, vector<8xbf16>
// CHECK: vector.store %{{.*}}, %[[IDX]][%[[ROW]], %{{.*}}] {{.*}}vector<1xi32>
// CHECK: vector.store %{{.*}}, %[[W]][%[[ROW]], %{{.*}}] {{.*}}vector<1xf32>
// CHECK: memref.store %c-1_i32, %[[SRC]][%[[ROW]]]
// CHECK: symm.phase "complete"
// CHECK: symm.wait
// CHECK-NOT: symm.phase
// CHECK: gpu.terminator
func.func @rank_major(%x: memref<16x64xbf16>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<40x64xbf16, #symm.space>,
    %recv_idx: memref<40x2xi32, #symm.space>,
    %recv_w: memref<40x2xf32, #symm.space>, %src: memref<40xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 8 : i64, capacity = 40 : i64,
      padding = #moe.padding<zero>}
    : (memref<16x64xbf16>, memref<16x2xi32>, memref<16x2xf32>,
       memref<40x64xbf16, #symm.space>, memref<40x2xi32, #symm.space>,
       memref<40x2xf32, #symm.space>, memref<40xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x4xi32>) -> ()
  return
}

// An item is a row of one of the gaps between the groups of this rank, of which each has fewer
// than 8; then those behind the last group.
// CHECK-LABEL: func.func @expert_major
// CHECK: symm.phase "pad"
// CHECK: scf.if
// CHECK: %[[GAPS:.*]] = arith.subi %{{.*}}, %c1
// CHECK: %[[ITEMS:.*]] = arith.muli %[[GAPS]], %c8
// CHECK: scf.for %[[ITEM:[a-z0-9]+]] = %{{.*}} to %[[ITEMS]] step
// CHECK-NEXT: %[[GAP:.*]] = arith.divui %[[ITEM]], %c8
// CHECK-NEXT: %[[PLACE:.*]] = arith.remui %[[ITEM]], %c8
// CHECK: %[[ROW:.*]] = arith.addi %{{.*}}, %[[PLACE]]
// CHECK: %[[NEXT:.*]] = arith.minsi %{{.*}}, %c90
// CHECK: %[[IS_GAP:.*]] = arith.cmpi slt, %[[ROW]], %[[NEXT]]
// CHECK-NEXT: scf.if %[[IS_GAP]]
// CHECK: scf.for %{{.*}} = %{{.*}} to %c90 step
// CHECK: symm.phase "complete"
func.func @expert_major(%x: memref<16x8xf32>, %idx: memref<16x2xi64>,
    %w: memref<16x2xf32>, %recv_x: memref<90x8xf32, #symm.space>,
    %recv_idx: memref<90xi64, #symm.space>,
    %recv_w: memref<90xf32, #symm.space>, %src: memref<90xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x2xi32>,
    %offsets: memref<2xi32>, %group_counts: memref<2xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %group_counts) on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>, alignment = 8 : i64,
      capacity = 90 : i64, padding = #moe.padding<zero>}
    : (memref<16x8xf32>, memref<16x2xi64>, memref<16x2xf32>,
       memref<90x8xf32, #symm.space>, memref<90xi64, #symm.space>,
       memref<90xf32, #symm.space>, memref<90xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x2xi32>, memref<2xi32>,
       memref<2xi32>) -> ()
  return
}

// Every block waits for the counts of a slab, not only the first; a count that did not come
// leaves no row to fill.
// CHECK-LABEL: func.func @slab
// CHECK-SAME: %[[FROM:[a-z0-9]+]]: memref<4xi32>, %{{[a-z0-9]+}}: memref<16x4xi32>)
// CHECK: gpu.launch
// CHECK: symm.phase "complete"
// CHECK: %[[SEEN:.*]] = symm.wait %{{.*}} -> i64
// CHECK: %[[COUNT:.*]] = arith.subi %[[SEEN]], %
// CHECK: symm.check %{{.*}}, peer_failed
// CHECK: scf.if
// CHECK: memref.store %{{.*}}, %[[FROM]]
// CHECK: %[[IS_COUNT:.*]] = arith.cmpi ule, %[[COUNT]], %c16_i64
// CHECK: arith.select %[[IS_COUNT]], %[[COUNT]], %c16_i64
// CHECK: memref.store %{{.*}}, %[[ROWS:[a-z0-9_]+]][%{{.*}}] : memref<4xi32, #gpu.address_space<workgroup>>
// CHECK: gpu.barrier
// CHECK: symm.phase "pad"
// CHECK: scf.for %[[SENDER:[a-z0-9]+]] = %c0 to %c4 step %c1
// CHECK: memref.load %[[ROWS]][%[[SENDER]]]
// CHECK: symm.phase "complete"
func.func @slab(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<64x8xf32, #symm.space>,
    %recv_idx: memref<64x2xi32, #symm.space>,
    %recv_w: memref<64x2xf32, #symm.space>, %src: memref<64xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 8 : i64, layout = #moe.layout<slab>,
      padding = #moe.padding<zero>}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>,
       memref<64x8xf32, #symm.space>, memref<64x2xi32, #symm.space>,
       memref<64x2xf32, #symm.space>, memref<64xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x4xi32>) -> ()
  return
}

// The blocks meet when each has waited for its share of the last signals: then all runs are
// there. The kernel has 2 * 2 subgroups, so each looks at 12 rows, or 13, that are far apart.
// CHECK-LABEL: func.func @reuse
// CHECK: %[[RUNS:[-a-z0-9_]+]] = symm.alloc persistent : memref<50xi64, #symm.space>
// CHECK: gpu.launch
// CHECK: symm.phase "put"
// CHECK: %[[THERE:[-a-z0-9_]+]] = symm.peer %[[RUNS]] at
// CHECK: memref.store %{{.*}}, %[[THERE]]
// CHECK: symm.put_each
// CHECK: symm.phase "complete"
// CHECK: symm.signal
// CHECK: symm.wait
// CHECK: symm.phase "pad"
// CHECK-NEXT: %[[MET:.*]] = symm.grid_barrier
// CHECK-NEXT: scf.if %[[MET]]
// CHECK: scf.for %[[GROUP:[a-z0-9]+]] = %{{.*}} to %c4 step
// CHECK: %[[PLACE:.*]] = arith.muli %{{.*}}, %c4
// CHECK: %[[ROW:.*]] = arith.addi %[[PLACE]], %[[GROUP]]
// CHECK: memref.load %[[RUNS]][%[[ROW]]]
// CHECK-NEXT: arith.cmpi ne
// CHECK: %[[EMPTY:.*]] = nvvm.vote.sync ballot
// CHECK: scf.for %{{.*}} = %c0 to %c13 step %c1
// CHECK: arith.andi %[[EMPTY]], %
// CHECK: vector.store
// CHECK: gpu.terminator
func.func @reuse(%x: memref<16x8xf32>, %rows: memref<16x4xi32>,
    %recv_x: memref<50x8xf32, #symm.space>) {
  moe.dispatch %x reuse(%rows) outs(%recv_x) on @ep {
      num_experts = 8 : i64, capacity = 50 : i64, padding = #moe.padding<zero>,
      kernel = #moe.kernel<blocks = 2, threads = 64>}
    : (memref<16x8xf32>, memref<16x4xi32>, memref<50x8xf32, #symm.space>) -> ()
  return
}
