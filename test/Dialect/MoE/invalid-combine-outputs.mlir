// Forms, outputs and attributes of moe.combine that do not fit its operands.
//
// RUN: moe-opt %s -split-input-file -verify-diagnostics

// combine_c3
shard.grid @ep(shape = 4)
func.func @combine_c3_out_tokens(%y: tensor<64x4xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'out' ('tensor<17x4xf32>') to be 16x4 of 'f32'}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<17x4xf32>)
  return
}

// -----

// combine_c3
shard.grid @ep(shape = 4)
func.func @combine_c3_out_row_length(%y: tensor<64x4xf32>,
    %rows: tensor<16x4xi32>, %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'out' ('tensor<16x5xf32>') to be 16x4 of 'f32'}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x5xf32>)
  return
}

// -----

// combine_c3
shard.grid @ep(shape = 4)
func.func @combine_c3_out_element_type(%y: tensor<64x4xbf16>,
    %rows: tensor<16x4xi32>, %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'out' ('tensor<16x4xf32>') to be 16x4 of 'bf16'}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xbf16>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c3
shard.grid @ep(shape = 4)
func.func @combine_c3_out_dynamic(%y: tensor<64x4xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'out' ('tensor<?x4xf32>') to be 16x4 of 'f32'}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<?x4xf32>)
  return
}

// -----

// combine_c3
shard.grid @ep(shape = 4)
func.func @combine_c3_two_results(%y: tensor<64x4xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 1 result (2)}}
  %out:2 = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>, tensor<16x4xf32>)
  return
}

// -----

// combine_c3
shard.grid @ep(shape = 4)
func.func @combine_c3_two_outs(%y: memref<64x4xf32>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %out: memref<16x4xf32>,
    %more: memref<16x4xf32>) {
  // expected-error @+1 {{'moe.combine' op expects 1 out (2)}}
  moe.combine %y, %rows, %src, %n outs(%out, %more) on @ep {
      num_experts = 8 : i64}
    : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x4xf32>, memref<16x4xf32>)
   -> ()
  return
}

// -----

// combine_c3
shard.grid @ep(shape = 4)
func.func @combine_c3_outs(%y: memref<64x4xf32>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %out: memref<16x3xf32>) {
  // expected-error @+1 {{'moe.combine' op expects 'out' ('memref<16x3xf32>') to be 16x4 of 'f32'}}
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64}
    : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x3xf32>)
   -> ()
  return
}

// -----

// combine_c3
shard.grid @ep(shape = 4)
func.func @combine_c3_no_output(%y: tensor<64x4xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects results (tensor form) or 'outs' (memref form)}}
  moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> ()
  return
}

// -----

// combine_c3
shard.grid @ep(shape = 4)
func.func @combine_c3_memref_with_result(%y: memref<64x4xf32>,
    %rows: memref<16x4xi32>, %src: memref<64xi32>, %n: memref<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects tensor operands in its tensor form (operand #0 is 'memref<64x4xf32>')}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c3
shard.grid @ep(shape = 4)
func.func @combine_c3_tensor_with_outs(%y: tensor<64x4xf32>,
    %rows: tensor<16x4xi32>, %src: tensor<64xi32>, %n: tensor<4xi32>,
    %out: memref<16x4xf32>) {
  // expected-error @+1 {{'moe.combine' op expects memref operands in its memref form (operand #0 is 'tensor<64x4xf32>')}}
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>,
       memref<16x4xf32>)
   -> ()
  return
}

// -----

// combine_c4
shard.grid @ep(shape = 4)
func.func @combine_c4_n_tokens_from_rank(%y: tensor<64x4xf32>,
    %rows: tensor<16x4xi32>, %src: tensor<64xi32>, %n: tensor<5xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'n_tokens_from_rank' (5) to have one element per rank (4)}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<5xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c4
shard.grid @ep(shape = 4)
func.func @combine_c4_n_tokens_from_rank_dynamic(%y: tensor<64x4xf32>,
    %rows: tensor<16x4xi32>, %src: tensor<64xi32>, %n: tensor<?xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'n_tokens_from_rank' (?) to have one element per rank (4)}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<?xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c5
shard.grid @ep(shape = 4)
func.func @combine_c5_dynamic_tokens(%y: tensor<64x4xf32>,
    %rows: tensor<?x4xi32>, %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'max_tokens' when the number of tokens is dynamic}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<?x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<?x4xf32>)
  return
}

// -----

// combine_c5
shard.grid @ep(shape = 4)
func.func @combine_c5_more_than_max_tokens(%y: tensor<64x4xf32>,
    %rows: tensor<16x4xi32>, %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects the number of tokens (16) to be at most 'max_tokens' (8)}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64,
      max_tokens = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c6
shard.grid @ep(shape = 4)
func.func @combine_c6_weights_of_i32(%y: tensor<64x4xi32>,
    %rows: tensor<16x4xi32>, %src: tensor<64xi32>, %n: tensor<4xi32>,
    %w: tensor<64xf32>) {
  // expected-error @+1 {{'moe.combine' op expects 'y' of floating-point element type with 'weights' ('i32')}}
  %out = moe.combine %y, %rows, %src, %n weights(%w) on @ep {
      num_experts = 8 : i64}
    : (tensor<64x4xi32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<64xf32>)
   -> (tensor<16x4xi32>)
  return
}

// -----

// combine_c7
shard.grid @ep(shape = 4)
func.func @combine_c7_num_experts_zero(%y: tensor<64x4xf32>,
    %rows: tensor<16x4xi32>, %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op attribute 'num_experts' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 0 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// combine_c8: `recv_src_idx` numbers the tokens of all ranks
shard.grid @ep(shape = 4)
func.func @combine_row_numbers(%y: tensor<64x4xf32>, %rows: tensor<?x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects ranks (4) times tokens per rank (9223372036854775807) to be at most 2147483647}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64,
      max_tokens = 9223372036854775807 : i64}
    : (tensor<64x4xf32>, tensor<?x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<?x4xf32>)
  return
}

// -----

// combine_c3: a row per rank
shard.grid @ep(shape = 4)
func.func @combine_c3_rows(%y: tensor<64x5xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'out' ('tensor<16x5xf32>') to be 16x4x5 of 'f32'}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64,
      reduce = #moe.reduce<none>}
    : (tensor<64x5xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x5xf32>)
  return
}

// -----

// combine_c3: a row per slot when expert_major
shard.grid @ep(shape = 4)
func.func @combine_c3_rows_expert_major(%y: memref<64x5xf32>,
    %rows: memref<16x3xi32>, %src: memref<64xi32>, %n: memref<4xi32>,
    %idx: memref<16x3xi32>, %out: memref<16x4x5xf32>) {
  // expected-error @+1 {{'moe.combine' op expects 'out' ('memref<16x4x5xf32>') to be 16x3x5 of 'f32'}}
  moe.combine %y, %rows, %src, %n topk(%idx) outs(%out) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>,
      reduce = #moe.reduce<none>}
    : (memref<64x5xf32>, memref<16x3xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x3xi32>, memref<16x4x5xf32>) -> ()
  return
}

// -----

// combine_c3: a sum is one row
shard.grid @ep(shape = 4)
func.func @combine_c3_sum(%y: tensor<64x5xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'out' ('tensor<16x4x5xf32>') to be 16x5 of 'f32'}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x5xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4x5xf32>)
  return
}

// -----

// combine_c10: rows that are not added up need no slots
shard.grid @ep(shape = 4)
func.func @combine_c10_push_rows(%y: tensor<64x5xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects algorithm pull with reduce none (push)}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64,
      reduce = #moe.reduce<none>, algorithm = #moe.algorithm<push>}
    : (tensor<64x5xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4x5xf32>)
  return
}

// -----

// combine_s7
shard.grid @ep(shape = 4)
func.func @combine_reduce_value(%y: tensor<64x5xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64,
      // expected-error @+2 {{expected ::mlir::moe::Reduce to be one of: sum, none}}
      // expected-error @+1 {{failed to parse MoE_ReduceAttr parameter 'value' which is to be a `::mlir::moe::Reduce`}}
      reduce = #moe.reduce<mean>}
    : (tensor<64x5xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x5xf32>)
  return
}
