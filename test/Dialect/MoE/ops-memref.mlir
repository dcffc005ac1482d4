// The memref form of every op, printed and read again.
//
// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | FileCheck %s --check-prefix=GENERIC

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @dispatch
// CHECK-SAME: (%[[X:[a-z0-9_]+]]: memref<16x4xf32>, %[[IDX:[a-z0-9_]+]]: memref<16x2xi32>, %[[W:[a-z0-9_]+]]: memref<16x2xf32>, %[[RX:[a-z0-9_]+]]: memref<64x4xf32>, %[[RI:[a-z0-9_]+]]: memref<64x2xi32>, %[[RW:[a-z0-9_]+]]: memref<64x2xf32>, %[[SRC:[a-z0-9_]+]]: memref<64xi32>, %[[TO:[a-z0-9_]+]]: memref<4xi32>, %[[FROM:[a-z0-9_]+]]: memref<4xi32>, %[[ROWS:[a-z0-9_]+]]: memref<16x4xi32>)
// CHECK: moe.dispatch %[[X]], %[[IDX]], %[[W]] outs(%[[RX]], %[[RI]], %[[RW]], %[[SRC]], %[[TO]], %[[FROM]], %[[ROWS]]) on @ep {num_experts = 8 : i64} :
// CHECK-SAME: (memref<16x4xf32>, memref<16x2xi32>, memref<16x2xf32>, memref<64x4xf32>, memref<64x2xi32>, memref<64x2xf32>, memref<64xi32>, memref<4xi32>, memref<4xi32>, memref<16x4xi32>) -> ()

// GENERIC-LABEL: sym_name = "dispatch"
// GENERIC: "moe.dispatch"({{.*}}) <{alignment = 1 : i64, grid = @ep, layout = #moe.layout<rank_major>, num_experts = 8 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0, 7>, order = #moe.order<token>, overflow = #moe.overflow<error>, padding = #moe.padding<none>}> :
func.func @dispatch(
    %x: memref<16x4xf32>, %idx: memref<16x2xi32>, %w: memref<16x2xf32>,
    %recv_x: memref<64x4xf32>, %recv_idx: memref<64x2xi32>,
    %recv_w: memref<64x2xf32>, %src: memref<64xi32>, %to: memref<4xi32>,
    %from: memref<4xi32>, %rows: memref<16x4xi32>) {
  moe.dispatch %x, %idx, %w
      outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from, %rows)
      on @ep {num_experts = 8 : i64}
    : (memref<16x4xf32>, memref<16x2xi32>, memref<16x2xf32>, memref<64x4xf32>,
       memref<64x2xi32>, memref<64x2xf32>, memref<64xi32>, memref<4xi32>,
       memref<4xi32>, memref<16x4xi32>) -> ()
  return
}

// Rows with a layout of their own, and buffers in a memory space.
// CHECK-LABEL: func.func @dispatch_expert_major
// CHECK: moe.dispatch %{{.*}}, %{{.*}}, %{{.*}} scales(%{{.*}}) outs({{.*}}) on @ep {alignment = 8 : i64, layout = #moe.layout<expert_major>, max_tokens = 4 : i64, num_experts = 8 : i64} :
// CHECK-SAME: (memref<?x4xf8E4M3FN, strided<[?, 1]>>, memref<?x1xi64>, memref<?x1xf32>, memref<?x2xf16>, memref<16x4xf8E4M3FN, #symm.space>, memref<16x2xf16, #symm.space>,
func.func @dispatch_expert_major(
    %x: memref<?x4xf8E4M3FN, strided<[?, 1]>>, %idx: memref<?x1xi64>,
    %w: memref<?x1xf32>, %s: memref<?x2xf16>,
    %recv_x: memref<16x4xf8E4M3FN, #symm.space>,
    %recv_s: memref<16x2xf16, #symm.space>,
    %recv_idx: memref<16xi64, #symm.space>,
    %recv_w: memref<16xf32, #symm.space>, %src: memref<16xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<?x1xi32>,
    %offsets: memref<2xi32>, %counts: memref<2xi32>) {
  moe.dispatch %x, %idx, %w scales(%s)
      outs(%recv_x, %recv_s, %recv_idx, %recv_w, %src, %to, %from, %rows,
           %offsets, %counts)
      on @ep {num_experts = 8 : i64, layout = #moe.layout<expert_major>,
              alignment = 8 : i64, max_tokens = 4 : i64}
    : (memref<?x4xf8E4M3FN, strided<[?, 1]>>, memref<?x1xi64>, memref<?x1xf32>,
       memref<?x2xf16>, memref<16x4xf8E4M3FN, #symm.space>,
       memref<16x2xf16, #symm.space>, memref<16xi64, #symm.space>,
       memref<16xf32, #symm.space>, memref<16xi32, #symm.space>, memref<4xi32>,
       memref<4xi32>, memref<?x1xi32>, memref<2xi32>, memref<2xi32>) -> ()
  return
}

// CHECK-LABEL: func.func @dispatch_reuse
// CHECK: moe.dispatch %{{.*}} reuse(%{{.*}}) outs(%{{.*}}) on @ep {num_experts = 8 : i64} : (memref<16x4xf32>, memref<16x4xi32>, memref<64x4xf32>) -> ()
// CHECK: moe.dispatch %{{.*}} reuse(%{{.*}}, %{{.*}}) outs(%{{.*}}) on @ep {layout = #moe.layout<expert_major>, num_experts = 8 : i64} : (memref<16x4xf32>, memref<16x4xi32>, memref<16x4xi32>, memref<128x4xf32>) -> ()

// GENERIC-LABEL: sym_name = "dispatch_reuse"
// GENERIC: operandSegmentSizes = array<i32: 1, 0, 0, 0, 1, 0, 0, 1>
// GENERIC: operandSegmentSizes = array<i32: 1, 0, 0, 0, 2, 0, 0, 1>
func.func @dispatch_reuse(
    %x: memref<16x4xf32>, %rows: memref<16x4xi32>, %idx: memref<16x4xi32>,
    %recv_x: memref<64x4xf32>, %recv_x_by_expert: memref<128x4xf32>) {
  moe.dispatch %x reuse(%rows) outs(%recv_x) on @ep {num_experts = 8 : i64}
    : (memref<16x4xf32>, memref<16x4xi32>, memref<64x4xf32>) -> ()
  moe.dispatch %x reuse(%rows, %idx) outs(%recv_x_by_expert) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (memref<16x4xf32>, memref<16x4xi32>, memref<16x4xi32>,
       memref<128x4xf32>) -> ()
  return
}

// CHECK-LABEL: func.func @combine
// CHECK: moe.combine %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} outs(%{{.*}}) on @ep {num_experts = 8 : i64} : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>, memref<16x4xf32>) -> ()
// CHECK: moe.combine %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} weights(%{{.*}}) outs(%{{.*}}) on @ep {algorithm = #moe.algorithm<pull>, num_experts = 8 : i64} :

// GENERIC-LABEL: sym_name = "combine"
// GENERIC: "moe.combine"({{.*}}) <{grid = @ep, layout = #moe.layout<rank_major>, num_experts = 8 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0, 0, 0, 1>, partials = #moe.partials<f32>, reduce = #moe.reduce<sum>}> :
func.func @combine(%y: memref<64x4xf32>, %rows: memref<16x4xi32>,
                   %src: memref<64xi32>, %n: memref<4xi32>,
                   %w: memref<64xf32>, %out: memref<16x4xf32>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64}
    : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x4xf32>) -> ()
  moe.combine %y, %rows, %src, %n weights(%w) outs(%out) on @ep {
      num_experts = 8 : i64, algorithm = #moe.algorithm<pull>}
    : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<64xf32>, memref<16x4xf32>) -> ()
  return
}

// CHECK-LABEL: func.func @combine_expert_major
// CHECK: moe.combine %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} topk(%{{.*}}) outs(%{{.*}}) on @ep {layout = #moe.layout<expert_major>, num_experts = 8 : i64} :
func.func @combine_expert_major(
    %y: memref<64x4xi32>, %rows: memref<16x3xi32>, %src: memref<64xi32>,
    %n: memref<4xi32>, %idx: memref<16x3xi32>, %out: memref<16x4xi32>) {
  moe.combine %y, %rows, %src, %n topk(%idx) outs(%out) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (memref<64x4xi32>, memref<16x3xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x3xi32>, memref<16x4xi32>) -> ()
  return
}

// CHECK-LABEL: func.func @alltoallv
// CHECK: moe.alltoallv %{{.*}}, %{{.*}} outs(%{{.*}}, %{{.*}}) on @ep {overflow = #moe.overflow<drop>} : (memref<?x4xf32>, memref<4xi32>, memref<9x4xf32>, memref<4xi32>) -> ()

// GENERIC-LABEL: sym_name = "alltoallv"
// GENERIC: "moe.alltoallv"({{.*}}) <{grid = @ep, overflow = #moe.overflow<drop>}> :
func.func @alltoallv(%send: memref<?x4xf32>, %counts: memref<4xi32>,
                     %recv: memref<9x4xf32>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep {
      overflow = #moe.overflow<drop>}
    : (memref<?x4xf32>, memref<4xi32>, memref<9x4xf32>, memref<4xi32>) -> ()
  return
}
