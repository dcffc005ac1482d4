// A dispatch in one exchange of rows: counts to all, rows packed by receiver,
// received where they belong.
//
// RUN: moe-opt %s --convert-moe-to-coll | FileCheck %s --implicit-check-not=symm.put --implicit-check-not=symm.peer

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @rank_major
// CHECK-SAME: (%[[X:[-a-z0-9_]+]]: memref<16x8xf32>, %[[IDX:[-a-z0-9_]+]]: memref<16x2xi32>, %[[W:[-a-z0-9_]+]]: memref<16x2xf32>, %[[RX:[-a-z0-9_]+]]: memref<64x8xf32>, %[[RI:[-a-z0-9_]+]]: memref<64x2xi32>, %[[RW:[-a-z0-9_]+]]: memref<64x2xf32>, %[[SRC:[-a-z0-9_]+]]: memref<64xi32>, %[[TO:[-a-z0-9_]+]]: memref<4xi32>, %[[FROM:[-a-z0-9_]+]]: memref<4xi32>, %[[ROWS:[-a-z0-9_]+]]: memref<16x4xi32>)
// CHECK: symm.collective_begin "moe.dispatch" site 0
// CHECK: %[[ME:[-a-z0-9_]+]] = symm.rank
// CHECK: symm.phase "route"
// CHECK: symm.check {{.*}} invalid_expert, "expert id"
// CHECK: symm.phase "count"
// CHECK: %[[COUNTS:[-a-z0-9_]+]] = memref.alloc() : memref<1x4xi32>
// CHECK: symm.phase "exchange"
// CHECK: %[[ALL:[-a-z0-9_]+]] = memref.alloc() : memref<4x4xi32>
// CHECK: coll.all_gather %[[COUNTS]], %[[ALL]] : memref<1x4xi32> to memref<4x4xi32>

// The capacity of every rank is checked before a row moves (dispatch_s9).
// CHECK: symm.phase "place"
// CHECK: %[[START:[-a-z0-9_]+]] = memref.alloc() : memref<4xi32>
// CHECK: symm.check {{.*}} capacity_exceeded
// CHECK: memref.store %{{.*}}, %[[FROM]]
// First row and number of rows, of this rank's rows there and of theirs here.
// CHECK-DAG: %[[MINE:[-a-z0-9_]+]] = memref.alloc() : memref<4x1x2xi32>
// CHECK-DAG: %[[THEIRS:[-a-z0-9_]+]] = memref.alloc() : memref<4x1x2xi32>

// Number and place of a row, less the first row of its block, is its place among
// the rows for its receiver.
// CHECK: symm.phase "pack"
// CHECK: %[[SHIFT:[-a-z0-9_]+]] = memref.alloc() : memref<4x1xi32>
// CHECK: %[[STARTS:[-a-z0-9_]+]] = memref.alloc() : memref<4xi32>
// CHECK: %[[NUMBERS:[-a-z0-9_]+]] = memref.alloc() : memref<4xi32>
// CHECK: %[[TOTAL:[-a-z0-9_]+]] = scf.for
// CHECK: %[[OX:[-a-z0-9_]+]] = memref.alloc(%[[TOTAL]]) : memref<?x8xf32>
// CHECK: %[[OI:[-a-z0-9_]+]] = memref.alloc(%[[TOTAL]]) : memref<?x2xi32>
// CHECK: %[[OW:[-a-z0-9_]+]] = memref.alloc(%[[TOTAL]]) : memref<?x2xf32>
// CHECK: %[[OSRC:[-a-z0-9_]+]] = memref.alloc(%[[TOTAL]]) : memref<?xi32>
// CHECK: memref.load %[[ROWS]][%[[TOKEN:[-a-z0-9_]+]], %[[PEER:[-a-z0-9_]+]]]
// CHECK: memref.load %[[START]][%[[PEER]]]
// CHECK: %[[ROW:[-a-z0-9_]+]] = arith.addi
// CHECK: memref.load %[[SHIFT]][%[[PEER]], %{{.*}}]
// CHECK: %[[PACKED:[-a-z0-9_]+]] = arith.addi %[[ROW]],
// CHECK: memref.subview %[[X]][%[[TOKEN]], 0] [1, 8]
// CHECK: memref.subview %[[OX]][%[[PACKED]], 0] [1, 8]
// CHECK: memref.copy
// CHECK: memref.store %{{.*}}, %[[OI]][%[[PACKED]],
// CHECK: memref.store %{{.*}}, %[[OW]][%[[PACKED]],
// CHECK: memref.store %{{.*}}, %[[OSRC]][%[[PACKED]]]
// CHECK: memref.store %{{.*}}, %[[ROWS]][%[[TOKEN]], %[[PEER]]]

// CHECK: symm.phase "move"
// CHECK: %[[FIRST:[-a-z0-9_]+]] = memref.alloc() : memref<4xi32>
// CHECK: %[[EXPECTED:[-a-z0-9_]+]] = memref.alloc() : memref<4xi32>
// CHECK: coll.exchange {
// CHECK-NEXT: coll.rows %[[OX]][%[[STARTS]], %[[NUMBERS]]] to %[[RX]][%[[FIRST]], %[[EXPECTED]]]
// CHECK-NEXT: coll.rows %[[OI]][%[[STARTS]], %[[NUMBERS]]] to %[[RI]][%[[FIRST]], %[[EXPECTED]]]
// CHECK-NEXT: coll.rows %[[OW]][%[[STARTS]], %[[NUMBERS]]] to %[[RW]][%[[FIRST]], %[[EXPECTED]]]
// CHECK-NEXT: coll.rows %[[OSRC]][%[[STARTS]], %[[NUMBERS]]] to %[[SRC]][%[[FIRST]], %[[EXPECTED]]]
// CHECK-NEXT: }
// CHECK-NOT: symm.phase
// CHECK: symm.collective_end
// CHECK-NEXT: return
func.func @rank_major(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
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

// What lies past the capacity is neither sent nor expected: both sides cut the
// same blocks (coll_s4).
// CHECK-LABEL: func.func @drop
// CHECK: symm.phase "place"
// CHECK-NOT: symm.check
// CHECK: %[[MINE:[-a-z0-9_]+]] = memref.alloc() : memref<4x1x2xi32>
// CHECK: %[[THEIRS:[-a-z0-9_]+]] = memref.alloc() : memref<4x1x2xi32>
// CHECK: %[[FIRST:[-a-z0-9_]+]] = arith.minui %{{.*}}, %[[C:c20[_0-9]*]]
// CHECK: %[[ROOM:[-a-z0-9_]+]] = arith.subi %{{.*}}, %[[FIRST]]
// CHECK: arith.minui %{{.*}}, %[[ROOM]]
// CHECK: memref.store %{{.*}}, %[[MINE]]
// CHECK: %[[FIRST:[-a-z0-9_]+]] = arith.minui
// CHECK: %[[ROOM:[-a-z0-9_]+]] = arith.subi %{{.*}}, %[[FIRST]]
// CHECK: arith.minui %{{.*}}, %[[ROOM]]
// CHECK: memref.store %{{.*}}, %[[THEIRS]]
// CHECK: symm.phase "pack"
// CHECK: arith.cmpi ult, %[[ROW:[-a-z0-9_]+]], %{{.*}}
// CHECK: scf.if
// CHECK: memref.copy
// CHECK: arith.select
// CHECK: coll.exchange
func.func @drop(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<20x8xf32>,
    %recv_idx: memref<20x2xi32>, %recv_w: memref<20x2xf32>,
    %src: memref<20xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @ep {num_experts = 8 : i64, capacity = 20 : i64,
              overflow = #moe.overflow<drop>}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>, memref<20x8xf32>,
       memref<20x2xi32>, memref<20x2xf32>, memref<20xi32>, memref<4xi32>,
       memref<4xi32>, memref<16x4xi32>) -> ()
  return
}

// A buffer whose rows are not contiguous gets them from one that has them.
// Bits are moved as they are (coll_s3).
// CHECK-LABEL: func.func @strided
// CHECK-SAME: %[[RX:[-a-z0-9_]+]]: memref<64x8xf16, strided<[16, 1]>>
// CHECK-NOT: arith.{{extf|truncf|bitcast}}
// CHECK: symm.phase "move"
// CHECK: %[[STAGED:[-a-z0-9_]+]] = memref.alloc() : memref<64x8xf16>
// CHECK: coll.rows %{{.*}} to %[[STAGED]][
// CHECK: memref.copy %[[STAGED]], %[[RX]]
func.func @strided(%x: memref<16x8xf16>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<64x8xf16, strided<[16, 1]>>,
    %recv_idx: memref<64x2xi32>, %recv_w: memref<64x2xf32>,
    %src: memref<64xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @ep {num_experts = 8 : i64}
    : (memref<16x8xf16>, memref<16x2xi32>, memref<16x2xf32>,
       memref<64x8xf16, strided<[16, 1]>>, memref<64x2xi32>, memref<64x2xf32>,
       memref<64xi32>, memref<4xi32>, memref<4xi32>, memref<16x4xi32>) -> ()
  return
}
