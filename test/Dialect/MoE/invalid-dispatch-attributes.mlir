// Attributes that moe.dispatch does not take with its operands.
//
// RUN: moe-opt %s -split-input-file -verify-diagnostics

// dispatch_c3
shard.grid @ep(shape = 4)
func.func @dispatch_c3_num_experts_zero(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op attribute 'num_experts' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 0 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c3
shard.grid @ep(shape = 4)
func.func @dispatch_c3_num_experts_negative(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op attribute 'num_experts' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = -8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c4
shard.grid @ep(shape = 4)
func.func @dispatch_c4_dynamic_tokens(%x: tensor<?x4xf32>,
    %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'max_tokens' when the number of tokens is dynamic}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
  return
}

// -----

// dispatch_c4
shard.grid @ep(shape = 4)
func.func @dispatch_c4_more_than_max_tokens(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects the number of tokens (16) to be at most 'max_tokens' (15)}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      max_tokens = 15 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c4
shard.grid @ep(shape = 4)
func.func @dispatch_c4_max_tokens_zero(%x: tensor<?x4xf32>,
    %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op attribute 'max_tokens' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      max_tokens = 0 : i64}
    : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
  return
}

// -----

// dispatch_c6
shard.grid @ep(shape = 4)
func.func @dispatch_c6_order_expert_needs_k1(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects K = 1 with order expert (2)}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      order = #moe.order<expert>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c6
shard.grid @ep(shape = 4)
func.func @dispatch_c6_order_expert_slab(%x: tensor<16x4xf32>,
    %idx: tensor<16x1xi32>, %w: tensor<16x1xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects layout rank_major with order expert (slab)}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      order = #moe.order<expert>, layout = #moe.layout<slab>}
    : (tensor<16x4xf32>, tensor<16x1xi32>, tensor<16x1xf32>)
   -> (tensor<64x4xf32>, tensor<64x1xi32>, tensor<64x1xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c6
shard.grid @ep(shape = 4)
func.func @dispatch_c6_order_expert_expert_major(%x: tensor<16x4xf32>,
    %idx: tensor<16x1xi32>, %w: tensor<16x1xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects layout rank_major with order expert (expert_major)}}
  %r:9 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>, order = #moe.order<expert>}
    : (tensor<16x4xf32>, tensor<16x1xi32>, tensor<16x1xf32>)
   -> (tensor<64x4xf32>, tensor<64xi32>, tensor<64xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x1xi32>, tensor<2xi32>,
       tensor<2xi32>)
  return
}

// -----

// dispatch_c7
shard.grid @ep(shape = 4)
func.func @dispatch_c7_alignment_zero(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op attribute 'alignment' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %r:9 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>, alignment = 0 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<128x4xf32>, tensor<128xi32>, tensor<128xf32>, tensor<128xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x2xi32>, tensor<2xi32>,
       tensor<2xi32>)
  return
}

// -----

// dispatch_c7
shard.grid @ep(shape = 4)
func.func @dispatch_c7_alignment_rank_major(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects layout expert_major with 'alignment' (8) above 1 (rank_major)}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      alignment = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c7
shard.grid @ep(shape = 4)
func.func @dispatch_c7_alignment_slab(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects layout expert_major with 'alignment' (2) above 1 (slab)}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      alignment = 2 : i64, layout = #moe.layout<slab>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c8
shard.grid @ep(shape = 4)
func.func @dispatch_c8_capacity_zero(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op attribute 'capacity' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      capacity = 0 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<0x4xf32>, tensor<0x2xi32>, tensor<0x2xf32>, tensor<0xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c8
shard.grid @ep(shape = 4)
func.func @dispatch_c8_capacity_slab(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects no 'capacity' (64) with layout slab}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      capacity = 64 : i64, layout = #moe.layout<slab>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_s12
shard.grid @ep(shape = 4)
func.func @dispatch_padding_value(%x: tensor<16x4xf32>,
    %rows: tensor<16x4xi32>) {
  %r = moe.dispatch %x reuse(%rows) on @ep {num_experts = 8 : i64,
      // expected-error @+2 {{expected ::mlir::moe::Padding to be one of: none, zero}}
      // expected-error @+1 {{failed to parse MoE_PaddingAttr parameter 'value' which is to be a `::mlir::moe::Padding`}}
      padding = #moe.padding<ones>}
    : (tensor<16x4xf32>, tensor<16x4xi32>) -> tensor<64x4xf32>
  return
}

// -----

// dispatch_c14
shard.grid @ep(shape = 4)
func.func @dispatch_c14_expand_rank_major(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects layout expert_major with algorithm expand (rank_major)}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      algorithm = #moe.dispatch_algorithm<expand>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}
