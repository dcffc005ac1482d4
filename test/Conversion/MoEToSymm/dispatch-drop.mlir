// overflow = drop: rows past the capacity stay, and `send_row` says so (dispatch_s9).
//
// RUN: moe-opt %s --convert-moe-to-symm | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @drop
// CHECK-SAME: %[[FROM:[a-z0-9]+]]: memref<4xi32>, %[[ROWS:[a-z0-9]+]]: memref<16x4xi32>)
// Counts are the true ones, and nothing is checked.
// CHECK: symm.phase "place"
// CHECK-NOT: capacity_exceeded
// CHECK: memref.store %{{.*}}, %[[FROM]]
// CHECK: symm.phase "put"
// CHECK: %[[KEPT:[-a-z0-9_]+]] = arith.cmpi ult, %[[ROW:[-a-z0-9_]+]], %c5{{(_[0-9]+)?}}
// CHECK-NEXT: scf.if %[[KEPT]] {
// CHECK: symm.put {{.*}}[%[[ROW]]] at
// CHECK: }
// CHECK: %[[CAST:[-a-z0-9_]+]] = arith.index_cast %[[ROW]] : index to i32
// CHECK: %[[NONE:[-a-z0-9_]+]] = arith.constant -1 : i32
// CHECK: %[[ENTRY:[-a-z0-9_]+]] = arith.select %[[KEPT]], %[[CAST]], %[[NONE]]
// CHECK: memref.store %[[ENTRY]], %[[ROWS]]
// CHECK-NOT: capacity_exceeded
// CHECK: symm.collective_end
func.func @drop(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<5x8xf32, #symm.space>,
    %recv_idx: memref<5x2xi32, #symm.space>,
    %recv_w: memref<5x2xf32, #symm.space>, %src: memref<5xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @ep {num_experts = 8 : i64, capacity = 5 : i64,
      overflow = #moe.overflow<drop>}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>,
       memref<5x8xf32, #symm.space>, memref<5x2xi32, #symm.space>,
       memref<5x2xf32, #symm.space>, memref<5xi32, #symm.space>, memref<4xi32>,
       memref<4xi32>, memref<16x4xi32>) -> ()
  return
}

// CHECK-LABEL: func.func @drop_expert_major
// CHECK-NOT: capacity_exceeded
// CHECK: symm.phase "put"
// CHECK: %[[KEPT:[-a-z0-9_]+]] = arith.cmpi ult, %[[ROW:[-a-z0-9_]+]], %c5{{(_[0-9]+)?}}
// CHECK-NEXT: scf.if %[[KEPT]] {
// CHECK: symm.put {{.*}}[%[[ROW]]] at
func.func @drop_expert_major(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<5x8xf32, #symm.space>,
    %recv_idx: memref<5xi32, #symm.space>, %recv_w: memref<5xf32, #symm.space>,
    %src: memref<5xi32, #symm.space>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x2xi32>, %offsets: memref<2xi32>,
    %group_counts: memref<2xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %group_counts)
      on @ep {num_experts = 8 : i64, layout = #moe.layout<expert_major>,
      capacity = 5 : i64, overflow = #moe.overflow<drop>}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>,
       memref<5x8xf32, #symm.space>, memref<5xi32, #symm.space>,
       memref<5xf32, #symm.space>, memref<5xi32, #symm.space>, memref<4xi32>,
       memref<4xi32>, memref<16x2xi32>, memref<2xi32>, memref<2xi32>) -> ()
  return
}

// A slab has room for every row.
// CHECK-LABEL: func.func @drop_slab
// CHECK: symm.phase "put"
// CHECK-NOT: arith.cmpi ult
// CHECK: symm.put
func.func @drop_slab(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<64x8xf32, #symm.space>,
    %recv_idx: memref<64x2xi32, #symm.space>,
    %recv_w: memref<64x2xf32, #symm.space>, %src: memref<64xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @ep {num_experts = 8 : i64, layout = #moe.layout<slab>,
      overflow = #moe.overflow<drop>}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>,
       memref<64x8xf32, #symm.space>, memref<64x2xi32, #symm.space>,
       memref<64x2xf32, #symm.space>, memref<64xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x4xi32>) -> ()
  return
}
