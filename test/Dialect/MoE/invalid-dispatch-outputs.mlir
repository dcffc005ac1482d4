// Outputs and forms of moe.dispatch that do not fit its operands.
//
// RUN: moe-opt %s -split-input-file -verify-diagnostics

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_number_of_results(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 7 results (1)}}
  %r:1 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_scales_result(%x: tensor<16x4xf8E5M2>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>, %s: tensor<16x1xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 8 results (7)}}
  %r:7 = moe.dispatch %x, %idx, %w scales(%s) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf8E5M2>, tensor<16x2xi32>, tensor<16x2xf32>,
       tensor<16x1xf32>)
   -> (tensor<64x4xf8E5M2>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_expert_major_results(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 9 results (7)}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<128x4xf32>, tensor<128xi32>, tensor<128xf32>, tensor<128xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x2xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_number_of_outs(%x: memref<16x4xf32>,
    %idx: memref<16x2xi32>, %w: memref<16x2xf32>, %recv_x: memref<64x4xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 7 outs (1)}}
  moe.dispatch %x, %idx, %w outs(%recv_x) on @ep {num_experts = 8 : i64}
    : (memref<16x4xf32>, memref<16x2xi32>, memref<16x2xf32>, memref<64x4xf32>)
   -> ()
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_recv_x(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'recv_x' ('tensor<63x4xf32>') to be 64x4 of 'f32'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<63x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_recv_topk_idx(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'recv_topk_idx' ('tensor<64x3xi32>') to be 64x2 of 'i32'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x3xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_recv_topk_weights(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'recv_topk_weights' ('tensor<64xf32>') to be 64x2 of 'f32'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_recv_src_idx(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'recv_src_idx' ('tensor<64xi64>') to be 64 of 'i32'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi64>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_n_tokens_to_rank(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'n_tokens_to_rank' ('tensor<5xi32>') to be 4 of 'i32'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<5xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_n_tokens_from_rank(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'n_tokens_from_rank' ('tensor<?xi32>') to be 4 of 'i32'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<?xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_send_row(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'send_row' ('tensor<16x8xi32>') to be 16x4 of 'i32'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x8xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_recv_x_element_type(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'recv_x' ('tensor<64x4xf16>') to be 64x4 of 'f32'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf16>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_recv_topk_idx_element_type(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi64>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'recv_topk_idx' ('tensor<64x2xi32>') to be 64x2 of 'i64'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi64>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_recv_scales(%x: tensor<16x4xf8E5M2>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>, %s: tensor<16x1xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'recv_scales' ('tensor<64x2xf32>') to be 64x1 of 'f32'}}
  %r:8 = moe.dispatch %x, %idx, %w scales(%s) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf8E5M2>, tensor<16x2xi32>, tensor<16x2xf32>,
       tensor<16x1xf32>)
   -> (tensor<64x4xf8E5M2>, tensor<64x2xf32>, tensor<64x2xi32>,
       tensor<64x2xf32>, tensor<64xi32>, tensor<4xi32>, tensor<4xi32>,
       tensor<16x4xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_capacity(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'recv_x' ('tensor<64x4xf32>') to be 40x4 of 'f32'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      capacity = 40 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c9, dispatch_s8: 4 ranks times 16 tokens times min(K = 2, EL = 3)
shard.grid @ep(shape = 4)
func.func @dispatch_c9_default_capacity_expert_major(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'recv_x' ('tensor<64x4xf32>') to be 128x4 of 'f32'}}
  %r:9 = moe.dispatch %x, %idx, %w on @ep {num_experts = 9 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64xi32>, tensor<64xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x2xi32>, tensor<3xi32>,
       tensor<3xi32>)
  return
}

// -----

// dispatch_c9, dispatch_s8: 4 ranks times 16 tokens times min(K = 2, EL = 1)
shard.grid @ep(shape = 4)
func.func @dispatch_c9_default_capacity_one_expert(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'recv_x' ('tensor<128x4xf32>') to be 64x4 of 'f32'}}
  %r:9 = moe.dispatch %x, %idx, %w on @ep {num_experts = 4 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<128x4xf32>, tensor<128xi32>, tensor<128xf32>, tensor<128xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x2xi32>, tensor<1xi32>,
       tensor<1xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_expert_major_one_id_per_row(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'recv_topk_idx' ('tensor<128x2xi32>') to be 128 of 'i32'}}
  %r:9 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<128x4xf32>, tensor<128x2xi32>, tensor<128xf32>, tensor<128xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x2xi32>, tensor<2xi32>,
       tensor<2xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_expert_major_send_row(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'send_row' ('tensor<16x4xi32>') to be 16x2 of 'i32'}}
  %r:9 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<128x4xf32>, tensor<128xi32>, tensor<128xf32>, tensor<128xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2xi32>,
       tensor<2xi32>)
  return
}

// -----

// dispatch_c9: ceil(9 / 4) local experts
shard.grid @ep(shape = 4)
func.func @dispatch_c9_expert_offsets(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'expert_offsets' ('tensor<2xi32>') to be 3 of 'i32'}}
  %r:9 = moe.dispatch %x, %idx, %w on @ep {num_experts = 9 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<128x4xf32>, tensor<128xi32>, tensor<128xf32>, tensor<128xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x2xi32>, tensor<2xi32>,
       tensor<3xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_expert_counts(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'expert_counts' ('tensor<9xi32>') to be 3 of 'i32'}}
  %r:9 = moe.dispatch %x, %idx, %w on @ep {num_experts = 9 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<128x4xf32>, tensor<128xi32>, tensor<128xf32>, tensor<128xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x2xi32>, tensor<3xi32>,
       tensor<9xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_outs(%x: memref<16x4xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<64x4xf32>,
    %recv_idx: memref<64x2xi32>, %recv_w: memref<64x2xf32>,
    %src: memref<64xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %send_row: memref<16x2xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'send_row' ('memref<16x2xi32>') to be 16x4 of 'i32'}}
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from, %send_row) on @ep {
      num_experts = 8 : i64}
    : (memref<16x4xf32>, memref<16x2xi32>, memref<16x2xf32>, memref<64x4xf32>,
       memref<64x2xi32>, memref<64x2xf32>, memref<64xi32>, memref<4xi32>,
       memref<4xi32>, memref<16x2xi32>)
   -> ()
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_result_is_ranked(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op result #0 must be variadic of ranked tensor of any type values, but got 'tensor<*xf32>'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<*xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}
