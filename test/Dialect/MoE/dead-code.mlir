// What nobody uses is not exchanged, and nothing is exchanged twice.
//
// RUN: moe-opt %s --canonicalize | FileCheck %s
// RUN: moe-opt %s --cse | FileCheck %s --check-prefix=CSE

shard.grid @ep(shape = 4)

// A dispatch whose rows are combined for nobody goes with the combine.
// CHECK-LABEL: func.func @unused_combine
// CHECK-NOT: moe.
// CHECK: return
func.func @unused_combine(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
                          %w: tensor<16x2xf32>) {
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  %out = moe.combine %r#0, %r#6, %r#3, %r#5 on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x4xf32>
  return
}

// CHECK-LABEL: func.func @unused_alltoallv
// CHECK-NOT: moe.
// CHECK: return
func.func @unused_alltoallv(%send: tensor<16x4xf32>, %n: tensor<4xi32>) {
  %r:2 = moe.alltoallv %send, %n on @ep
    : (tensor<16x4xf32>, tensor<4xi32>) -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}

// One used result keeps the whole exchange.
// CHECK-LABEL: func.func @used_count
// CHECK: %{{.*}}, %[[N:n_tokens_from_rank]], %{{.*}} = moe.dispatch
// CHECK: return %[[N]]
func.func @used_count(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
                      %w: tensor<16x2xf32>) -> tensor<4xi32> {
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return %r#5 : tensor<4xi32>
}

// Buffers are written to: the memref form is never dead.
// CHECK-LABEL: func.func @memref_form
// CHECK-COUNT-2: moe.alltoallv
// CSE-LABEL: func.func @memref_form
// CSE-COUNT-2: moe.alltoallv
func.func @memref_form(%send: memref<16x4xf32>, %n: memref<4xi32>) {
  %recv = memref.alloc() : memref<64x4xf32>
  %counts = memref.alloc() : memref<4xi32>
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<16x4xf32>, memref<4xi32>, memref<64x4xf32>, memref<4xi32>) -> ()
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<16x4xf32>, memref<4xi32>, memref<64x4xf32>, memref<4xi32>) -> ()
  return
}

// CSE-LABEL: func.func @same_dispatch_twice
// CSE: %recv_x, {{.*}} = moe.dispatch
// CSE-NOT: moe.dispatch
// CSE: return %recv_x, %recv_x
func.func @same_dispatch_twice(
    %x: tensor<16x4xf32>, %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>)
    -> (tensor<64x4xf32>, tensor<64x4xf32>) {
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  %s:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return %r#0, %s#0 : tensor<64x4xf32>, tensor<64x4xf32>
}

// CSE-LABEL: func.func @dispatches_that_differ
// CSE: moe.dispatch {{.*}} {num_experts = 8 : i64}
// CSE: moe.dispatch {{.*}} {num_experts = 4 : i64}
func.func @dispatches_that_differ(%x: tensor<16x4xf32>, %rows: tensor<16x4xi32>)
    -> (tensor<64x4xf32>, tensor<64x4xf32>) {
  %r = moe.dispatch %x reuse(%rows) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x4xi32>) -> tensor<64x4xf32>
  %s = moe.dispatch %x reuse(%rows) on @ep {num_experts = 4 : i64}
    : (tensor<16x4xf32>, tensor<16x4xi32>) -> tensor<64x4xf32>
  return %r, %s : tensor<64x4xf32>, tensor<64x4xf32>
}

// Everything but the scales is kept, attributes of other dialects too.
// CHECK-LABEL: func.func @unused_scales
// CHECK-SAME: (%[[X:[a-z0-9_]+]]: tensor<?x4xf8E4M3FN>, %[[IDX:[a-z0-9_]+]]: tensor<?x1xi32>, %[[W:[a-z0-9_]+]]: tensor<?x1xf32>,
// CHECK: %recv_x, %recv_topk_idx, {{.*}} = moe.dispatch %[[X]], %[[IDX]], %[[W]] on @ep
// CHECK-SAME: {alignment = 4 : i64, capacity = 9 : i64, layout = #moe.layout<expert_major>, max_tokens = 16 : i64, num_experts = 8 : i64, other.hint = "kept", overflow = #moe.overflow<drop>}
// CHECK: return %recv_x, %recv_topk_idx
func.func @unused_scales(
    %x: tensor<?x4xf8E4M3FN>, %idx: tensor<?x1xi32>, %w: tensor<?x1xf32>,
    %s: tensor<?x1xf32>) -> (tensor<9x4xf8E4M3FN>, tensor<9xi32>) {
  %r:10 = moe.dispatch %x, %idx, %w scales(%s) on @ep {
      num_experts = 8 : i64, capacity = 9 : i64, max_tokens = 16 : i64,
      layout = #moe.layout<expert_major>, alignment = 4 : i64,
      overflow = #moe.overflow<drop>, other.hint = "kept"}
    : (tensor<?x4xf8E4M3FN>, tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xf32>)
   -> (tensor<9x4xf8E4M3FN>, tensor<9x1xf32>, tensor<9xi32>, tensor<9xf32>,
       tensor<9xi32>, tensor<4xi32>, tensor<4xi32>, tensor<?x1xi32>,
       tensor<2xi32>, tensor<2xi32>)
  return %r#0, %r#2 : tensor<9x4xf8E4M3FN>, tensor<9xi32>
}

// CHECK-LABEL: func.func @unused_scales_reuse
// CHECK-SAME: (%[[X:[a-z0-9_]+]]: tensor<16x4xf8E4M3FN>, %{{.*}}: tensor<16x1xf32>, %[[ROWS:[a-z0-9_]+]]: tensor<16x4xi32>)
// CHECK: %recv_x = moe.dispatch %[[X]] reuse(%[[ROWS]]) on @ep
func.func @unused_scales_reuse(
    %x: tensor<16x4xf8E4M3FN>, %s: tensor<16x1xf32>, %rows: tensor<16x4xi32>)
    -> tensor<64x4xf8E4M3FN> {
  %r:2 = moe.dispatch %x scales(%s) reuse(%rows) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf8E4M3FN>, tensor<16x1xf32>, tensor<16x4xi32>)
   -> (tensor<64x4xf8E4M3FN>, tensor<64x1xf32>)
  return %r#0 : tensor<64x4xf8E4M3FN>
}

// CHECK-LABEL: func.func @used_scales
// CHECK: %recv_x, %recv_scales = moe.dispatch %{{.*}} scales(%{{.*}}) reuse(
// CHECK: return %recv_scales
func.func @used_scales(
    %x: tensor<16x4xf8E4M3FN>, %s: tensor<16x1xf32>, %rows: tensor<16x4xi32>)
    -> tensor<64x1xf32> {
  %r:2 = moe.dispatch %x scales(%s) reuse(%rows) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf8E4M3FN>, tensor<16x1xf32>, tensor<16x4xi32>)
   -> (tensor<64x4xf8E4M3FN>, tensor<64x1xf32>)
  return %r#1 : tensor<64x1xf32>
}
