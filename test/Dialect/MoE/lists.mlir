// `list_alignment` of a dispatch (dispatch_s14): printed and read again, kept by every
// rewrite, and results that follow the others.
//
// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s
// RUN: moe-opt %s --emit-bytecode | moe-opt | FileCheck %s
// RUN: moe-opt %s --canonicalize | FileCheck %s --check-prefix=CANON
// RUN: moe-opt %s --cse | FileCheck %s --check-prefix=CSE
// RUN: moe-opt %s --one-shot-bufferize=bufferize-function-boundaries | FileCheck %s --check-prefix=BUFFER
// RUN: moe-opt %s --moe-check-routes | FileCheck %s
// RUN: moe-opt %s --one-shot-bufferize=bufferize-function-boundaries --moe-place-symmetric-buffers | FileCheck %s --check-prefix=PLACE

shard.grid @ep(shape = 4)

// 64 rows that 2 experts may take, and 2 groups with up to 7 places more: 142, to 136
// (dispatch_s15).
// CHECK-LABEL: func.func @names
// CHECK: %recv_x, %recv_topk_idx, %recv_topk_weights, %recv_src_idx, %n_tokens_to_rank, %n_tokens_from_rank, %send_row, %expert_offsets, %expert_counts, %list_rows, %list_weights = moe.dispatch
// CHECK-SAME: {list_alignment = 8 : i64, num_experts = 8 : i64}
// CHECK: return %list_rows, %list_weights
// Two dispatches that differ in it are not one.
// CSE-LABEL: func.func @names
// CSE-COUNT-2: moe.dispatch
// BUFFER-LABEL: func.func @names
// BUFFER: memref.alloc() {{.*}}: memref<2xi32>
// BUFFER: memref.alloc() {{.*}}: memref<2xi32>
// BUFFER: memref.alloc() {{.*}}: memref<136xi32>
// BUFFER: memref.alloc() {{.*}}: memref<136xf32>
// BUFFER: moe.dispatch {{.*}} outs({{.*}}) on @ep {list_alignment = 8 : i64, num_experts = 8 : i64}
// Other ranks write what is received, and this one alone the lists.
// PLACE-LABEL: func.func @names
// PLACE: moe.dispatch
// PLACE: memref<64x2xi32, #symm.space>, memref<64x2xf32, #symm.space>, memref<64xi32, #symm.space>, memref<4xi32>, memref<4xi32>, memref<16x4xi32>, memref<2xi32>, memref<2xi32>, memref<136xi32>, memref<136xf32>) -> ()
func.func @names(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>)
    -> (tensor<136xi32>, tensor<136xf32>, tensor<64x4xf32>) {
  %r:11 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 8 : i64, list_alignment = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2xi32>,
       tensor<2xi32>, tensor<136xi32>, tensor<136xf32>)
  %s:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return %r#9, %r#10, %s#0 : tensor<136xi32>, tensor<136xf32>, tensor<64x4xf32>
}

// Without the scales that nobody reads, the lists stay.
// CANON-LABEL: func.func @unused_scales
// CANON: %{{.*}}, %list_rows, %list_weights = moe.dispatch %{{[a-z0-9]+}}, %{{[a-z0-9]+}}, %{{[a-z0-9]+}} on @ep {layout = #moe.layout<slab>, list_alignment = 1 : i64, num_experts = 8 : i64}
// CANON: return %list_rows
func.func @unused_scales(%x: tensor<16x4xf8E5M2>, %idx: tensor<16x1xi32>,
    %w: tensor<16x1xf32>, %s: tensor<16x1xf32>) -> tensor<64xi32> {
  %r:12 = moe.dispatch %x, %idx, %w scales(%s) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<slab>,
      list_alignment = 1 : i64}
    : (tensor<16x4xf8E5M2>, tensor<16x1xi32>, tensor<16x1xf32>, tensor<16x1xf32>)
   -> (tensor<64x4xf8E5M2>, tensor<64x1xf32>, tensor<64x1xi32>,
       tensor<64x1xf32>, tensor<64xi32>, tensor<4xi32>, tensor<4xi32>,
       tensor<16x4xi32>, tensor<2xi32>, tensor<2xi32>, tensor<64xi32>,
       tensor<64xf32>)
  return %r#10 : tensor<64xi32>
}

// Few tokens and many experts: only as many groups as there are entries have any.
// CHECK-LABEL: func.func @few_tokens
// CHECK: -> (tensor<4x4xf32>, {{.*}}, tensor<64xi32>, tensor<64xi32>, tensor<1024xi32>, tensor<1024xf32>)
func.func @few_tokens(%x: tensor<1x4xf32>, %idx: tensor<1x2xi64>,
    %w: tensor<1x2xf32>) -> tensor<1024xi32> {
  %r:11 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 256 : i64, list_alignment = 128 : i64}
    : (tensor<1x4xf32>, tensor<1x2xi64>, tensor<1x2xf32>)
   -> (tensor<4x4xf32>, tensor<4x2xi64>, tensor<4x2xf32>, tensor<4xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<1x4xi32>, tensor<64xi32>,
       tensor<64xi32>, tensor<1024xi32>, tensor<1024xf32>)
  return %r#9 : tensor<1024xi32>
}

// A reuse and a combine have the routes of their dispatch, whatever it lists.
// CHECK-LABEL: func.func @routes
// CHECK: moe.dispatch {{.*}} reuse(%send_row)
// CHECK: moe.combine
func.func @routes(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<16x4xf32> {
  %r:11 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 8 : i64, list_alignment = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2xi32>,
       tensor<2xi32>, tensor<136xi32>, tensor<136xf32>)
  %again = moe.dispatch %x reuse(%r#6) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x4xi32>) -> tensor<64x4xf32>
  %out = moe.combine %again, %r#6, %r#3, %r#5 on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x4xf32>
  return %out : tensor<16x4xf32>
}
