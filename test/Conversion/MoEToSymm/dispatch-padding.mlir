// Rows that no token was sent to (dispatch_s12): each rank fills its own.
//
// RUN: moe-opt %s --convert-moe-to-symm --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// Behind the last row, between the signals and the wait: other ranks do not wait for it. A
// row has zeros, -1 for its experts and its source.
// CHECK-LABEL: func.func @rank_major
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<40x8xbf16, #symm.space>, %[[IDX:[a-z0-9]+]]: memref<40x2xi32, #symm.space>, %[[W:[a-z0-9]+]]: memref<40x2xf32, #symm.space>, %[[SRC:[a-z0-9]+]]: memref<40xi32, #symm.space>, %{{[a-z0-9]+}}: memref<4xi32>, %[[FROM:[a-z0-9]+]]: memref<4xi32>,
// CHECK-DAG: %[[ZERO:[-a-z0-9_]+]] = arith.constant 0.000000e+00 : bf16
// CHECK-DAG: %[[NONE:[-a-z0-9_]+]] = arith.constant -1 : i32
// CHECK-DAG: %[[NO_WEIGHT:[-a-z0-9_]+]] = arith.constant 0.000000e+00 : f32
// CHECK: symm.phase "put"
// CHECK: symm.phase "complete"
// CHECK: symm.signal
// CHECK: symm.phase "pad"
// CHECK: %[[ROWS:.*]] = scf.for %[[SENDER:[a-z0-9]+]] = %c0 to %c4 step %c1 iter_args(%[[SUM:[a-z0-9]+]] = %c0)
// CHECK: memref.load %[[FROM]][%[[SENDER]]]
// CHECK: arith.addi %[[SUM]], %
// CHECK: %[[FIRST:.*]] = arith.maxsi %[[ROWS]], %c0
// CHECK: scf.for %[[ROW:[a-z0-9]+]] = %[[FIRST]] to %c40 step %c1
// CHECK-NEXT: scf.for %[[COLUMN:[a-z0-9]+]] = %c0 to %c8 step %c1
// CHECK-NEXT: memref.store %[[ZERO]], %[[X]][%[[ROW]], %[[COLUMN]]]
// CHECK: memref.store %[[NONE]], %[[IDX]][%[[ROW]], %
// CHECK: memref.store %[[NO_WEIGHT]], %[[W]][%[[ROW]], %
// CHECK: memref.store %[[NONE]], %[[SRC]][%[[ROW]]]
// CHECK: symm.phase "complete"
// CHECK-NEXT: scf.for
// CHECK: symm.wait
// CHECK-NOT: symm.phase
// CHECK: symm.collective_end
func.func @rank_major(%x: memref<16x8xbf16>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<40x8xbf16, #symm.space>,
    %recv_idx: memref<40x2xi32, #symm.space>,
    %recv_w: memref<40x2xf32, #symm.space>, %src: memref<40xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 8 : i64, capacity = 40 : i64,
      padding = #moe.padding<zero>}
    : (memref<16x8xbf16>, memref<16x2xi32>, memref<16x2xf32>,
       memref<40x8xbf16, #symm.space>, memref<40x2xi32, #symm.space>,
       memref<40x2xf32, #symm.space>, memref<40xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x4xi32>) -> ()
  return
}

// Between groups, as far as they fit, and behind the last.
// CHECK-LABEL: func.func @expert_major
// CHECK-SAME: %[[OFFSETS:[a-z0-9]+]]: memref<2xi32>, %[[COUNTS:[a-z0-9]+]]: memref<2xi32>)
// CHECK: symm.phase "pad"
// CHECK: %[[END:.*]] = scf.for %[[GROUP:[a-z0-9]+]] = %c0 to %c2 step %c1 iter_args(%[[BEFORE:[a-z0-9]+]] = %c0)
// CHECK: memref.load %[[OFFSETS]][%[[GROUP]]]
// CHECK-NEXT: %[[NEXT:.*]] = arith.index_cast
// CHECK-DAG: %[[FROM:.*]] = arith.maxsi %[[BEFORE]], %c0
// CHECK-DAG: %[[TO:.*]] = arith.minsi %[[NEXT]], %c90
// CHECK: scf.for %{{.*}} = %[[FROM]] to %[[TO]] step %c1
// CHECK: memref.load %[[COUNTS]][%[[GROUP]]]
// CHECK: arith.addi %[[NEXT]], %
// CHECK: %[[LAST:.*]] = arith.maxsi %[[END]], %c0
// CHECK: scf.for %{{.*}} = %[[LAST]] to %c90 step %c1
// CHECK: symm.phase "complete"
// CHECK: symm.wait
func.func @expert_major(%x: memref<16x8xf32>, %idx: memref<16x2xi64>,
    %w: memref<16x2xf32>, %recv_x: memref<90x8xf32, #symm.space>,
    %recv_idx: memref<90xi64, #symm.space>,
    %recv_w: memref<90xf32, #symm.space>, %src: memref<90xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x2xi32>,
    %offsets: memref<2xi32>, %group_counts: memref<2xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %group_counts) on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>, alignment = 16 : i64,
      capacity = 90 : i64, padding = #moe.padding<zero>}
    : (memref<16x8xf32>, memref<16x2xi64>, memref<16x2xf32>,
       memref<90x8xf32, #symm.space>, memref<90xi64, #symm.space>,
       memref<90xf32, #symm.space>, memref<90xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x2xi32>, memref<2xi32>,
       memref<2xi32>) -> ()
  return
}

// The counts of a slab come with the last signals: behind the wait, the rest of each slab.
// CHECK-LABEL: func.func @slab
// CHECK-SAME: %[[FROM:[a-z0-9]+]]: memref<4xi32>, %{{[a-z0-9]+}}: memref<16x4xi32>)
// CHECK: symm.phase "complete"
// CHECK: symm.wait
// CHECK: memref.store %{{.*}}, %[[FROM]]
// CHECK: symm.phase "pad"
// CHECK-NEXT: scf.for %[[SENDER:[a-z0-9]+]] = %c0 to %c4 step %c1
// CHECK-NEXT: %[[SLAB:.*]] = arith.muli %[[SENDER]], %c16
// CHECK: memref.load %[[FROM]][%[[SENDER]]]
// CHECK-DAG: %[[ROWS_END:.*]] = arith.addi %[[SLAB]], %{{[0-9]+}}
// CHECK-DAG: %[[SLAB_END:.*]] = arith.addi %[[SLAB]], %c16
// CHECK-DAG: %[[FIRST:.*]] = arith.maxsi %[[ROWS_END]], %c0
// CHECK-DAG: %[[LAST:.*]] = arith.minsi %[[SLAB_END]], %c64
// CHECK: scf.for %{{.*}} = %[[FIRST]] to %[[LAST]] step %c1
// CHECK: symm.free
// CHECK: symm.collective_end
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

// No counts: whoever puts a row notes the run, and rows of other runs are filled when all
// ranks are done.
// CHECK-LABEL: func.func @reuse
// CHECK-SAME: %[[RX:[a-z0-9]+]]: memref<64x8xf8E5M2, #symm.space>, %[[RS:[a-z0-9]+]]: memref<64x2xf32, #symm.space>)
// CHECK: %[[RUNS:[-a-z0-9_]+]] = symm.alloc persistent : memref<64xi64, #symm.space>
// CHECK: %[[EPOCH:[-a-z0-9_]+]] = symm.next_epoch
// CHECK: symm.phase "put"
// CHECK: symm.put %{{.*}} to %[[RX]][%[[ROW:[-a-z0-9_]+]]] at %[[PEER:[-a-z0-9_]+]]
// CHECK: symm.put %{{.*}} to %[[RS]]
// CHECK: %[[THERE:[-a-z0-9_]+]] = symm.peer %[[RUNS]] at %[[PEER]]
// CHECK: memref.store %[[EPOCH]], %[[THERE]][%[[ROW]]]
// CHECK: symm.phase "complete"
// CHECK: symm.wait
// CHECK: symm.phase "pad"
// CHECK-NEXT: scf.for %[[ROW:[a-z0-9]+]] = %c0 to %c64 step %c1
// CHECK-NEXT: %[[NOTED:.*]] = memref.load %[[RUNS]][%[[ROW]]]
// CHECK-NEXT: %[[IS_EMPTY:.*]] = arith.cmpi ne, %[[NOTED]], %[[EPOCH]]
// CHECK-NEXT: scf.if %[[IS_EMPTY]]
// CHECK: memref.store %{{.*}}, %[[RX]][%[[ROW]], %
// CHECK: memref.store %{{.*}}, %[[RS]][%[[ROW]], %
// CHECK: symm.collective_end
func.func @reuse(%x: memref<16x8xf8E5M2>, %s: memref<16x2xf32>,
    %rows: memref<16x4xi32>, %recv_x: memref<64x8xf8E5M2, #symm.space>,
    %recv_s: memref<64x2xf32, #symm.space>) {
  moe.dispatch %x scales(%s) reuse(%rows) outs(%recv_x, %recv_s)
      on @ep {num_experts = 8 : i64, padding = #moe.padding<zero>}
    : (memref<16x8xf8E5M2>, memref<16x2xf32>, memref<16x4xi32>,
       memref<64x8xf8E5M2, #symm.space>, memref<64x2xf32, #symm.space>) -> ()
  return
}
