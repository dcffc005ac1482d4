// A combine that pushes: ready, put, complete, reduce.
//
// RUN: moe-opt %s --convert-moe-to-symm | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @push
// CHECK-SAME: (%[[Y:[-a-z0-9_]+]]: memref<64x8xf32>, %[[ROWS:[-a-z0-9_]+]]: memref<16x4xi32>, %[[SRC:[-a-z0-9_]+]]: memref<64xi32>, %[[N:[-a-z0-9_]+]]: memref<4xi32>, %[[OUT:[-a-z0-9_]+]]: memref<16x8xf32>)
// CHECK: %[[ME:[-a-z0-9_]+]] = symm.rank
// CHECK: symm.phase "ready"
// CHECK: symm.barrier

// One slot per (token, rank) on the token's rank: 16 times 4.
// CHECK: symm.phase "put"
// CHECK: %[[SLOTS:[-a-z0-9_]+]] = symm.alloc : memref<64x8xf32, #symm.space>
// CHECK: scf.for %[[SENDER:[-a-z0-9_]+]] = {{.*}} -> (index) {
// CHECK:   memref.load %[[N]][%[[SENDER]]]
// CHECK:   arith.minsi
// CHECK:   scf.for %[[ROW:[-a-z0-9_]+]] =
// CHECK:     memref.load %[[SRC]][%[[ROW]]]
// CHECK:     %[[TOKEN:[-a-z0-9_]+]] = arith.subi
// CHECK:     %[[IS_TOKEN:[-a-z0-9_]+]] = arith.cmpi ult, %[[TOKEN]],
// CHECK:     symm.check %[[IS_TOKEN]], invalid_count, "recv_src_idx" expected %{{.*}} seen %{{.*}} peer %[[SENDER]]
// CHECK:     %[[SLOT:[-a-z0-9_]+]] = arith.addi %{{.*}}, %[[ME]]
// CHECK:     symm.put %[[Y]][%[[ROW]]] to %[[SLOTS]][%[[SLOT]]] at %[[SENDER]]

// CHECK: symm.phase "complete"
// CHECK: symm.barrier

// The same order of addition as when pulling, all of it local.
// CHECK: symm.phase "reduce"
// CHECK: symm.check %{{.*}}, invalid_count, "send_row"
// CHECK-NOT: symm.peer
// CHECK: memref.load %[[SLOTS]]
// CHECK: arith.addf
// CHECK-NOT: symm.phase
// CHECK: symm.free %[[SLOTS]]
// CHECK: symm.collective_end
func.func @push(%y: memref<64x8xf32>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %out: memref<16x8xf32>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64,
      algorithm = #moe.algorithm<push>}
    : (memref<64x8xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x8xf32>) -> ()
  return
}

// Weights travel with their rows; the rows of a sender start at sender * T_max.
// CHECK-LABEL: func.func @push_slab_weights
// CHECK-SAME: %[[W:[a-z0-9]+]]: memref<64xf32>,
// CHECK: symm.phase "put"
// CHECK: %[[SLOTS:[-a-z0-9_]+]] = symm.alloc : memref<64x8xf32, #symm.space>
// CHECK: %[[SLOT_W:[-a-z0-9_]+]] = symm.alloc : memref<64xf32, #symm.space>
// CHECK: scf.for %[[SENDER:[-a-z0-9_]+]] =
// CHECK: %[[FIRST:[-a-z0-9_]+]] = arith.muli %[[SENDER]],
// CHECK: %[[END:[-a-z0-9_]+]] = arith.addi %[[FIRST]],
// CHECK: scf.for %[[ROW:[-a-z0-9_]+]] = %[[FIRST]] to
// CHECK: symm.put %{{.*}}[%[[ROW]]] to %[[SLOTS]][%[[SLOT:[-a-z0-9_]+]]] at %[[SENDER]]
// CHECK: memref.load %[[W]][%[[ROW]]]
// CHECK: %[[THERE:[-a-z0-9_]+]] = symm.peer %[[SLOT_W]] at %[[SENDER]]
// CHECK: memref.store %{{.*}}, %[[THERE]][%[[SLOT]]]
// CHECK: symm.phase "reduce"
// CHECK: memref.load %[[SLOT_W]]
// CHECK: arith.mulf
// CHECK-DAG: symm.free %[[SLOT_W]]
// CHECK-DAG: symm.free %[[SLOTS]]
func.func @push_slab_weights(%y: memref<64x8xf32>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %w: memref<64xf32>,
    %out: memref<16x8xf32>) {
  moe.combine %y, %rows, %src, %n weights(%w) outs(%out) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<slab>,
      algorithm = #moe.algorithm<push>}
    : (memref<64x8xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<64xf32>, memref<16x8xf32>) -> ()
  return
}
