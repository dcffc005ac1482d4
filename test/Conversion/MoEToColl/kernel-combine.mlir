// A combine on GPUs that exchange messages.
//
// RUN: moe-opt %s --convert-moe-to-coll=target=cuda --canonicalize --split-input-file | FileCheck %s --implicit-check-not=#symm.space --implicit-check-not=symm.signal --implicit-check-not=symm.wait --implicit-check-not=symm.peer

shard.grid @ep(shape = 4)

// Rows are sent from where they are, and come to an inbox, which has one row at
// least: in place of a row that is not there the first one is read.
// CHECK-LABEL: func.func @rank_major
// CHECK-SAME: (%[[Y:[-a-z0-9_]+]]: memref<64x8xf32>, %[[ROWS:[-a-z0-9_]+]]: memref<16x4xi32>
// CHECK: %[[MINE:[-a-z0-9_]+]] = memref.alloc() : memref<4x1x2xi32>
// CHECK: gpu.launch
// CHECK: memref.load %[[ROWS]]
// CHECK: memref.store %{{.*}}, %[[MINE]]
// CHECK: coll.all_to_all %[[MINE]], %{{.*}} : memref<4x1x2xi32>
// CHECK: %[[SHIFT:[-a-z0-9_]+]] = memref.alloc() : memref<4xi32>
// CHECK: gpu.launch
// CHECK: memref.store %{{.*}}, %[[SHIFT]]
// CHECK: coll.read
// CHECK: %[[END:.*]] = coll.table_end %{{.*}}[%{{.*}}] limit %c2147483647
// CHECK: %[[N:.*]] = arith.maxui %[[END]], %c1
// CHECK: %[[INBOX:[-a-z0-9_]+]] = memref.alloc(%[[N]]) : memref<?x8xf32>
// CHECK: coll.exchange
// CHECK-NEXT: coll.rows %[[Y]][{{.*}}] to %[[INBOX]][
// CHECK: symm.phase "reduce"
// CHECK: gpu.launch
// CHECK: memref.load %[[ROWS]]
// CHECK: memref.load %[[SHIFT]]
// CHECK: vector.load %[[INBOX]]
// CHECK: symm.collective_end
func.func @rank_major(%y: memref<64x8xf32>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %from: memref<4xi32>, %out: memref<16x8xf32>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep {num_experts = 8 : i64,
      kernel = #moe.kernel<blocks = 4, threads = 64>}
    : (memref<64x8xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x8xf32>) -> ()
  return
}

// -----

shard.grid @ep(shape = 4)

// expert_major: the blocks of a rank's experts are packed first, and so are the
// weights of their rows.
// CHECK-LABEL: func.func @expert_major
// CHECK-SAME: (%[[Y:[-a-z0-9_]+]]: memref<128x8xf32>
// CHECK-SAME: %[[W:[-a-z0-9_]+]]: memref<128xf32>
// CHECK: coll.all_to_all %{{.*}}, %{{.*}} : memref<4x2x2xi32>
// CHECK: coll.read
// CHECK: symm.phase "pack"
// CHECK: %[[PY:[-a-z0-9_]+]] = memref.alloc(%[[N:.*]]) : memref<?x8xf32>
// CHECK: %[[PW:[-a-z0-9_]+]] = memref.alloc(%[[N]]) : memref<?xf32>
// CHECK: gpu.launch
// CHECK: symm.put_each %[[Y]][%{{.*}}] to %[[PY]][
// CHECK: memref.load %[[W]]
// CHECK: memref.store %{{.*}}, %[[PW]]
// CHECK: coll.rows %[[PY]][
// CHECK: coll.rows %[[PW]][{{.*}}] to %[[WEIGHTS:[-a-z0-9_]+]][
// CHECK: gpu.launch
// CHECK: memref.load %[[WEIGHTS]]
func.func @expert_major(%y: memref<128x8xf32>, %rows: memref<16x2xi32>,
    %src: memref<128xi32>, %from: memref<4xi32>, %idx: memref<16x2xi32>,
    %w: memref<128xf32>, %out: memref<16x8xf32>) {
  moe.combine %y, %rows, %src, %from topk(%idx) weights(%w) outs(%out) on @ep
      {num_experts = 8 : i64, layout = #moe.layout<expert_major>,
       kernel = #moe.kernel<blocks = 4, threads = 64>}
    : (memref<128x8xf32>, memref<16x2xi32>, memref<128xi32>, memref<4xi32>,
       memref<16x2xi32>, memref<128xf32>, memref<16x8xf32>) -> ()
  return
}

// -----

shard.grid @ep(shape = 4)

// The rows that this rank asks for, or all that others ask it for, may be more
// than tables have room for.
// CHECK-LABEL: func.func @many_rows
// CHECK: symm.check {{.*}}, invalid_count, "end of the rows that the peer's send_row names, bounded by the capacity"
// CHECK: symm.check {{.*}}, invalid_count, "rows of all messages of an exchange"
// CHECK-NOT: "rows of all messages of an exchange"
// CHECK: coll.read
func.func @many_rows(%y: memref<536870912x8xf32>, %rows: memref<16x4xi32>,
    %src: memref<536870912xi32>, %from: memref<4xi32>, %out: memref<16x8xf32>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep {num_experts = 8 : i64,
      kernel = #moe.kernel<blocks = 4, threads = 64>}
    : (memref<536870912x8xf32>, memref<16x4xi32>, memref<536870912xi32>,
       memref<4xi32>, memref<16x8xf32>) -> ()
  return
}

// CHECK-LABEL: func.func @many_rows_of_experts
// CHECK-COUNT-2: symm.check {{.*}}, invalid_count, "rows of all messages of an exchange"
// CHECK: coll.read
func.func @many_rows_of_experts(%y: memref<536870912x8xf32>,
    %rows: memref<16x2xi32>, %src: memref<536870912xi32>, %from: memref<4xi32>,
    %idx: memref<16x2xi32>, %out: memref<16x8xf32>) {
  moe.combine %y, %rows, %src, %from topk(%idx) outs(%out) on @ep
      {num_experts = 8 : i64, layout = #moe.layout<expert_major>,
       kernel = #moe.kernel<blocks = 4, threads = 64>}
    : (memref<536870912x8xf32>, memref<16x2xi32>, memref<536870912xi32>,
       memref<4xi32>, memref<16x2xi32>, memref<16x8xf32>) -> ()
  return
}
