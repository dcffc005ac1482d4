// Groups of ranks that no op takes.
//
// RUN: moe-opt %s -split-input-file -verify-diagnostics

// group_c1
shard.grid @ep(shape = 4)
func.func @group_c1_no_symbol(%s: tensor<16x4xf32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects @nowhere to name a 'shard.grid'}}
  %r:2 = moe.alltoallv %s, %n on @nowhere
    : (tensor<16x4xf32>, tensor<4xi32>) -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}

// -----

// group_c1
func.func @group_c1_not_a_grid(%s: tensor<16x4xf32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects @group_c1_not_a_grid to name a 'shard.grid'}}
  %r:2 = moe.alltoallv %s, %n on @group_c1_not_a_grid
    : (tensor<16x4xf32>, tensor<4xi32>) -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}

// -----

// group_c1: a grid of another module is not visible
module @other {
  shard.grid @inner(shape = 4)
}
func.func @group_c1_not_visible(%s: tensor<16x4xf32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects @inner to name a 'shard.grid'}}
  %r:2 = moe.alltoallv %s, %n on @inner
    : (tensor<16x4xf32>, tensor<4xi32>) -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}

// -----

// group_c1
shard.grid @ep(shape = 4)
func.func @group_c1_dispatch(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects @nowhere to name a 'shard.grid'}}
  %r:7 = moe.dispatch %x, %idx, %w on @nowhere {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// group_c1
shard.grid @ep(shape = 4)
func.func @group_c1_combine(%y: tensor<64x4xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects @nowhere to name a 'shard.grid'}}
  %out = moe.combine %y, %rows, %src, %n on @nowhere {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// group_c2
// expected-note @+1 {{the grid is defined here}}
shard.grid @ep(shape = 2x2)
func.func @group_c2_two_dimensions(%s: tensor<16x4xf32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects @ep to have one static dimension of at least 1 (2x2)}}
  %r:2 = moe.alltoallv %s, %n on @ep
    : (tensor<16x4xf32>, tensor<4xi32>) -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}

// -----

// group_c2
// expected-note @+1 {{the grid is defined here}}
shard.grid @ep(shape = ?)
func.func @group_c2_dynamic(%s: tensor<16x4xf32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects @ep to have one static dimension of at least 1 (?)}}
  %r:2 = moe.alltoallv %s, %n on @ep
    : (tensor<16x4xf32>, tensor<4xi32>) -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}

// -----

// group_c2
// expected-note @+1 {{the grid is defined here}}
shard.grid @ep(shape = 0)
func.func @group_c2_no_rank(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects @ep to have one static dimension of at least 1 (0)}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// group_c2
// expected-note @+1 {{the grid is defined here}}
shard.grid @ep(shape = 4x1)
func.func @group_c2_combine(%y: tensor<64x4xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects @ep to have one static dimension of at least 1 (4x1)}}
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> (tensor<16x4xf32>)
  return
}

// -----

// group_c2: as many ranks as an artifact may be for
shard.grid @ep(shape = 65536)
func.func @group_c2_most_ranks(%s: tensor<16x4xf32>, %n: tensor<65536xi32>) {
  %r:2 = moe.alltoallv %s, %n on @ep
    : (tensor<16x4xf32>, tensor<65536xi32>)
   -> (tensor<64x4xf32>, tensor<65536xi32>)
  return
}

// -----

// group_c2
// expected-note @+1 {{the grid is defined here}}
shard.grid @ep(shape = 65537)
func.func @group_c2_too_many_ranks(%s: tensor<16x4xf32>,
    %n: tensor<65537xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects @ep to have at most 65536 ranks (65537)}}
  %r:2 = moe.alltoallv %s, %n on @ep
    : (tensor<16x4xf32>, tensor<65537xi32>)
   -> (tensor<64x4xf32>, tensor<65537xi32>)
  return
}
