// `keep_blocks` of a dispatch, and `blocks` of what follows it (dispatch_s16, coll_s10): printed and read
// again, kept by every rewrite, and results that follow the others.
//
// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s
// RUN: moe-opt %s --emit-bytecode | moe-opt | FileCheck %s
// RUN: moe-opt %s --canonicalize | FileCheck %s --check-prefix=CANON
// RUN: moe-opt %s --cse | FileCheck %s --check-prefix=CSE
// RUN: moe-opt %s --one-shot-bufferize=bufferize-function-boundaries | FileCheck %s --check-prefix=BUFFER
// RUN: moe-opt %s --moe-check-routes --moe-check-host-memory | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @names
// CHECK: %send_row, %peer_blocks, %peer_rows = moe.dispatch
// CHECK-SAME: {keep_blocks, num_experts = 8 : i64}
// CHECK: return %peer_blocks, %peer_rows
// Two dispatches that differ in it are not one.
// CSE-LABEL: func.func @names
// CSE-COUNT-2: moe.dispatch
// BUFFER-LABEL: func.func @names
// BUFFER: memref.alloc() {{.*}}: memref<2x4x1x2xi32>
// BUFFER: memref.alloc() {{.*}}: memref<4x4xi32>
// BUFFER: moe.dispatch {{.*}} outs({{.*}}) on @ep {keep_blocks, num_experts = 8 : i64}
func.func @names(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>)
    -> (tensor<2x4x1x2xi32>, tensor<4x4xi32> {moe.host}, tensor<64x4xf32>) {
  %r:9 = moe.dispatch %x, %idx, %w on @ep {keep_blocks, num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2x4x1x2xi32>,
       tensor<4x4xi32>)
  %s:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return %r#7, %r#8, %s#0
    : tensor<2x4x1x2xi32>, tensor<4x4xi32>, tensor<64x4xf32>
}

// With expert_major there is a block for each of the two experts of a rank; lists come first.
// CHECK-LABEL: func.func @expert_major
// CHECK: -> ({{.*}}, tensor<2xi32>, tensor<2xi32>, tensor<2x4x2x2xi32>, tensor<4x4xi32>)
// CHECK: moe.dispatch %{{.*}} reuse(%send_row, %{{.*}}) blocks(%peer_blocks, %peer_rows) on @ep
// CHECK: moe.combine %{{.*}}, %send_row, %recv_src_idx, %n_tokens_from_rank topk(%{{.*}}) blocks(%peer_blocks, %peer_rows) on @ep
func.func @expert_major(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<16x4xf32> {
  %r:11 = moe.dispatch %x, %idx, %w on @ep {keep_blocks, num_experts = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<128x4xf32>, tensor<128xi32>, tensor<128xf32>, tensor<128xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x2xi32>, tensor<2xi32>,
       tensor<2xi32>, tensor<2x4x2x2xi32>, tensor<4x4xi32>)
  %again = moe.dispatch %x reuse(%r#6, %idx) blocks(%r#9, %r#10) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xi32>,
       tensor<2x4x2x2xi32>, tensor<4x4xi32>) -> tensor<128x4xf32>
  %out = moe.combine %again, %r#6, %r#3, %r#5 topk(%idx) blocks(%r#9, %r#10)
      on @ep {num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (tensor<128x4xf32>, tensor<16x2xi32>, tensor<128xi32>, tensor<4xi32>,
       tensor<16x2xi32>, tensor<2x4x2x2xi32>, tensor<4x4xi32>)
   -> tensor<16x4xf32>
  return %out : tensor<16x4xf32>
}

// Without the scales that nobody reads, the blocks stay.
// CANON-LABEL: func.func @unused_scales
// CANON: %{{.*}}, %peer_blocks, %peer_rows = moe.dispatch %{{[a-z0-9]+}}, %{{[a-z0-9]+}}, %{{[a-z0-9]+}} on @ep {keep_blocks, layout = #moe.layout<slab>, num_experts = 8 : i64}
// CANON: return %peer_rows
func.func @unused_scales(%x: tensor<16x4xf8E5M2>, %idx: tensor<16x1xi32>,
    %w: tensor<16x1xf32>, %s: tensor<16x1xf32>)
    -> (tensor<4x4xi32> {moe.host}) {
  %r:10 = moe.dispatch %x, %idx, %w scales(%s) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<slab>, keep_blocks}
    : (tensor<16x4xf8E5M2>, tensor<16x1xi32>, tensor<16x1xf32>, tensor<16x1xf32>)
   -> (tensor<64x4xf8E5M2>, tensor<64x1xf32>, tensor<64x1xi32>,
       tensor<64x1xf32>, tensor<64xi32>, tensor<4xi32>, tensor<4xi32>,
       tensor<16x4xi32>, tensor<2x4x1x2xi32>, tensor<4x4xi32>)
  return %r#9 : tensor<4x4xi32>
}
