// Kernels with messages of fixed length: no table is read, so that nothing
// depends on data but in kernels (coll_s9).
//
// RUN: moe-opt %s --convert-moe-to-coll="target=cuda schedule=padded" --canonicalize --cse --split-input-file | FileCheck %s --implicit-check-not=coll.read --implicit-check-not=#symm.space --implicit-check-not=symm.signal --implicit-check-not=symm.wait --implicit-check-not=symm.peer
// RUN: moe-opt %s --convert-moe-to-coll="target=cuda schedule=padded pair-capacity=5" --canonicalize --cse --split-input-file | FileCheck %s --check-prefix=FIVE

shard.grid @ep(shape = 4)

// A token has one row on a rank at most: 16 rows for each of four ranks. No
// count can exceed that, so it is not checked; with less room it is (coll_s8).
// CHECK-LABEL: func.func @dispatch
// CHECK: %[[OUTBOX:[-a-z0-9_]+]] = memref.alloc() : memref<64x8xf32>
// CHECK: gpu.launch
// CHECK: symm.put_each %{{.*}} to %[[OUTBOX]][
// CHECK: coll.all_gather
// CHECK: symm.phase "place"
// CHECK: gpu.launch
// CHECK-NOT: pair capacity
// CHECK: symm.phase "move"
// CHECK: %[[INBOX:[-a-z0-9_]+]] = memref.alloc() : memref<64x8xf32>
// CHECK: %[[STARTS:.*]] = coll.table [0, 16, 32, 48] : memref<4xi32>
// CHECK: %[[COUNTS:.*]] = coll.table [16, 16, 16, 16] : memref<4xi32>
// CHECK: coll.exchange {
// CHECK-NEXT: coll.rows %[[OUTBOX]][%[[STARTS]], %[[COUNTS]]] to %[[INBOX]][%[[STARTS]], %[[COUNTS]]]
// CHECK: symm.phase "unpack"
// CHECK: gpu.launch
// CHECK: symm.put_each %[[INBOX]][
// CHECK: symm.collective_end
// FIVE-LABEL: func.func @dispatch
// FIVE: memref.alloc() : memref<20x8xf32>
// FIVE: symm.phase "place"
// FIVE: symm.check {{.*}}, capacity_exceeded, "rows between two ranks, bounded by the pair capacity"
// FIVE: coll.table [0, 5, 10, 15] : memref<4xi32>
func.func @dispatch(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<64x8xf32>,
    %recv_idx: memref<64x2xi32>, %recv_w: memref<64x2xf32>,
    %src: memref<64xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 8 : i64,
      kernel = #moe.kernel<blocks = 4, threads = 64>}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>, memref<64x8xf32>,
       memref<64x2xi32>, memref<64x2xf32>, memref<64xi32>, memref<4xi32>,
       memref<4xi32>, memref<16x4xi32>) -> ()
  return
}

// -----

shard.grid @ep(shape = 4)

// What a `send_row` names may be more than a message has room for. A rank that
// finds that, or any other error, says so in place of its blocks; blocks that
// are not fine have no rows.
// CHECK-LABEL: func.func @combine
// CHECK: %[[MINE:[-a-z0-9_]+]] = memref.alloc() : memref<4x1x2xi32>
// CHECK: gpu.launch
// CHECK: gpu.launch
// CHECK: symm.check {{.*}}, capacity_exceeded, "rows between two ranks, bounded by the pair capacity"
// CHECK: symm.failed
// CHECK: memref.store %c-1_i32{{.*}}, %[[MINE]]
// CHECK: coll.all_to_all %[[MINE]], %[[THEIRS:.*]] : memref<4x1x2xi32>
// CHECK: gpu.launch
// CHECK: symm.check {{.*}}, peer_failed, "status of a peer"
// CHECK: symm.check {{.*}}, invalid_count
// CHECK: symm.check {{.*}}, capacity_exceeded
// CHECK: memref.store %c0_i32{{.*}}, %[[THEIRS]]
// CHECK: symm.phase "pack"
// CHECK: %[[OUTBOX:[-a-z0-9_]+]] = memref.alloc() : memref<64x8xf32>
// CHECK: gpu.launch
// CHECK: symm.put_each %{{.*}} to %[[OUTBOX]][
// CHECK: %[[INBOX:[-a-z0-9_]+]] = memref.alloc() : memref<64x8xf32>
// CHECK: coll.exchange {
// CHECK-NEXT: coll.rows %[[OUTBOX]][%[[T:.*]], %[[N:.*]]] to %[[INBOX]][%[[T]], %[[N]]]
// CHECK: symm.phase "reduce"
// CHECK: vector.load %[[INBOX]]
func.func @combine(%y: memref<64x8xf32>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %from: memref<4xi32>, %out: memref<16x8xf32>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep {num_experts = 8 : i64,
      kernel = #moe.kernel<blocks = 4, threads = 64>}
    : (memref<64x8xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x8xf32>) -> ()
  return
}

// -----

shard.grid @ep(shape = 4)

// Rows for a rank are no more than it has room for.
// CHECK-LABEL: func.func @alltoallv
// CHECK: coll.all_gather
// CHECK: symm.phase "pack"
// CHECK: %[[OUTBOX:[-a-z0-9_]+]] = memref.alloc() : memref<36x8xf32>
// CHECK: %[[INBOX:[-a-z0-9_]+]] = memref.alloc() : memref<36x8xf32>
// CHECK: coll.rows %[[OUTBOX]][{{.*}}] to %[[INBOX]][
// CHECK: symm.phase "unpack"
// CHECK: symm.put_each %[[INBOX]][
// FIVE-LABEL: func.func @alltoallv
// FIVE: symm.check {{.*}}, capacity_exceeded, "rows between two ranks, bounded by the pair capacity"
func.func @alltoallv(%send: memref<16x8xf32>, %counts: memref<4xi32>,
    %recv: memref<9x8xf32>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
      {kernel = #moe.kernel<blocks = 4, threads = 64>}
    : (memref<16x8xf32>, memref<4xi32>, memref<9x8xf32>, memref<4xi32>) -> ()
  return
}
