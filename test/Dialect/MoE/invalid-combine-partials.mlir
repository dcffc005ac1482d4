// Partial sums that are rounded where there are none, or none of floats.
//
// RUN: moe-opt %s --split-input-file --verify-diagnostics

// combine_c11: integers are not rounded
shard.grid @ep(shape = 4)
func.func @combine_c11_integers(%y: tensor<64x5xi32>, %rows: tensor<16x3xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>, %idx: tensor<16x3xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'y' of floating-point element type with partials element ('i32')}}
  %out = moe.combine %y, %rows, %src, %n topk(%idx) on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>, partials = #moe.partials<element>}
    : (tensor<64x5xi32>, tensor<16x3xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x3xi32>)
   -> (tensor<16x5xi32>)
  return
}

// -----

// combine_c11: rows that are not added up have no sums
shard.grid @ep(shape = 4)
func.func @combine_c11_rows(%y: tensor<64x5xf32>, %rows: tensor<16x3xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>, %idx: tensor<16x3xi32>) {
  // expected-error @+1 {{'moe.combine' op expects reduce sum with partials element (none)}}
  %out = moe.combine %y, %rows, %src, %n topk(%idx) on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>, reduce = #moe.reduce<none>, partials = #moe.partials<element>}
    : (tensor<64x5xf32>, tensor<16x3xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x3xi32>)
   -> (tensor<16x3x5xf32>)
  return
}

// -----

// combine_c11: a rank has one row of a token
shard.grid @ep(shape = 4)
func.func @combine_c11_rank_major(%y: tensor<64x5xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects layout expert_major with partials element (rank_major)}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64,
      partials = #moe.partials<element>}
    : (tensor<64x5xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x5xf32>)
  return
}

// -----

// combine_c11: the same
shard.grid @ep(shape = 4)
func.func @combine_c11_slab(%y: tensor<64x5xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects layout expert_major with partials element (slab)}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64,
      layout = #moe.layout<slab>, partials = #moe.partials<element>}
    : (tensor<64x5xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x5xf32>)
  return
}
