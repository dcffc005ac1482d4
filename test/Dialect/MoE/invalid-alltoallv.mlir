// Malformed moe.alltoallv.
//
// RUN: moe-opt %s -split-input-file -verify-diagnostics

// types_c1
shard.grid @ep(shape = 4)
func.func @types_c1_send_f64(%send: tensor<16x4xf64>, %counts: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op operand #0 must be tensor or memref of rank 1 to 8 of f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32 or i64 values, but got 'tensor<16x4xf64>'}}
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<16x4xf64>, tensor<4xi32>)
   -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}

// -----

// types_c1
shard.grid @ep(shape = 4)
func.func @types_c1_send_counts_i64(%send: tensor<16x4xf32>,
    %counts: tensor<4xi64>) {
  // expected-error @+1 {{'moe.alltoallv' op operand #1 must be rank-1 tensor or memref of 32-bit signless integer values, but got 'tensor<4xi64>'}}
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<16x4xf32>, tensor<4xi64>)
   -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}

// -----

// alltoallv_c1
shard.grid @ep(shape = 4)
func.func @alltoallv_c1_send_rank_0(%send: tensor<f32>,
    %counts: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op operand #0 must be tensor or memref of rank 1 to 8 of f32, f16, bf16, f8E4M3FN, f8E5M2, i8, i32 or i64 values, but got 'tensor<f32>'}}
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<f32>, tensor<4xi32>)
   -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}

// -----

// alltoallv_c1
shard.grid @ep(shape = 4)
func.func @alltoallv_c1_send_dynamic_row(%send: tensor<16x?xf32>,
    %counts: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects 'send' (16x?) to have static dimensions below the leading one}}
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<16x?xf32>, tensor<4xi32>)
   -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}

// -----

// alltoallv_c1
shard.grid @ep(shape = 4)
func.func @alltoallv_c1_recv_dynamic(%send: tensor<16x4xf32>,
    %counts: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects 'recv' ('tensor<?x4xf32>') to have a static C}}
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<16x4xf32>, tensor<4xi32>)
   -> (tensor<?x4xf32>, tensor<4xi32>)
  return
}

// -----

// alltoallv_c1
shard.grid @ep(shape = 4)
func.func @alltoallv_c1_recv_row(%send: tensor<16x4xf32>,
    %counts: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects 'recv' ('tensor<64x5xf32>') to be 64x4 of 'f32'}}
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<16x4xf32>, tensor<4xi32>)
   -> (tensor<64x5xf32>, tensor<4xi32>)
  return
}

// -----

// alltoallv_c1
shard.grid @ep(shape = 4)
func.func @alltoallv_c1_recv_rank(%send: tensor<16x4xf32>,
    %counts: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects 'recv' ('tensor<64xf32>') to be 64x4 of 'f32'}}
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<16x4xf32>, tensor<4xi32>)
   -> (tensor<64xf32>, tensor<4xi32>)
  return
}

// -----

// alltoallv_c1
shard.grid @ep(shape = 4)
func.func @alltoallv_c1_recv_element_type(%send: tensor<16x4xf32>,
    %counts: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects 'recv' ('tensor<64x4xf16>') to be 64x4 of 'f32'}}
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<16x4xf32>, tensor<4xi32>)
   -> (tensor<64x4xf16>, tensor<4xi32>)
  return
}

// -----

// alltoallv_c1
shard.grid @ep(shape = 4)
func.func @alltoallv_c1_outs_recv_row(%send: memref<16x4xf32>,
    %counts: memref<4xi32>, %recv: memref<64x5xf32>,
    %recv_counts: memref<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects 'recv' ('memref<64x5xf32>') to be 64x4 of 'f32'}}
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
    : (memref<16x4xf32>, memref<4xi32>, memref<64x5xf32>, memref<4xi32>)
   -> ()
  return
}

// -----

// alltoallv_c2
shard.grid @ep(shape = 4)
func.func @alltoallv_c2_send_counts(%send: tensor<16x4xf32>,
    %counts: tensor<3xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects 'send_counts' (3) to have one element per rank (4)}}
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<16x4xf32>, tensor<3xi32>)
   -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}

// -----

// alltoallv_c2
shard.grid @ep(shape = 4)
func.func @alltoallv_c2_send_counts_dynamic(%send: tensor<16x4xf32>,
    %counts: tensor<?xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects 'send_counts' (?) to have one element per rank (4)}}
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<16x4xf32>, tensor<?xi32>)
   -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}

// -----

// alltoallv_c2
shard.grid @ep(shape = 4)
func.func @alltoallv_c2_send_counts_rank_2(%send: tensor<16x4xf32>,
    %counts: tensor<4x1xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op operand #1 must be rank-1 tensor or memref of 32-bit signless integer values, but got 'tensor<4x1xi32>'}}
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<16x4xf32>, tensor<4x1xi32>)
   -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}

// -----

// alltoallv_c2
shard.grid @ep(shape = 4)
func.func @alltoallv_c2_recv_counts(%send: tensor<16x4xf32>,
    %counts: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects 'recv_counts' ('tensor<5xi32>') to be 4 of 'i32'}}
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<16x4xf32>, tensor<4xi32>)
   -> (tensor<64x4xf32>, tensor<5xi32>)
  return
}

// -----

// alltoallv_c2
shard.grid @ep(shape = 4)
func.func @alltoallv_c2_recv_counts_element_type(%send: tensor<16x4xf32>,
    %counts: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects 'recv_counts' ('tensor<4xi64>') to be 4 of 'i32'}}
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<16x4xf32>, tensor<4xi32>)
   -> (tensor<64x4xf32>, tensor<4xi64>)
  return
}

// -----

// alltoallv_c3
shard.grid @ep(shape = 4)
func.func @alltoallv_c3_one_result(%send: tensor<16x4xf32>,
    %counts: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects 2 results (1)}}
  %r = moe.alltoallv %send, %counts on @ep
    : (tensor<16x4xf32>, tensor<4xi32>)
   -> (tensor<64x4xf32>)
  return
}

// -----

// alltoallv_c3
shard.grid @ep(shape = 4)
func.func @alltoallv_c3_no_output(%send: tensor<16x4xf32>,
    %counts: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects results (tensor form) or 'outs' (memref form)}}
  moe.alltoallv %send, %counts on @ep
    : (tensor<16x4xf32>, tensor<4xi32>)
   -> ()
  return
}

// -----

// alltoallv_c3
shard.grid @ep(shape = 4)
func.func @alltoallv_c3_one_out(%send: memref<16x4xf32>, %counts: memref<4xi32>,
    %recv: memref<64x4xf32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects 2 outs (1)}}
  moe.alltoallv %send, %counts outs(%recv) on @ep
    : (memref<16x4xf32>, memref<4xi32>, memref<64x4xf32>)
   -> ()
  return
}

// -----

// alltoallv_c3
shard.grid @ep(shape = 4)
func.func @alltoallv_c3_memref_with_results(%send: memref<16x4xf32>,
    %counts: tensor<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects tensor operands in its tensor form (operand #0 is 'memref<16x4xf32>')}}
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (memref<16x4xf32>, tensor<4xi32>)
   -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}

// -----

// alltoallv_c3
shard.grid @ep(shape = 4)
func.func @alltoallv_c3_memref_counts_with_results(%send: tensor<16x4xf32>,
    %counts: memref<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects tensor operands in its tensor form (operand #1 is 'memref<4xi32>')}}
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<16x4xf32>, memref<4xi32>)
   -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}

// -----

// alltoallv_c3
shard.grid @ep(shape = 4)
func.func @alltoallv_c3_tensor_with_outs(%send: memref<16x4xf32>,
    %counts: tensor<4xi32>, %recv: memref<64x4xf32>,
    %recv_counts: memref<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects memref operands in its memref form (operand #1 is 'tensor<4xi32>')}}
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
    : (memref<16x4xf32>, tensor<4xi32>, memref<64x4xf32>, memref<4xi32>)
   -> ()
  return
}

// -----

// alltoallv_c3
shard.grid @ep(shape = 4)
func.func @alltoallv_c3_results_and_outs(%send: memref<16x4xf32>,
    %counts: memref<4xi32>, %recv: memref<64x4xf32>,
    %recv_counts: memref<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects results or 'outs', not both (results: 2, outs: 2)}}
  %r:2 = moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
    : (memref<16x4xf32>, memref<4xi32>, memref<64x4xf32>, memref<4xi32>)
   -> (tensor<64x4xf32>, tensor<4xi32>)
  return
}
