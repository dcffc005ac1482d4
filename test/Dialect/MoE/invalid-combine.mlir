// Operands that moe.combine does not take. Its form, output and attributes are in
// invalid-combine-outputs.mlir.
//
// RUN: moe-opt %s -split-input-file -verify-diagnostics

// types_c1
shard.grid @ep(shape = 4)
func.func @types_c1_y_i16(%y: tensor<64x4xi16>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op operand #0 must be rank-2 tensor or memref of f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32 or i64 values, but got 'tensor<64x4xi16>'}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xi16>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// types_c1
shard.grid @ep(shape = 4)
func.func @types_c1_send_row_i64(%y: tensor<64x4xf32>, %rows: tensor<16x4xi64>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op operand #1 must be rank-2 tensor or memref of 32-bit signless integer values, but got 'tensor<16x4xi64>'}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi64>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// types_c1
shard.grid @ep(shape = 4)
func.func @types_c1_recv_src_idx_i64(%y: tensor<64x4xf32>,
    %rows: tensor<16x4xi32>, %src: tensor<64xi64>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op operand #2 must be rank-1 tensor or memref of 32-bit signless integer values, but got 'tensor<64xi64>'}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi64>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// types_c1
shard.grid @ep(shape = 4)
func.func @types_c1_n_tokens_from_rank_index(%y: tensor<64x4xf32>,
    %rows: tensor<16x4xi32>, %src: tensor<64xi32>, %n: tensor<4xindex>) {
  // expected-error @+1 {{'moe.combine' op operand #3 must be rank-1 tensor or memref of 32-bit signless integer values, but got 'tensor<4xindex>'}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xindex>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// types_c1
shard.grid @ep(shape = 4)
func.func @types_c1_weights_f16(%y: tensor<64x4xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>, %w: tensor<64xf16>) {
  // expected-error @+1 {{'moe.combine' op operand #4 must be rank-1 tensor or memref of 32-bit float values, but got 'tensor<64xf16>'}}
  %out = moe.combine %y, %rows, %src, %n weights(%w) on @ep {
      num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<64xf16>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// types_c1
shard.grid @ep(shape = 4)
func.func @types_c1_topk_f32(%y: tensor<64x4xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>, %idx: tensor<16x4xf32>) {
  // expected-error @+1 {{'moe.combine' op operand #4 must be rank-2 tensor or memref of 32-bit signless integer or 64-bit signless integer values, but got 'tensor<16x4xf32>'}}
  %out = moe.combine %y, %rows, %src, %n topk(%idx) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x4xf32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c1
shard.grid @ep(shape = 4)
func.func @combine_c1_y_rank_1(%y: tensor<64xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op operand #0 must be rank-2 tensor or memref of f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32 or i64 values, but got 'tensor<64xf32>'}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c1
shard.grid @ep(shape = 4)
func.func @combine_c1_y_dynamic_c(%y: tensor<?x4xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'y' (?x4) to have static C and a static H of at least 1}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<?x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c1
shard.grid @ep(shape = 4)
func.func @combine_c1_y_dynamic_h(%y: tensor<64x?xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'y' (64x?) to have static C and a static H of at least 1}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x?xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c1
shard.grid @ep(shape = 4)
func.func @combine_c1_y_no_h(%y: tensor<64x0xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'y' (64x0) to have static C and a static H of at least 1}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x0xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c1
shard.grid @ep(shape = 4)
func.func @combine_c1_recv_src_idx(%y: tensor<64x4xf32>,
    %rows: tensor<16x4xi32>, %src: tensor<63xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'recv_src_idx' (63) to have one element per row of 'y' (64x4)}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<63xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c1
shard.grid @ep(shape = 4)
func.func @combine_c1_recv_src_idx_dynamic(%y: tensor<64x4xf32>,
    %rows: tensor<16x4xi32>, %src: tensor<?xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'recv_src_idx' (?) to have one element per row of 'y' (64x4)}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<?xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c1
shard.grid @ep(shape = 4)
func.func @combine_c1_recv_src_idx_rank_2(%y: tensor<64x4xf32>,
    %rows: tensor<16x4xi32>, %src: tensor<64x1xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op operand #2 must be rank-1 tensor or memref of 32-bit signless integer values, but got 'tensor<64x1xi32>'}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64x1xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c1
shard.grid @ep(shape = 4)
func.func @combine_c1_weights(%y: tensor<64x4xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>, %w: tensor<4xf32>) {
  // expected-error @+1 {{'moe.combine' op expects 'weights' (4) to have one element per row of 'y' (64x4)}}
  %out = moe.combine %y, %rows, %src, %n weights(%w) on @ep {
      num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<4xf32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c2
shard.grid @ep(shape = 4)
func.func @combine_c2_topk_missing(%y: tensor<64x4xf32>,
    %rows: tensor<16x4xi32>, %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'topk' with layout expert_major}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c2
shard.grid @ep(shape = 4)
func.func @combine_c2_topk_rank_major(%y: tensor<64x4xf32>,
    %rows: tensor<16x4xi32>, %src: tensor<64xi32>, %n: tensor<4xi32>,
    %idx: tensor<16x4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects no 'topk' with layout rank_major}}
  %out = moe.combine %y, %rows, %src, %n topk(%idx) on @ep {
      num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c2
shard.grid @ep(shape = 4)
func.func @combine_c2_topk_slab(%y: tensor<64x4xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>, %idx: tensor<16x4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects no 'topk' with layout slab}}
  %out = moe.combine %y, %rows, %src, %n topk(%idx) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<slab>}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c2
shard.grid @ep(shape = 4)
func.func @combine_c2_topk_shape(%y: tensor<64x4xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>, %idx: tensor<16x3xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'send_row' (16x4) to have the shape of 'topk' (16x3)}}
  %out = moe.combine %y, %rows, %src, %n topk(%idx) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x3xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c2
shard.grid @ep(shape = 4)
func.func @combine_c2_k_dynamic(%y: tensor<64x4xf32>, %rows: tensor<16x?xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>, %idx: tensor<16x?xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'topk' (16x?) to have a static K from 1 to 32}}
  %out = moe.combine %y, %rows, %src, %n topk(%idx) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (tensor<64x4xf32>, tensor<16x?xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x?xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c2
shard.grid @ep(shape = 4)
func.func @combine_c2_k_zero(%y: tensor<64x4xf32>, %rows: tensor<16x0xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>, %idx: tensor<16x0xi64>) {
  // expected-error @+1 {{'moe.combine' op expects 'topk' (16x0) to have a static K from 1 to 32}}
  %out = moe.combine %y, %rows, %src, %n topk(%idx) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (tensor<64x4xf32>, tensor<16x0xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x0xi64>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c2
shard.grid @ep(shape = 4)
func.func @combine_c2_k_above_32(%y: tensor<64x4xf32>, %rows: tensor<16x33xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>, %idx: tensor<16x33xi64>) {
  // expected-error @+1 {{'moe.combine' op expects 'topk' (16x33) to have a static K from 1 to 32}}
  %out = moe.combine %y, %rows, %src, %n topk(%idx) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (tensor<64x4xf32>, tensor<16x33xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x33xi64>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c2
shard.grid @ep(shape = 4)
func.func @combine_c2_send_row_columns(%y: tensor<64x4xf32>,
    %rows: tensor<16x8xi32>, %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'send_row' (16x8) to have one column per rank (4)}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x8xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c2
shard.grid @ep(shape = 4)
func.func @combine_c2_send_row_rank_1(%y: tensor<64x4xf32>,
    %rows: tensor<16xi32>, %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op operand #1 must be rank-2 tensor or memref of 32-bit signless integer values, but got 'tensor<16xi32>'}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}
