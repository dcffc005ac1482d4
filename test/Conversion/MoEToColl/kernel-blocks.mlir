// Blocks that a dispatch keeps, and combines and reuses that take them: kernels with exact messages exchange
// none, and host code waits for no table (coll_s10).
//
// RUN: moe-opt %s --convert-moe-to-coll=target=cuda --canonicalize | FileCheck %s
// RUN: moe-opt %s --convert-moe-to-coll="target=cuda schedule=padded" --canonicalize | FileCheck %s --check-prefix=PADDED
// RUN: moe-opt %s --convert-moe-to-coll --canonicalize | FileCheck %s --check-prefix=SERIAL
// RUN: moe-opt %s --moe-place-symmetric-buffers --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s --check-prefix=DIRECT

shard.grid @ep(shape = 4)

// One read brings the tables of this exchange and those that are kept.
// CHECK-LABEL: func.func @dispatch
// CHECK-SAME: %[[BLOCKS:[a-z0-9]+]]: memref<2x4x1x2xi32>, %[[ROWS:[a-z0-9]+]]: memref<4x4xi32>)
// CHECK: %[[TABLES:.*]] = memref.alloc() : memref<8x4xi32>
// CHECK: gpu.launch
// CHECK: memref.store %{{.*}}, %[[BLOCKS]][
// CHECK: %[[READ:.*]] = coll.read %[[TABLES]] : memref<8x4xi32>
// CHECK: %[[KEPT:.*]] = memref.subview %[[READ]][4, 0] [4, 4] [1, 1]
// CHECK: coll.copy_table %[[KEPT]] to %[[ROWS]]
// CHECK-NOT: coll.read
// CHECK: coll.exchange
// There are none where no CPU reads tables, or ranks share memory.
// PADDED-LABEL: func.func @dispatch
// PADDED-SAME: %[[BLOCKS:[a-z0-9]+]]: memref<2x4x1x2xi32>, %[[ROWS:[a-z0-9]+]]: memref<4x4xi32>)
// PADDED: linalg.fill ins(%c-1_i32 : i32) outs(%[[BLOCKS]] : memref<2x4x1x2xi32>)
// PADDED: coll.clear_table %[[ROWS]]
// DIRECT-LABEL: func.func @dispatch
// DIRECT-SAME: %[[BLOCKS:[a-z0-9]+]]: memref<2x4x1x2xi32>, %[[ROWS:[a-z0-9]+]]: memref<4x4xi32>)
// DIRECT: linalg.fill ins(%c-1_i32 : i32) outs(%[[BLOCKS]] : memref<2x4x1x2xi32>)
// DIRECT: coll.clear_table %[[ROWS]]
// SERIAL-LABEL: func.func @dispatch
// SERIAL-SAME: %[[BLOCKS:[a-z0-9]+]]: memref<2x4x1x2xi32>, %[[ROWS:[a-z0-9]+]]: memref<4x4xi32>)
// SERIAL: coll.exchange
// SERIAL: memref.store %{{.*}}, %[[BLOCKS]][
// SERIAL: memref.store %{{.*}}, %[[ROWS]][
func.func @dispatch(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %rx: memref<64x8xf32>, %ri: memref<64x2xi32>,
    %rw: memref<64x2xf32>, %src: memref<64xi32>, %to: memref<4xi32>,
    %from: memref<4xi32>, %rows: memref<16x4xi32>, %b: memref<2x4x1x2xi32>,
    %n: memref<4x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%rx, %ri, %rw, %src, %to, %from, %rows, %b, %n) on @ep
      {keep_blocks, num_experts = 8 : i64, layout = #moe.layout<slab>,
       kernel = #moe.kernel<blocks = 4, threads = 64>}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>, memref<64x8xf32>,
       memref<64x2xi32>, memref<64x2xf32>, memref<64xi32>, memref<4xi32>,
       memref<4xi32>, memref<16x4xi32>, memref<2x4x1x2xi32>, memref<4x4xi32>)
   -> ()
  return
}

// A combine sends what the dispatch received, out of `y`, which has 64 rows.
// CHECK-LABEL: func.func @combine
// CHECK-SAME: %[[Y:[a-z0-9]+]]: memref<64x8xf32>
// CHECK-SAME: %[[BLOCKS:[a-z0-9]+]]: memref<2x4x1x2xi32>, %[[ROWS:[a-z0-9]+]]: memref<4x4xi32>
// CHECK-NOT: coll.all_to_all
// CHECK-NOT: coll.read
// CHECK-DAG: memref.subview %[[ROWS]][0, 0] [1, 4] [1, 1]
// CHECK-DAG: %[[END:.*]] = coll.table_end %{{.*}} limit %c2147483647
// CHECK-DAG: memref.subview %[[ROWS]][2, 0] [1, 4] [1, 1]
// CHECK: coll.table_end %{{.*}} limit %c64
// CHECK: gpu.launch
// CHECK: memref.load %[[BLOCKS]]
// CHECK: symm.check {{.*}}, invalid_count, "end of a block of rows in peer_blocks, bounded by the capacity"
// CHECK: %[[N:.*]] = arith.maxui %[[END]], %c1
// CHECK: %[[INBOX:.*]] = memref.alloc(%[[N]]) : memref<?x8xf32>
// CHECK: coll.rows %[[Y]][{{.*}}] to %[[INBOX]][
// CHECK: gpu.launch
// CHECK: symm.check {{.*}}, invalid_count, "send_row, whose rows are those that peer_blocks has for the rank"
// PADDED-LABEL: func.func @combine
// PADDED: coll.all_to_all
// SERIAL-LABEL: func.func @combine
// SERIAL: coll.all_to_all
// SERIAL-NOT: coll.table_end
func.func @combine(%y: memref<64x8xf32>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %from: memref<4xi32>, %b: memref<2x4x1x2xi32>,
    %n: memref<4x4xi32>, %out: memref<16x8xf32>) {
  moe.combine %y, %rows, %src, %from blocks(%b, %n) outs(%out) on @ep
      {num_experts = 8 : i64, kernel = #moe.kernel<blocks = 4, threads = 64>}
    : (memref<64x8xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<2x4x1x2xi32>, memref<4x4xi32>, memref<16x8xf32>) -> ()
  return
}

// A reuse sends as the dispatch did. The rows of experts go through boxes, whose size the tables tell.
// CHECK-LABEL: func.func @reuse
// CHECK-SAME: %[[BLOCKS:[a-z0-9]+]]: memref<2x4x2x2xi32>, %[[ROWS:[a-z0-9]+]]: memref<4x4xi32>
// CHECK-NOT: coll.all_to_all
// CHECK-NOT: coll.read
// CHECK-COUNT-2: coll.table_end %{{.*}} limit %c2147483647
// CHECK: coll.exchange
// CHECK: symm.phase "unpack"
func.func @reuse(%x: memref<16x8xf32>, %rows: memref<16x2xi32>,
    %idx: memref<16x2xi32>, %b: memref<2x4x2x2xi32>, %n: memref<4x4xi32>,
    %rx: memref<128x8xf32>) {
  moe.dispatch %x reuse(%rows, %idx) blocks(%b, %n) outs(%rx) on @ep
      {num_experts = 8 : i64, layout = #moe.layout<expert_major>,
       kernel = #moe.kernel<blocks = 4, threads = 64>}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xi32>,
       memref<2x4x2x2xi32>, memref<4x4xi32>, memref<128x8xf32>) -> ()
  return
}
