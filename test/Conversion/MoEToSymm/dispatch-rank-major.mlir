// The phases of a dispatch: route, count, exchange, place, put, complete.
//
// RUN: moe-opt %s --convert-moe-to-symm | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @rank_major
// CHECK-SAME: (%[[X:[-a-z0-9_]+]]: memref<16x8xf32>, %[[IDX:[-a-z0-9_]+]]: memref<16x2xi32>, %[[W:[-a-z0-9_]+]]: memref<16x2xf32>, %[[RX:[-a-z0-9_]+]]: memref<64x8xf32, #symm.space>, %[[RI:[-a-z0-9_]+]]: memref<64x2xi32, #symm.space>, %[[RW:[-a-z0-9_]+]]: memref<64x2xf32, #symm.space>, %[[SRC:[-a-z0-9_]+]]: memref<64xi32, #symm.space>, %[[TO:[-a-z0-9_]+]]: memref<4xi32>, %[[FROM:[-a-z0-9_]+]]: memref<4xi32>, %[[ROWS:[-a-z0-9_]+]]: memref<16x4xi32>)
// CHECK: symm.collective_begin "moe.dispatch" site 0
// CHECK: %[[ME:[-a-z0-9_]+]] = symm.rank

// Each id is checked against -1 and E - 1 (placement_s2); a repeated one becomes
// -1 and its weight goes to the first (placement_s3).
// CHECK: symm.phase "route"
// CHECK-DAG: %[[EXPERTS:[-a-z0-9_]+]] = memref.alloc() : memref<16x2xi32>
// CHECK-DAG: %[[WEIGHTS:[-a-z0-9_]+]] = memref.alloc() : memref<16x2xf32>
// CHECK-DAG: %[[NONE:[-a-z0-9_]+]] = arith.constant -1 : i32
// CHECK-DAG: %[[LAST:[-a-z0-9_]+]] = arith.constant 7 : i32
// CHECK: %[[EXPERT:[-a-z0-9_]+]] = memref.load %[[IDX]]
// CHECK: %[[ABOVE:[-a-z0-9_]+]] = arith.cmpi sge, %[[EXPERT]], %[[NONE]]
// CHECK: %[[BELOW:[-a-z0-9_]+]] = arith.cmpi sle, %[[EXPERT]], %[[LAST]]
// CHECK: %[[VALID:[-a-z0-9_]+]] = arith.andi %[[ABOVE]], %[[BELOW]]
// CHECK: symm.check %[[VALID]], invalid_expert, "expert id" expected %{{.*}} seen
// CHECK: %[[WEIGHT:[-a-z0-9_]+]] = memref.load %[[W]]
// CHECK: %[[FIRST:[-a-z0-9_]+]] = scf.for {{.*}} -> (i1) {
// CHECK:   arith.cmpi ne, %{{.*}}, %[[EXPERT]]
// CHECK: %[[SUM:[-a-z0-9_]+]] = scf.for {{.*}} iter_args({{.*}} = %[[WEIGHT]]) -> (f32) {
// CHECK:   arith.addf
// CHECK: arith.select %[[FIRST]], %[[EXPERT]], %[[NONE]]
// CHECK: memref.store %{{.*}}, %[[EXPERTS]]
// CHECK: memref.store %{{.*}}, %[[WEIGHTS]]

// Experts of one rank count once: only the first finds `send_row` empty.
// CHECK: symm.phase "count"
// CHECK: %[[COUNTS:[-a-z0-9_]+]] = memref.alloc() : memref<1x4xi32>
// CHECK: linalg.fill {{.*}} outs(%[[COUNTS]] :
// CHECK: linalg.fill {{.*}} outs(%[[ROWS]] :
// CHECK: scf.if
// CHECK:   %[[OWNER:[-a-z0-9_]+]] = arith.divui
// CHECK:   %[[BEFORE:[-a-z0-9_]+]] = memref.load %[[ROWS]][%{{.*}}, %[[OWNER]]]
// CHECK:   arith.cmpi slt, %[[BEFORE]],
// CHECK:   scf.if
// CHECK:     %[[NUMBER:[-a-z0-9_]+]] = memref.load %[[COUNTS]][%{{.*}}, %[[OWNER]]]
// CHECK:     memref.store %[[NUMBER]], %[[ROWS]][%{{.*}}, %[[OWNER]]]
// CHECK:     memref.store %{{.*}}, %[[COUNTS]][%{{.*}}, %[[OWNER]]]
// CHECK: memref.store %{{.*}}, %[[TO]]

// CHECK: symm.phase "exchange"
// CHECK: %[[ALL:[-a-z0-9_]+]] = symm.alloc persistent : memref<4x4xi32, #symm.space>
// CHECK: %[[ARRIVED:[-a-z0-9_]+]] = symm.alloc persistent : memref<4xi64, #symm.space>
// CHECK: %[[COUNTER:[-a-z0-9_]+]] = symm.alloc persistent : memref<1xi64, #symm.space>
// CHECK: %[[EPOCH:[-a-z0-9_]+]] = symm.next_epoch %[[COUNTER]]
// CHECK: symm.put %[[COUNTS]][%{{.*}}] to %[[ALL]][%[[ME]]] at %[[PEER:[-a-z0-9_]+]] : memref<1x4xi32> to
// CHECK: symm.signal %[[ARRIVED]][%[[ME]]] at %[[PEER]], %[[EPOCH]]
// CHECK: symm.wait %[[ARRIVED]][%[[PEER:[-a-z0-9_]+]]] from %[[PEER]], %[[EPOCH]]

// Rows of lower senders come first (dispatch_s1); every rank checks the capacity
// of every rank before a row moves (dispatch_s9).
// CHECK: symm.phase "place"
// CHECK: %[[START:[-a-z0-9_]+]] = memref.alloc() : memref<4xi32>
// CHECK: %[[SUMS:[-a-z0-9_]+]]:2 = scf.for
// CHECK:   memref.load %[[ALL]]
// CHECK:   arith.cmpi ult, %{{.*}}, %[[ME]]
// CHECK: %[[ENOUGH:[-a-z0-9_]+]] = arith.cmpi ule, %[[SUMS]]#1, %c64{{(_[0-9]+)?}}
// CHECK: symm.check %[[ENOUGH]], capacity_exceeded, "rows received, bounded by the capacity" expected %{{.*}} seen %{{.*}} peer
// CHECK: memref.store %{{.*}}, %[[START]]
// CHECK: memref.store %{{.*}}, %[[FROM]]

// Peers are visited in an order rotated by rank. The row and what belongs to it
// go to their final place.
// CHECK: symm.phase "put"
// CHECK: %[[STEP:[-a-z0-9_]+]] = arith.addi %[[ME]], %{{.*}}
// CHECK: %[[PEER:[-a-z0-9_]+]] = arith.remui %[[STEP]], %{{.*}}
// CHECK: memref.load %[[ROWS]][%[[TOKEN:[-a-z0-9_]+]], %[[PEER]]]
// CHECK: %[[FIRST_ROW:[-a-z0-9_]+]] = memref.load %[[START]][%[[PEER]]]
// CHECK: %[[ROW:[-a-z0-9_]+]] = arith.addi
// CHECK: symm.put %[[X]][%[[TOKEN]]] to %[[RX]][%[[ROW]]] at %[[PEER]] : memref<16x8xf32> to memref<64x8xf32, #symm.space>
// CHECK: %[[RI_THERE:[-a-z0-9_]+]] = symm.peer %[[RI]] at %[[PEER]]
// CHECK: %[[RW_THERE:[-a-z0-9_]+]] = symm.peer %[[RW]] at %[[PEER]]
// Experts of other ranks become -1, their weights 0 (dispatch_s2).
// CHECK: scf.for %[[K:[-a-z0-9_]+]] =
// CHECK:   %[[IS_THERE:[-a-z0-9_]+]] = arith.andi
// CHECK:   %[[ID:[-a-z0-9_]+]] = arith.select %[[IS_THERE]]
// CHECK:   memref.store %[[ID]], %[[RI_THERE]][%[[ROW]], %[[K]]]
// CHECK:   %[[WEIGHT:[-a-z0-9_]+]] = arith.select %[[IS_THERE]]
// CHECK:   memref.store %[[WEIGHT]], %[[RW_THERE]][%[[ROW]], %[[K]]]
// CHECK: %[[SRC_THERE:[-a-z0-9_]+]] = symm.peer %[[SRC]] at %[[PEER]]
// CHECK: memref.store %{{.*}}, %[[SRC_THERE]][%[[ROW]]]
// CHECK: memref.store %{{.*}}, %[[ROWS]][%[[TOKEN]], %[[PEER]]]

// CHECK: symm.phase "complete"
// CHECK: %[[DONE:[-a-z0-9_]+]] = symm.alloc persistent : memref<4xi64, #symm.space>
// CHECK: symm.signal %[[DONE]][%[[ME]]] at %{{.*}}, %[[EPOCH]]
// CHECK: symm.wait %[[DONE]][%[[PEER:[-a-z0-9_]+]]] from %[[PEER]], %[[EPOCH]]

// CHECK-COUNT-4: memref.dealloc
// CHECK-NOT: memref.dealloc
// CHECK: symm.collective_end
// CHECK-NEXT: return
func.func @rank_major(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
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

// The number of tokens is checked where it is known at run time only
// (dispatch_s11), before anything else is done with it.
// CHECK-LABEL: func.func @dynamic_tokens
// CHECK: symm.collective_begin "moe.dispatch" site 1
// CHECK: %[[T:[-a-z0-9_]+]] = memref.dim
// CHECK: %[[FEW:[-a-z0-9_]+]] = arith.cmpi ule, %[[T]],
// CHECK: symm.check %[[FEW]], invalid_argument, "number of tokens, bounded by max_tokens" expected
// CHECK: memref.alloc(%[[T]]) : memref<?x2xi64>
// CHECK: symm.phase "count"
func.func @dynamic_tokens(%x: memref<?x8xf32>, %idx: memref<?x2xi64>,
    %w: memref<?x2xf32>, %recv_x: memref<64x8xf32, #symm.space>,
    %recv_idx: memref<64x2xi64, #symm.space>,
    %recv_w: memref<64x2xf32, #symm.space>, %src: memref<64xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<?x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @ep {num_experts = 8 : i64, max_tokens = 16 : i64}
    : (memref<?x8xf32>, memref<?x2xi64>, memref<?x2xf32>,
       memref<64x8xf32, #symm.space>, memref<64x2xi64, #symm.space>,
       memref<64x2xf32, #symm.space>, memref<64xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<?x4xi32>) -> ()
  return
}

// Rows that are not contiguous are copied first.
// CHECK-LABEL: func.func @strided
// CHECK-SAME: (%[[X:[-a-z0-9_]+]]: memref<16x8xf32, strided<[1, 16]>>,
// CHECK: %[[COPY:[-a-z0-9_]+]] = memref.alloc() : memref<16x8xf32>
// CHECK: memref.copy %[[X]], %[[COPY]]
// CHECK: symm.put %[[COPY]][%{{.*}}] to
// CHECK: memref.dealloc %[[COPY]]
func.func @strided(%x: memref<16x8xf32, strided<[1, 16]>>,
    %idx: memref<16x1xi32>, %w: memref<16x1xf32>,
    %recv_x: memref<64x8xf32, #symm.space>,
    %recv_idx: memref<64x1xi32, #symm.space>,
    %recv_w: memref<64x1xf32, #symm.space>, %src: memref<64xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @ep {num_experts = 8 : i64}
    : (memref<16x8xf32, strided<[1, 16]>>, memref<16x1xi32>, memref<16x1xf32>,
       memref<64x8xf32, #symm.space>, memref<64x1xi32, #symm.space>,
       memref<64x1xf32, #symm.space>, memref<64xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x4xi32>) -> ()
  return
}

// Rows and their scales are moved as they are, whatever their type (types_s1).
// CHECK-LABEL: func.func @scales
// CHECK-NOT: arith.{{extf|truncf|bitcast}}
// CHECK-SAME: %[[S:[a-z0-9]+]]: memref<16x2xf32>, %{{.*}}: memref<64x8xf8E4M3FN, #symm.space>, %[[RS:[-a-z0-9_]+]]: memref<64x2xf32, #symm.space>, %{{.*}}: memref<64x1xi32, #symm.space>
// CHECK: symm.put %{{.*}}[%[[TOKEN:[-a-z0-9_]+]]] to %{{.*}}[%[[ROW:[-a-z0-9_]+]]] at %[[PEER:[-a-z0-9_]+]] : memref<16x8xf8E4M3FN> to
// CHECK-NEXT: symm.put %[[S]][%[[TOKEN]]] to %[[RS]][%[[ROW]]] at %[[PEER]] : memref<16x2xf32> to
// CHECK-NOT: arith.{{extf|truncf|bitcast}}
// CHECK: symm.collective_end
func.func @scales(%x: memref<16x8xf8E4M3FN>, %idx: memref<16x1xi32>,
    %w: memref<16x1xf32>, %s: memref<16x2xf32>,
    %recv_x: memref<64x8xf8E4M3FN, #symm.space>,
    %recv_s: memref<64x2xf32, #symm.space>,
    %recv_idx: memref<64x1xi32, #symm.space>,
    %recv_w: memref<64x1xf32, #symm.space>, %src: memref<64xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w scales(%s) outs(%recv_x, %recv_s, %recv_idx,
      %recv_w, %src, %to, %from, %rows)
      on @ep {num_experts = 8 : i64}
    : (memref<16x8xf8E4M3FN>, memref<16x1xi32>, memref<16x1xf32>,
       memref<16x2xf32>, memref<64x8xf8E4M3FN, #symm.space>,
       memref<64x2xf32, #symm.space>, memref<64x1xi32, #symm.space>,
       memref<64x1xf32, #symm.space>, memref<64xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x4xi32>) -> ()
  return
}
