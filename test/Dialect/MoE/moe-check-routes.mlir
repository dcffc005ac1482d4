// RUN: moe-opt %s --split-input-file --moe-check-routes --verify-diagnostics

// Everything agrees.
shard.grid @ep(shape = 4)
func.func @agree(%x: tensor<16x8xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> (tensor<16x8xf32>, tensor<64x8xf32>) {
  %recv, %ri, %rw, %src, %to, %from, %row = moe.dispatch %x, %idx, %w on @ep
      {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  %again = moe.dispatch %x reuse(%row) on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x4xi32>) -> (tensor<64x8xf32>)
  %out = moe.combine %recv, %row, %src, %from on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  return %out, %again : tensor<16x8xf32>, tensor<64x8xf32>
}

// -----

shard.grid @ep(shape = 4)
func.func @experts(%x: tensor<16x8xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<16x8xf32> {
  // expected-note @+1 {{the dispatch is here}}
  %recv, %ri, %rw, %src, %to, %from, %row = moe.dispatch %x, %idx, %w on @ep
      {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-error @+1 {{'moe.combine' op expects 'num_experts' (16) to be that of the dispatch of 'send_row' (8)}}
  %out = moe.combine %recv, %row, %src, %from on @ep {num_experts = 16 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}

// -----

shard.grid @ep(shape = 4)
func.func @layout(%x: tensor<16x8xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<16x8xf32> {
  // expected-note @+1 {{the dispatch is here}}
  %recv, %ri, %rw, %src, %to, %from, %row = moe.dispatch %x, %idx, %w on @ep
      {num_experts = 8 : i64, layout = #moe.layout<slab>}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-error @+1 {{'moe.combine' op expects 'layout' (rank_major) to be that of the dispatch of 'send_row' (slab)}}
  %out = moe.combine %recv, %row, %src, %from on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}

// -----

shard.grid @ep(shape = 4)
shard.grid @other(shape = 4)
func.func @grid_of_reuse(%x: tensor<16x8xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<64x8xf32> {
  // expected-note @+1 {{the dispatch is here}}
  %recv, %ri, %rw, %src, %to, %from, %row = moe.dispatch %x, %idx, %w on @ep
      {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-error @+1 {{'moe.dispatch' op expects the grid (other) to be that of the dispatch of 'send_row' (ep)}}
  %again = moe.dispatch %x reuse(%row) on @other {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x4xi32>) -> (tensor<64x8xf32>)
  return %again : tensor<64x8xf32>
}

// -----

shard.grid @ep(shape = 4)
func.func @bound(%x: tensor<?x8xf32>, %idx: tensor<?x2xi32>,
    %w: tensor<?x2xf32>) -> tensor<?x8xf32> {
  // expected-note @+1 {{the dispatch is here}}
  %recv, %ri, %rw, %src, %to, %from, %row = moe.dispatch %x, %idx, %w on @ep
      {num_experts = 8 : i64, max_tokens = 16 : i64}
    : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
  // expected-error @+1 {{'moe.combine' op expects the bound of T (32) to be that of the dispatch of 'send_row' (16)}}
  %out = moe.combine %recv, %row, %src, %from on @ep
      {num_experts = 8 : i64, max_tokens = 32 : i64}
    : (tensor<64x8xf32>, tensor<?x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<?x8xf32>
  return %out : tensor<?x8xf32>
}

// -----

// Anybody may have written a buffer.
shard.grid @ep(shape = 4)
func.func @buffers(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv: memref<64x8xf32>, %ri: memref<64x2xi32>,
    %rw: memref<64x2xf32>, %src: memref<64xi32>, %to: memref<4xi32>,
    %from: memref<4xi32>, %row: memref<16x4xi32>, %out: memref<16x8xf32>) {
  moe.combine %recv, %row, %src, %from outs(%out) on @ep
      {num_experts = 4 : i64}
    : (memref<64x8xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x8xf32>) -> ()
  moe.dispatch %x, %idx, %w
      outs(%recv, %ri, %rw, %src, %to, %from, %row) on @ep
      {num_experts = 8 : i64}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>, memref<64x8xf32>,
       memref<64x2xi32>, memref<64x2xf32>, memref<64xi32>, memref<4xi32>,
       memref<4xi32>, memref<16x4xi32>) -> ()
  return
}
