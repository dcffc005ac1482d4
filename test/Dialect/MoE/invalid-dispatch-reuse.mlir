// What moe.dispatch does not take as the description of its routes: `topk_idx`
// and `topk_weights`, or `reuse`.
//
// RUN: moe-opt %s -split-input-file -verify-diagnostics

// dispatch_c11
shard.grid @ep(shape = 4)
func.func @dispatch_c11_no_routes(%x: tensor<16x4xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects either 'topk_idx' and 'topk_weights' or 'reuse'}}
  %r:1 = moe.dispatch %x on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c11
shard.grid @ep(shape = 4)
func.func @dispatch_c11_topk_and_reuse(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>, %rows: tensor<16x4xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects either 'topk_idx' and 'topk_weights' or 'reuse'}}
  %r:1 = moe.dispatch %x, %idx, %w reuse(%rows) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>, tensor<16x4xi32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c11
shard.grid @ep(shape = 4)
func.func @dispatch_c11_topk_idx_alone(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects either 'topk_idx' and 'topk_weights' or 'reuse'}}
  %r:7 = "moe.dispatch"(%x, %idx) <{
      operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>, grid = @ep,
      num_experts = 8 : i64}>
    : (tensor<16x4xf32>, tensor<16x2xi32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c11
shard.grid @ep(shape = 4)
func.func @dispatch_c11_topk_weights_alone(%x: tensor<16x4xf32>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects either 'topk_idx' and 'topk_weights' or 'reuse'}}
  %r:7 = "moe.dispatch"(%x, %w) <{
      operandSegmentSizes = array<i32: 1, 0, 1, 0, 0, 0, 0, 0>, grid = @ep,
      num_experts = 8 : i64}>
    : (tensor<16x4xf32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c11
shard.grid @ep(shape = 4)
func.func @dispatch_c11_topk_weights_and_reuse(%x: tensor<16x4xf32>,
    %w: tensor<16x2xf32>, %rows: tensor<16x4xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects either 'topk_idx' and 'topk_weights' or 'reuse'}}
  %r:1 = "moe.dispatch"(%x, %w, %rows) <{
      operandSegmentSizes = array<i32: 1, 0, 1, 0, 1, 0, 0, 0>, grid = @ep,
      num_experts = 8 : i64}>
    : (tensor<16x4xf32>, tensor<16x2xf32>, tensor<16x4xi32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c11
shard.grid @ep(shape = 4)
func.func @dispatch_c11_reuse_of_two(%x: tensor<16x4xf32>,
    %rows: tensor<16x4xi32>, %idx: tensor<16x2xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'reuse' to be (send_row) with layout rank_major (2 given)}}
  %r:1 = moe.dispatch %x reuse(%rows, %idx) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x4xi32>, tensor<16x2xi32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c11
shard.grid @ep(shape = 4)
func.func @dispatch_c11_reuse_of_one_expert_major(%x: tensor<16x4xf32>,
    %rows: tensor<16x2xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'reuse' to be (send_row, topk_idx) with layout expert_major (1 given)}}
  %r:1 = moe.dispatch %x reuse(%rows) on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x2xi32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c11
shard.grid @ep(shape = 4)
func.func @dispatch_c11_reuse_rank_1(%x: tensor<16x4xf32>,
    %rows: tensor<16xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'send_row' of 'reuse' to have rank 2 and element type i32 ('tensor<16xi32>')}}
  %r:1 = moe.dispatch %x reuse(%rows) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16xi32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c11
shard.grid @ep(shape = 4)
func.func @dispatch_c11_reuse_unranked(%x: tensor<16x4xf32>,
    %rows: tensor<*xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'send_row' of 'reuse' to have rank 2 and element type i32 ('tensor<*xi32>')}}
  %r:1 = moe.dispatch %x reuse(%rows) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<*xi32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c11
shard.grid @ep(shape = 4)
func.func @dispatch_c11_reuse_element_type(%x: tensor<16x4xf32>,
    %rows: tensor<16x4xi64>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'send_row' of 'reuse' to have rank 2 and element type i32 ('tensor<16x4xi64>')}}
  %r:1 = moe.dispatch %x reuse(%rows) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x4xi64>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c11
shard.grid @ep(shape = 4)
func.func @dispatch_c11_reuse_topk_idx_element_type(%x: tensor<16x4xf32>,
    %rows: tensor<16x2xi32>, %idx: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'topk_idx' of 'reuse' to have rank 2 and element type i32 or i64 ('tensor<16x2xf32>')}}
  %r:1 = moe.dispatch %x reuse(%rows, %idx) on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c11
shard.grid @ep(shape = 4)
func.func @dispatch_c11_reuse_tokens(%x: tensor<16x4xf32>,
    %rows: tensor<17x4xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'send_row' of 'reuse' (17x4) to have the tokens of 'x' (16x4)}}
  %r:1 = moe.dispatch %x reuse(%rows) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<17x4xi32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c11
shard.grid @ep(shape = 4)
func.func @dispatch_c11_reuse_topk_idx_tokens(%x: tensor<16x4xf32>,
    %rows: tensor<16x2xi32>, %idx: tensor<?x2xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'topk_idx' of 'reuse' (?x2) to have the tokens of 'x' (16x4)}}
  %r:1 = moe.dispatch %x reuse(%rows, %idx) on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<?x2xi32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c11
shard.grid @ep(shape = 4)
func.func @dispatch_c11_reuse_shapes(%x: tensor<16x4xf32>,
    %rows: tensor<16x4xi32>, %idx: tensor<16x2xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'send_row' of 'reuse' (16x4) to have the shape of its 'topk_idx' (16x2)}}
  %r:1 = moe.dispatch %x reuse(%rows, %idx) on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x4xi32>, tensor<16x2xi32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c11
shard.grid @ep(shape = 4)
func.func @dispatch_c11_reuse_columns(%x: tensor<16x4xf32>,
    %rows: tensor<16x3xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'send_row' of 'reuse' (16x3) to have one column per rank (4)}}
  %r:1 = moe.dispatch %x reuse(%rows) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x3xi32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c2
shard.grid @ep(shape = 4)
func.func @dispatch_c2_reuse_k_above_32(%x: tensor<16x4xf32>,
    %rows: tensor<16x33xi32>, %idx: tensor<16x33xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'topk_idx' (16x33) to have a static K from 1 to 32}}
  %r:1 = moe.dispatch %x reuse(%rows, %idx) on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x33xi32>, tensor<16x33xi32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c2
shard.grid @ep(shape = 4)
func.func @dispatch_c2_reuse_k_dynamic(%x: tensor<16x4xf32>,
    %rows: tensor<16x?xi32>, %idx: tensor<16x?xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'topk_idx' (16x?) to have a static K from 1 to 32}}
  %r:1 = moe.dispatch %x reuse(%rows, %idx) on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x?xi32>, tensor<16x?xi32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c4
shard.grid @ep(shape = 4)
func.func @dispatch_c4_reuse_dynamic_tokens(%x: tensor<?x4xf32>,
    %rows: tensor<?x4xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'max_tokens' when the number of tokens is dynamic}}
  %r:1 = moe.dispatch %x reuse(%rows) on @ep {num_experts = 8 : i64}
    : (tensor<?x4xf32>, tensor<?x4xi32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_reuse_results(%x: tensor<16x4xf32>,
    %rows: tensor<16x4xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 1 result (7)}}
  %r:7 = moe.dispatch %x reuse(%rows) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x4xi32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_reuse_recv_x(%x: tensor<16x4xf32>,
    %rows: tensor<16x2xi32>, %idx: tensor<16x2xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'recv_x' ('tensor<64x4xf32>') to be 128x4 of 'f32'}}
  %r:1 = moe.dispatch %x reuse(%rows, %idx) on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xi32>)
   -> (tensor<64x4xf32>)
  return
}
