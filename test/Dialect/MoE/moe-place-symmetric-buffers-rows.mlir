// What leaves symmetric memory behind an op are the valid rows, in one copy for
// all buffers (dispatch_s7, results_s1).
//
// RUN: moe-opt %s --moe-place-symmetric-buffers | FileCheck %s

shard.grid @ep(shape = 2)

// Rows of lower senders come first: as many as were sent.
// CHECK-LABEL: func.func @rank_major(
// CHECK: %[[X:.*]] = symm.alloc : memref<6x4xf32, #symm.space>
// CHECK: %[[I:.*]] = symm.alloc : memref<6x1xi32, #symm.space>
// CHECK: %[[S:.*]] = symm.alloc : memref<6xi32, #symm.space>
// CHECK: moe.dispatch
// CHECK-NEXT: symm.copy_rows %[[X]], %[[I]], %[[S]] to %arg3, %arg4, %arg6 counts %arg8 : memref<6x4xf32, #symm.space>, memref<6x1xi32, #symm.space>, memref<6xi32, #symm.space> to memref<6x4xf32>, memref<6x1xi32>, memref<6xi32> counts memref<2xi32>
// CHECK-NEXT: symm.free %[[X]]
// CHECK-NEXT: symm.free %[[I]]
// CHECK-NEXT: symm.free %[[S]]
// CHECK-NOT: memref.copy
// CHECK: return
func.func @rank_major(
    %x: memref<3x4xf32>, %idx: memref<3x1xi32>, %w: memref<3x1xf32>,
    %recv_x: memref<6x4xf32>, %recv_idx: memref<6x1xi32>, %unused: memref<6x1xf32>,
    %src: memref<6xi32>, %to: memref<2xi32>, %from: memref<2xi32>,
    %rows: memref<3x2xi32>) {
  %recv_w = memref.alloc() : memref<6x1xf32>
  moe.dispatch %x, %idx, %w
      outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from, %rows) on @ep {
      num_experts = 4 : i64}
    : (memref<3x4xf32>, memref<3x1xi32>, memref<3x1xf32>, memref<6x4xf32>,
       memref<6x1xi32>, memref<6x1xf32>, memref<6xi32>, memref<2xi32>,
       memref<2xi32>, memref<3x2xi32>) -> ()
  memref.dealloc %recv_w : memref<6x1xf32>
  return
}

// The rows of each sender begin at its slab.
// CHECK-LABEL: func.func @slab(
// CHECK: symm.copy_rows {{.*}} counts %arg8 every 3 :
// CHECK-NOT: memref.copy
// CHECK: return
func.func @slab(
    %x: memref<3x4xf32>, %idx: memref<3x1xi32>, %w: memref<3x1xf32>,
    %recv_x: memref<6x4xf32>, %recv_idx: memref<6x1xi32>, %recv_w: memref<6x1xf32>,
    %src: memref<6xi32>, %to: memref<2xi32>, %from: memref<2xi32>,
    %rows: memref<3x2xi32>) {
  moe.dispatch %x, %idx, %w
      outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from, %rows) on @ep {
      num_experts = 4 : i64, layout = #moe.layout<slab>}
    : (memref<3x4xf32>, memref<3x1xi32>, memref<3x1xf32>, memref<6x4xf32>,
       memref<6x1xi32>, memref<6x1xf32>, memref<6xi32>, memref<2xi32>,
       memref<2xi32>, memref<3x2xi32>) -> ()
  return
}

// A slab has no rows where no rank has tokens.
// CHECK-LABEL: func.func @empty_slab(
// CHECK: moe.dispatch
// CHECK-NEXT: memref.copy
// CHECK-NOT: symm.copy_rows
// CHECK: return
func.func @empty_slab(
    %x: memref<0x4xf32>, %idx: memref<0x1xi32>, %w: memref<0x1xf32>,
    %recv_x: memref<0x4xf32>, %recv_idx: memref<0x1xi32>, %recv_w: memref<0x1xf32>,
    %src: memref<0xi32>, %to: memref<2xi32>, %from: memref<2xi32>,
    %rows: memref<0x2xi32>) {
  moe.dispatch %x, %idx, %w
      outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from, %rows) on @ep {
      num_experts = 4 : i64, layout = #moe.layout<slab>}
    : (memref<0x4xf32>, memref<0x1xi32>, memref<0x1xf32>, memref<0x4xf32>,
       memref<0x1xi32>, memref<0x1xf32>, memref<0xi32>, memref<2xi32>,
       memref<2xi32>, memref<0x2xi32>) -> ()
  return
}

// Groups of experts begin where the offsets say.
// CHECK-LABEL: func.func @expert_major(
// CHECK: symm.copy_rows {{.*}} counts %arg11 at %arg10 :
// CHECK-NOT: memref.copy
// CHECK: return
func.func @expert_major(
    %x: memref<3x4xf32>, %idx: memref<3x1xi32>, %w: memref<3x1xf32>,
    %recv_x: memref<8x4xf32>, %recv_idx: memref<8xi32>, %recv_w: memref<8xf32>,
    %src: memref<8xi32>, %to: memref<2xi32>, %from: memref<2xi32>,
    %rows: memref<3x1xi32>, %offsets: memref<2xi32>, %counts: memref<2xi32>) {
  moe.dispatch %x, %idx, %w
      outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from, %rows, %offsets,
           %counts) on @ep {
      num_experts = 4 : i64, capacity = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (memref<3x4xf32>, memref<3x1xi32>, memref<3x1xf32>, memref<8x4xf32>,
       memref<8xi32>, memref<8xf32>, memref<8xi32>, memref<2xi32>,
       memref<2xi32>, memref<3x1xi32>, memref<2xi32>, memref<2xi32>) -> ()
  return
}

// No operand of a reuse tells how many rows arrive.
// CHECK-LABEL: func.func @reuse(
// CHECK: moe.dispatch
// CHECK-NEXT: memref.copy
// CHECK-NOT: symm.copy_rows
// CHECK: return
func.func @reuse(%x: memref<3x4xf32>, %rows: memref<3x2xi32>,
                 %recv: memref<6x4xf32>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 4 : i64}
    : (memref<3x4xf32>, memref<3x2xi32>, memref<6x4xf32>) -> ()
  return
}

// Rows that follow one another in something larger are rows all the same.
// CHECK-LABEL: func.func @view(
// CHECK: symm.copy_rows %{{.*}} to %{{.*}} counts %{{.*}} : memref<6x4xf32, #symm.space> to memref<6x4xf32, strided<[4, 1], offset: 8>> counts memref<2xi32>
// CHECK-NOT: memref.copy
// CHECK: return
func.func @view(%send: memref<3x4xf32>, %n: memref<2xi32>,
                %all: memref<8x4xf32>, %counts: memref<2xi32>) {
  %recv = memref.subview %all[2, 0] [6, 4] [1, 1]
    : memref<8x4xf32> to memref<6x4xf32, strided<[4, 1], offset: 8>>
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<3x4xf32>, memref<2xi32>,
       memref<6x4xf32, strided<[4, 1], offset: 8>>, memref<2xi32>) -> ()
  return
}

// Counts that lie apart are not read.
// CHECK-LABEL: func.func @counts_in_a_column(
// CHECK: memref.copy
// CHECK-NOT: symm.copy_rows
// CHECK: return
func.func @counts_in_a_column(
    %send: memref<3x4xf32>, %n: memref<2xi32>, %recv: memref<6x4xf32>,
    %counts: memref<2xi32, strided<[3]>>) {
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<3x4xf32>, memref<2xi32>, memref<6x4xf32>,
       memref<2xi32, strided<[3]>>) -> ()
  return
}
