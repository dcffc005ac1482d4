// Rows along routes that are known: nothing is counted, only rows move
// (dispatch_s10).
//
// RUN: moe-opt %s --convert-moe-to-symm | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @reuse
// CHECK-SAME: (%[[X:[-a-z0-9_]+]]: memref<16x8xf8E5M2>, %[[S:[-a-z0-9_]+]]: memref<16x2xf32>, %[[ROWS:[-a-z0-9_]+]]: memref<16x4xi32>, %[[RX:[-a-z0-9_]+]]: memref<64x8xf8E5M2, #symm.space>, %[[RS:[-a-z0-9_]+]]: memref<64x2xf32, #symm.space>)
// CHECK: symm.collective_begin "moe.dispatch" site 0
// CHECK: symm.phase "ready"
// CHECK: symm.barrier
// CHECK-NEXT: symm.phase "put"
// CHECK: %[[ENTRY:[-a-z0-9_]+]] = memref.load %[[ROWS]][%[[TOKEN:[-a-z0-9_]+]], %[[PEER:[-a-z0-9_]+]]]
// CHECK: %[[ROW:[-a-z0-9_]+]] = arith.index_cast %[[ENTRY]]
// CHECK: arith.cmpi sge, %[[ROW]], %c-1{{(_[0-9]+)?}}
// CHECK: arith.cmpi slt, %[[ROW]], %c64{{(_[0-9]+)?}}
// CHECK: %[[VALID:[-a-z0-9_]+]] = arith.andi
// CHECK: symm.check %[[VALID]], invalid_count, "send_row" expected
// CHECK: scf.if
// CHECK:   symm.put %[[X]][%[[TOKEN]]] to %[[RX]][%[[ROW]]] at %[[PEER]]
// CHECK:   symm.put %[[S]][%[[TOKEN]]] to %[[RS]][%[[ROW]]] at %[[PEER]]
// CHECK-NOT: symm.peer
// CHECK: symm.phase "complete"
// CHECK: symm.signal
// CHECK: symm.wait
// CHECK-NOT: symm.free
// CHECK: symm.collective_end
func.func @reuse(%x: memref<16x8xf8E5M2>, %s: memref<16x2xf32>,
    %rows: memref<16x4xi32>, %recv_x: memref<64x8xf8E5M2, #symm.space>,
    %recv_s: memref<64x2xf32, #symm.space>) {
  moe.dispatch %x scales(%s) reuse(%rows) outs(%recv_x, %recv_s)
      on @ep {num_experts = 8 : i64}
    : (memref<16x8xf8E5M2>, memref<16x2xf32>, memref<16x4xi32>,
       memref<64x8xf8E5M2, #symm.space>, memref<64x2xf32, #symm.space>) -> ()
  return
}

// The expert says which rank; an id that names none is an error.
// CHECK-LABEL: func.func @reuse_expert_major
// CHECK-SAME: (%[[X:[-a-z0-9_]+]]: memref<16x8xf32>, %[[ROWS:[-a-z0-9_]+]]: memref<16x2xi32>, %[[IDX:[-a-z0-9_]+]]: memref<16x2xi32>,
// CHECK: symm.phase "put"
// CHECK: memref.load %[[ROWS]][%[[TOKEN:[-a-z0-9_]+]], %[[K:[-a-z0-9_]+]]]
// CHECK: symm.check %{{.*}}, invalid_count, "send_row"
// CHECK: scf.if
// CHECK:   %[[ID:[-a-z0-9_]+]] = memref.load %[[IDX]][%[[TOKEN]], %[[K]]]
// CHECK:   %[[EXPERT:[-a-z0-9_]+]] = arith.index_cast %[[ID]]
// CHECK:   %[[VALID:[-a-z0-9_]+]] = arith.cmpi ult, %[[EXPERT]],
// CHECK:   symm.check %[[VALID]], invalid_expert, "expert id"
// CHECK:   %[[PEER:[-a-z0-9_]+]] = arith.divui %[[EXPERT]],
// CHECK:   symm.put %[[X]][%[[TOKEN]]] to %{{.*}} at %[[PEER]]
func.func @reuse_expert_major(%x: memref<16x8xf32>, %rows: memref<16x2xi32>,
    %idx: memref<16x2xi32>, %recv_x: memref<128x8xf32, #symm.space>) {
  moe.dispatch %x reuse(%rows, %idx) outs(%recv_x)
      on @ep {num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xi32>,
       memref<128x8xf32, #symm.space>) -> ()
  return
}
