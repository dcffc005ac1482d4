// A dispatch on GPUs that exchange messages: kernels that wait for nobody, and
// one exchange.
//
// RUN: moe-opt %s --convert-moe-to-coll=target=cuda --canonicalize --split-input-file | FileCheck %s --implicit-check-not=#symm.space --implicit-check-not=symm.signal --implicit-check-not=symm.wait --implicit-check-not=symm.peer

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @rank_major
// CHECK-SAME: (%[[X:[-a-z0-9_]+]]: memref<16x8xf32>, %{{.*}}: memref<16x2xi32>, %{{.*}}: memref<16x2xf32>, %[[RX:[-a-z0-9_]+]]: memref<64x8xf32>, %[[RI:[-a-z0-9_]+]]: memref<64x2xi32>, %[[RW:[-a-z0-9_]+]]: memref<64x2xf32>, %[[SRC:[-a-z0-9_]+]]: memref<64xi32>, %[[TO:[-a-z0-9_]+]]: memref<4xi32>, %[[FROM:[-a-z0-9_]+]]: memref<4xi32>, %[[ROWS:[-a-z0-9_]+]]: memref<16x4xi32>)
// Two rows of a token, at most.
// CHECK: %[[ALLOC:[-a-z0-9_]+]] = memref.alloc() : memref<32x8xf32>
// CHECK: %[[OX:[-a-z0-9_]+]] = memref.cast %[[ALLOC]]
// CHECK: memref.alloc() : memref<32x2xi32>
// CHECK: memref.alloc() : memref<32x2xf32>
// CHECK: memref.alloc() : memref<32xi32>
// CHECK: %[[COUNTS:[-a-z0-9_]+]] = memref.alloc() : memref<1x4xi32>

// Rows are counted and packed by one kernel; `send_row` is the row in the outbox.
// After an error of this rank the others get -1.
// CHECK: gpu.launch
// CHECK: symm.phase "count"
// CHECK: symm.check %{{.*}}, invalid_expert, "expert id"
// CHECK: memref.store %{{.*}}, %[[TO]]
// CHECK: %[[COUNT:.*]] = arith.select %{{.*}}, %c-1_i32, %{{.*}} : i32
// CHECK: memref.store %[[COUNT]], %[[COUNTS]]
// CHECK: symm.phase "pack"
// CHECK: memref.store %{{.*}}, %[[ROWS]]
// CHECK: symm.put_each %[[X]][%{{.*}}] to %[[OX]][
// CHECK: symm.phase "exchange"
// CHECK: %[[ALL:[-a-z0-9_]+]] = memref.alloc() : memref<4x4xi32>
// CHECK: coll.all_gather %[[COUNTS]], %[[ALL]]

// Checks come before host code reads the tables, and so before a row moves.
// CHECK: %[[TABLES:[-a-z0-9_]+]] = memref.alloc() : memref<4x4xi32>
// CHECK: gpu.launch
// CHECK: symm.phase "place"
// CHECK: memref.store %{{.*}}, %[[FROM]]
// CHECK: symm.check %{{.*}}, peer_failed
// CHECK: symm.check %{{.*}}, capacity_exceeded
// CHECK: memref.store %{{.*}}, %[[TABLES]][%c0,
// CHECK: memref.store %{{.*}}, %[[TABLES]][%c1,
// CHECK: memref.store %{{.*}}, %[[TABLES]][%c2,
// CHECK: memref.store %{{.*}}, %[[TABLES]][%c3,
// CHECK: memref.store %{{.*}}, %[[ROWS]]
// CHECK: coll.read %[[TABLES]]
// CHECK: symm.phase "move"
// CHECK: coll.exchange {
// CHECK-NEXT: coll.rows %[[OX]][%[[SS:.*]], %[[SN:.*]]] to %[[RX]][%[[RS:.*]], %[[RN:.*]]] :
// CHECK-NEXT: coll.rows %{{.*}}[%[[SS]], %[[SN]]] to %[[RI]][%[[RS]], %[[RN]]] :
// CHECK-NEXT: coll.rows %{{.*}}[%[[SS]], %[[SN]]] to %[[RW]][%[[RS]], %[[RN]]] :
// CHECK-NEXT: coll.rows %{{.*}}[%[[SS]], %[[SN]]] to %[[SRC]][%[[RS]], %[[RN]]] :
// CHECK-NEXT: }
// CHECK-NOT: gpu.launch
// CHECK: symm.collective_end
func.func @rank_major(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<64x8xf32>,
    %recv_idx: memref<64x2xi32>, %recv_w: memref<64x2xf32>,
    %src: memref<64xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 8 : i64, kernel = #moe.kernel<blocks = 4, threads = 64>}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>, memref<64x8xf32>,
       memref<64x2xi32>, memref<64x2xf32>, memref<64xi32>, memref<4xi32>,
       memref<4xi32>, memref<16x4xi32>) -> ()
  return
}

// -----

shard.grid @ep(shape = 4)

// Where blocks have to meet, their words are zero before each run.
// CHECK-LABEL: func.func @many_tokens
// CHECK: %[[TAKEN:.*]] = memref.alloc() : memref<2xi64>
// CHECK: linalg.fill ins(%c0_i64 : i64) outs(%[[TAKEN]] : memref<2xi64>)
// CHECK: %[[POSTED:.*]] = memref.alloc() : memref<640xi64>
// CHECK: linalg.fill ins(%c0_i64 : i64) outs(%[[POSTED]] : memref<640xi64>)
// CHECK: gpu.launch
// CHECK: symm.post %{{.*}} to %[[POSTED]][%{{.*}}] in %c1_i64
// CHECK: symm.collect %[[POSTED]][%{{.*}}] in %c1_i64
// CHECK: symm.take %[[TAKEN]][%c1]
func.func @many_tokens(%x: memref<4096x8xf32>, %idx: memref<4096x2xi32>,
    %w: memref<4096x2xf32>, %recv_x: memref<16384x8xf32>,
    %recv_idx: memref<16384x2xi32>, %recv_w: memref<16384x2xf32>,
    %src: memref<16384xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<4096x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 8 : i64, kernel = #moe.kernel<blocks = 4, threads = 64>}
    : (memref<4096x8xf32>, memref<4096x2xi32>, memref<4096x2xf32>,
       memref<16384x8xf32>, memref<16384x2xi32>, memref<16384x2xf32>,
       memref<16384xi32>, memref<4xi32>, memref<4xi32>, memref<4096x4xi32>) -> ()
  return
}

// -----

shard.grid @ep(shape = 4)

// expert_major: rows come to a box, from which a kernel takes them to their
// groups. The kernel that places rows knows the blocks of the box.
// CHECK-LABEL: func.func @expert_major
// CHECK-SAME: %[[RX:[-a-z0-9_]+]]: memref<128x8xf32>
// CHECK-SAME: %[[ROWS:[-a-z0-9_]+]]: memref<16x2xi32>, %{{[-a-z0-9_]+}}: memref<2xi32>, %{{[-a-z0-9_]+}}: memref<2xi32>)
// CHECK: coll.all_gather %{{.*}}, %[[ALL:.*]] : memref<1x8xi32> to memref<4x8xi32>
// CHECK: %[[BEGINS:[-a-z0-9_]+]] = memref.alloc() : memref<8xi32>
// CHECK: %[[PLACES:[-a-z0-9_]+]] = memref.alloc() : memref<8xi32>
// Where counts tell of an error `send_row` may hold anything: it is left alone.
// No table is read where an expert is none.
// CHECK: memref.store %{{.*}}, %[[PLACES]][
// CHECK: %[[OWN:.*]] = arith.muli %{{.*}}, %c2 : index
// CHECK-NEXT: %[[ENTRIES:.*]] = arith.select %{{.*}}, %[[OWN]], %c0 : index
// CHECK-NEXT: scf.for %{{.*}} = %{{.*}} to %[[ENTRIES]] step
// CHECK: memref.load %[[ROWS]][
// CHECK: %[[IS:.*]] = arith.cmpi ult, %[[EXPERT:.*]], %c8
// CHECK-NEXT: %[[KEY:.*]] = arith.select %[[IS]], %[[EXPERT]], %c0
// CHECK-NEXT: memref.load %{{.*}}[%[[KEY]]]
// CHECK: coll.read
// CHECK: %[[N:.*]] = coll.table_end
// CHECK: %[[BOX:[-a-z0-9_]+]] = memref.alloc(%[[N]]) : memref<?x8xf32>
// CHECK: coll.rows %{{.*}} to %[[BOX]][
// CHECK: symm.phase "unpack"
// CHECK: gpu.launch
// The last block that begins at the row or before.
// CHECK: scf.for %[[ROW:[-a-z0-9_]+]] =
// CHECK: %[[BEGIN:.*]] = memref.load %[[BEGINS]]
// CHECK: nvvm.vote.sync ballot
// CHECK: math.ctpop
// CHECK: memref.load %[[PLACES]]
// CHECK: symm.put_each %[[BOX]][%[[ROW]]] to %[[RX]][
func.func @expert_major(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<128x8xf32>,
    %recv_idx: memref<128xi32>, %recv_w: memref<128xf32>,
    %src: memref<128xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x2xi32>, %offsets: memref<2xi32>, %counts: memref<2xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %counts) on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>, kernel = #moe.kernel<blocks = 4, threads = 64>}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>, memref<128x8xf32>,
       memref<128xi32>, memref<128xf32>, memref<128xi32>, memref<4xi32>,
       memref<4xi32>, memref<16x2xi32>, memref<2xi32>, memref<2xi32>) -> ()
  return
}

// -----

shard.grid @ep(shape = 4)

// reuse: senders find their blocks in `send_row` and tell the receivers.
// CHECK-LABEL: func.func @reuse
// CHECK-SAME: (%[[X:[-a-z0-9_]+]]: memref<16x8xf32>, %[[ROWS:[-a-z0-9_]+]]: memref<16x4xi32>, %[[RX:[-a-z0-9_]+]]: memref<64x8xf32>)
// CHECK: %[[MINE:[-a-z0-9_]+]] = memref.alloc() : memref<4x1x2xi32>
// CHECK: gpu.launch
// A block for each rank, a thread for each token.
// CHECK: memref.load %[[ROWS]]
// CHECK: symm.check %{{.*}}, invalid_count, "send_row"
// CHECK: arith.minsi
// CHECK: arith.maxsi
// CHECK: memref.store %{{.*}}, %[[MINE]]
// CHECK: coll.all_to_all %[[MINE]], %[[THEIRS:.*]] :
// CHECK: gpu.launch
// CHECK: symm.check %{{.*}}, invalid_count, "end of the rows that the peer's send_row names, bounded by the capacity"
// CHECK: coll.read
// CHECK: gpu.launch
// CHECK: symm.put_each %[[X]]
// CHECK: coll.exchange
// CHECK-NEXT: coll.rows %{{.*}} to %[[RX]][
// CHECK-NEXT: }
func.func @reuse(%x: memref<16x8xf32>, %rows: memref<16x4xi32>,
    %recv_x: memref<64x8xf32>) {
  moe.dispatch %x reuse(%rows) outs(%recv_x) on @ep {num_experts = 8 : i64,
      kernel = #moe.kernel<blocks = 4, threads = 64>}
    : (memref<16x8xf32>, memref<16x4xi32>, memref<64x8xf32>) -> ()
  return
}
