// Lists that moe.dispatch does not make.
//
// RUN: moe-opt %s -split-input-file -verify-diagnostics

// dispatch_c15
shard.grid @ep(shape = 4)
func.func @dispatch_c15_not_positive(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op attribute 'list_alignment' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %r:11 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 8 : i64, list_alignment = 0 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2xi32>,
       tensor<2xi32>, tensor<128xi32>, tensor<128xf32>)
  return
}

// -----

// dispatch_c15
shard.grid @ep(shape = 4)
func.func @dispatch_c15_expert_major(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects layout rank_major or slab with 'list_alignment' (8)}}
  %r:11 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 8 : i64, list_alignment = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<128x4xf32>, tensor<128xi32>, tensor<128xf32>, tensor<128xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x2xi32>, tensor<2xi32>,
       tensor<2xi32>, tensor<264xi32>, tensor<264xf32>)
  return
}

// -----

// dispatch_c15
shard.grid @ep(shape = 4)
func.func @dispatch_c15_reuse(%x: tensor<16x4xf32>, %rows: tensor<16x4xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects no 'list_alignment' (8) with 'reuse'}}
  %r = moe.dispatch %x reuse(%rows) on @ep {
      num_experts = 8 : i64, list_alignment = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x4xi32>) -> tensor<64x4xf32>
  return
}

// -----

// dispatch_c12
shard.grid @ep(shape = 4)
func.func @dispatch_c12_places(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects the lists of 2 experts to have at most 2147483647 places ('list_alignment' is 9223372036854775807)}}
  %r:11 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 8 : i64, list_alignment = 9223372036854775807 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2xi32>,
       tensor<2xi32>, tensor<136xi32>, tensor<136xf32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_list_rows(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'list_rows' ('tensor<137xi32>') to be 136 of 'i32'}}
  %r:11 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 8 : i64, list_alignment = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2xi32>,
       tensor<2xi32>, tensor<137xi32>, tensor<136xf32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_list_weights(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'list_weights' ('tensor<136xi32>') to be 136 of 'f32'}}
  %r:11 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 8 : i64, list_alignment = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2xi32>,
       tensor<2xi32>, tensor<136xi32>, tensor<136xi32>)
  return
}

// -----

// dispatch_c9
shard.grid @ep(shape = 4)
func.func @dispatch_c9_no_lists(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 11 results (7)}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 8 : i64, list_alignment = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}
