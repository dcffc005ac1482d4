// Operands that moe.dispatch does not take. See also invalid-dispatch-*.mlir.
//
// RUN: moe-opt %s -split-input-file -verify-diagnostics

// types_c1
shard.grid @ep(shape = 4)
func.func @types_c1_x_f64(%x: tensor<16x4xf64>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op operand #0 must be rank-2 tensor or memref of f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32 or i64 values, but got 'tensor<16x4xf64>'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf64>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf64>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// types_c1
shard.grid @ep(shape = 4)
func.func @types_c1_x_index(%x: tensor<16x4xindex>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op operand #0 must be rank-2 tensor or memref of f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32 or i64 values, but got 'tensor<16x4xindex>'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xindex>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xindex>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// types_c1
shard.grid @ep(shape = 4)
func.func @types_c1_topk_idx_i16(%x: tensor<16x4xf32>, %idx: tensor<16x2xi16>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op operand #1 must be rank-2 tensor or memref of 32-bit signless integer or 64-bit signless integer values, but got 'tensor<16x2xi16>'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi16>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// types_c1
shard.grid @ep(shape = 4)
func.func @types_c1_topk_weights_f16(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf16>) {
  // expected-error @+1 {{'moe.dispatch' op operand #2 must be rank-2 tensor or memref of 32-bit float values, but got 'tensor<16x2xf16>'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf16>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c1
shard.grid @ep(shape = 4)
func.func @dispatch_c1_x_rank_3(%x: tensor<16x4x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op operand #0 must be rank-2 tensor or memref of f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32 or i64 values, but got 'tensor<16x4x4xf32>'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c1
shard.grid @ep(shape = 4)
func.func @dispatch_c1_x_unranked(%x: tensor<*xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op operand #0 must be rank-2 tensor or memref of f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32 or i64 values, but got 'tensor<*xf32>'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<*xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c1
shard.grid @ep(shape = 4)
func.func @dispatch_c1_x_dynamic_h(%x: tensor<16x?xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'x' (16x?) to have a static H of at least 1}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x?xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x?xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c1
shard.grid @ep(shape = 4)
func.func @dispatch_c1_x_no_h(%x: tensor<16x0xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'x' (16x0) to have a static H of at least 1}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x0xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x0xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c2
shard.grid @ep(shape = 4)
func.func @dispatch_c2_topk_idx_rank_1(%x: tensor<16x4xf32>,
    %idx: tensor<16xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op operand #1 must be rank-2 tensor or memref of 32-bit signless integer or 64-bit signless integer values, but got 'tensor<16xi32>'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c2
shard.grid @ep(shape = 4)
func.func @dispatch_c2_topk_weights_rank_1(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16xf32>) {
  // expected-error @+1 {{'moe.dispatch' op operand #2 must be rank-2 tensor or memref of 32-bit float values, but got 'tensor<16xf32>'}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c2
shard.grid @ep(shape = 4)
func.func @dispatch_c2_k_dynamic(%x: tensor<16x4xf32>, %idx: tensor<16x?xi32>,
    %w: tensor<16x?xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'topk_idx' (16x?) to have a static K from 1 to 32}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x?xi32>, tensor<16x?xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c2
shard.grid @ep(shape = 4)
func.func @dispatch_c2_k_zero(%x: tensor<16x4xf32>, %idx: tensor<16x0xi32>,
    %w: tensor<16x0xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'topk_idx' (16x0) to have a static K from 1 to 32}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x0xi32>, tensor<16x0xf32>)
   -> (tensor<64x4xf32>, tensor<64x0xi32>, tensor<64x0xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c2
shard.grid @ep(shape = 4)
func.func @dispatch_c2_k_above_32(%x: tensor<16x4xf32>, %idx: tensor<16x33xi32>,
    %w: tensor<16x33xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'topk_idx' (16x33) to have a static K from 1 to 32}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x33xi32>, tensor<16x33xf32>)
   -> (tensor<64x4xf32>, tensor<64x33xi32>, tensor<64x33xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c2
shard.grid @ep(shape = 4)
func.func @dispatch_c2_tokens_of_topk_idx(%x: tensor<16x4xf32>,
    %idx: tensor<15x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'topk_idx' (15x2) to have the tokens of 'x' (16x4)}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<15x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c2
shard.grid @ep(shape = 4)
func.func @dispatch_c2_dynamic_tokens_of_topk_idx(%x: tensor<16x4xf32>,
    %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'topk_idx' (?x2) to have the tokens of 'x' (16x4)}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c2
shard.grid @ep(shape = 4)
func.func @dispatch_c2_shape_of_topk_weights(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x3xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'topk_weights' (16x3) to have the shape of 'topk_idx' (16x2)}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x3xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c5
shard.grid @ep(shape = 4)
func.func @dispatch_c5_scales_of_f16(%x: tensor<16x4xf16>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>, %s: tensor<16x1xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'x' of 8-bit float element type with 'scales' ('f16')}}
  %r:8 = moe.dispatch %x, %idx, %w scales(%s) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf16>, tensor<16x2xi32>, tensor<16x2xf32>, tensor<16x1xf32>)
   -> (tensor<64x4xf16>, tensor<64x1xf32>, tensor<64x2xi32>, tensor<64x2xf32>,
       tensor<64xi32>, tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c5
shard.grid @ep(shape = 4)
func.func @dispatch_c5_scales_of_i8(%x: tensor<16x4xi8>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>, %s: tensor<16x1xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'x' of 8-bit float element type with 'scales' ('i8')}}
  %r:8 = moe.dispatch %x, %idx, %w scales(%s) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xi8>, tensor<16x2xi32>, tensor<16x2xf32>, tensor<16x1xf32>)
   -> (tensor<64x4xi8>, tensor<64x1xf32>, tensor<64x2xi32>, tensor<64x2xf32>,
       tensor<64xi32>, tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c5
shard.grid @ep(shape = 4)
func.func @dispatch_c5_scales_tokens(%x: tensor<16x4xf8E4M3FN>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>, %s: tensor<17x1xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'scales' (17x1) to have the tokens of 'x' and a static S of at least 1 ('x' is 16x4)}}
  %r:8 = moe.dispatch %x, %idx, %w scales(%s) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf8E4M3FN>, tensor<16x2xi32>, tensor<16x2xf32>,
       tensor<17x1xf32>)
   -> (tensor<64x4xf8E4M3FN>, tensor<64x1xf32>, tensor<64x2xi32>,
       tensor<64x2xf32>, tensor<64xi32>, tensor<4xi32>, tensor<4xi32>,
       tensor<16x4xi32>)
  return
}

// -----

// dispatch_c5
shard.grid @ep(shape = 4)
func.func @dispatch_c5_scales_dynamic_s(%x: tensor<16x4xf8E4M3FN>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>, %s: tensor<16x?xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'scales' (16x?) to have the tokens of 'x' and a static S of at least 1 ('x' is 16x4)}}
  %r:8 = moe.dispatch %x, %idx, %w scales(%s) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf8E4M3FN>, tensor<16x2xi32>, tensor<16x2xf32>,
       tensor<16x?xf32>)
   -> (tensor<64x4xf8E4M3FN>, tensor<64x1xf32>, tensor<64x2xi32>,
       tensor<64x2xf32>, tensor<64xi32>, tensor<4xi32>, tensor<4xi32>,
       tensor<16x4xi32>)
  return
}

// -----

// dispatch_c5
shard.grid @ep(shape = 4)
func.func @dispatch_c5_scales_no_s(%x: tensor<16x4xf8E5M2>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>, %s: tensor<16x0xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'scales' (16x0) to have the tokens of 'x' and a static S of at least 1 ('x' is 16x4)}}
  %r:8 = moe.dispatch %x, %idx, %w scales(%s) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf8E5M2>, tensor<16x2xi32>, tensor<16x2xf32>,
       tensor<16x0xf32>)
   -> (tensor<64x4xf8E5M2>, tensor<64x1xf32>, tensor<64x2xi32>,
       tensor<64x2xf32>, tensor<64xi32>, tensor<4xi32>, tensor<4xi32>,
       tensor<16x4xi32>)
  return
}

// -----

// dispatch_c5
shard.grid @ep(shape = 4)
func.func @dispatch_c5_scales_rank_1(%x: tensor<16x4xf8E5M2>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>, %s: tensor<16xf32>) {
  // expected-error @+1 {{'moe.dispatch' op operand #3 must be rank-2 tensor or memref of f32, f16, bf16 or i8 values, but got 'tensor<16xf32>'}}
  %r:8 = moe.dispatch %x, %idx, %w scales(%s) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf8E5M2>, tensor<16x2xi32>, tensor<16x2xf32>, tensor<16xf32>)
   -> (tensor<64x4xf8E5M2>, tensor<64x1xf32>, tensor<64x2xi32>,
       tensor<64x2xf32>, tensor<64xi32>, tensor<4xi32>, tensor<4xi32>,
       tensor<16x4xi32>)
  return
}

// -----

// dispatch_c5
shard.grid @ep(shape = 4)
func.func @dispatch_c5_scales_element_type(%x: tensor<16x4xf8E5M2>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>, %s: tensor<16x1xi32>) {
  // expected-error @+1 {{'moe.dispatch' op operand #3 must be rank-2 tensor or memref of f32, f16, bf16 or i8 values, but got 'tensor<16x1xi32>'}}
  %r:8 = moe.dispatch %x, %idx, %w scales(%s) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf8E5M2>, tensor<16x2xi32>, tensor<16x2xf32>,
       tensor<16x1xi32>)
   -> (tensor<64x4xf8E5M2>, tensor<64x1xf32>, tensor<64x2xi32>,
       tensor<64x2xf32>, tensor<64xi32>, tensor<4xi32>, tensor<4xi32>,
       tensor<16x4xi32>)
  return
}
