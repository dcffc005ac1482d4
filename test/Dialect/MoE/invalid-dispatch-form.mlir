// Forms of moe.dispatch that are neither the tensor form nor the memref form, and
// row numbers that do not fit i32.
//
// RUN: moe-opt %s -split-input-file -verify-diagnostics

// dispatch_c10
shard.grid @ep(shape = 4)
func.func @dispatch_c10_no_outputs(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects results (tensor form) or 'outs' (memref form)}}
  moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> ()
  return
}

// -----

// dispatch_c10
shard.grid @ep(shape = 4)
func.func @dispatch_c10_memref_operands_with_results(%x: memref<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects tensor operands in its tensor form (operand #0 is 'memref<16x4xf32>')}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (memref<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c10
shard.grid @ep(shape = 4)
func.func @dispatch_c10_memref_weights_with_results(%x: tensor<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: memref<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects tensor operands in its tensor form (operand #2 is 'memref<16x2xf32>')}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, memref<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c10
shard.grid @ep(shape = 4)
func.func @dispatch_c10_tensor_operands_with_outs(%x: memref<16x4xf32>,
    %idx: tensor<16x2xi32>, %w: memref<16x2xf32>, %recv_x: memref<64x4xf32>,
    %recv_idx: memref<64x2xi32>, %recv_w: memref<64x2xf32>,
    %src: memref<64xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %send_row: memref<16x4xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects memref operands in its memref form (operand #1 is 'tensor<16x2xi32>')}}
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from, %send_row) on @ep {
      num_experts = 8 : i64}
    : (memref<16x4xf32>, tensor<16x2xi32>, memref<16x2xf32>, memref<64x4xf32>,
       memref<64x2xi32>, memref<64x2xf32>, memref<64xi32>, memref<4xi32>,
       memref<4xi32>, memref<16x4xi32>)
   -> ()
  return
}

// -----

// dispatch_c10
shard.grid @ep(shape = 4)
func.func @dispatch_c10_vector_with_outs(%x: memref<16x4xf32>,
    %rows: vector<16x4xi32>, %recv_x: memref<64x4xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects memref operands in its memref form (operand #1 is 'vector<16x4xi32>')}}
  moe.dispatch %x reuse(%rows) outs(%recv_x) on @ep {num_experts = 8 : i64}
    : (memref<16x4xf32>, vector<16x4xi32>, memref<64x4xf32>)
   -> ()
  return
}

// -----

// dispatch_c10
shard.grid @ep(shape = 4)
func.func @dispatch_c10_results_and_outs(%x: memref<16x4xf32>,
    %rows: memref<16x4xi32>, %recv_x: memref<64x4xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects results or 'outs', not both (results: 1, outs: 1)}}
  %r = moe.dispatch %x reuse(%rows) outs(%recv_x) on @ep {
      num_experts = 8 : i64}
    : (memref<16x4xf32>, memref<16x4xi32>, memref<64x4xf32>)
   -> tensor<64x4xf32>
  return
}

// -----

// dispatch_c10
shard.grid @ep(shape = 4)
func.func @dispatch_c10_tensor_outs(%x: memref<16x4xf32>,
    %rows: memref<16x4xi32>, %recv_x: tensor<64x4xf32>) {
  // expected-error @+1 {{'moe.dispatch' op operand #2 must be variadic of memref of any type values, but got 'tensor<64x4xf32>'}}
  moe.dispatch %x reuse(%rows) outs(%recv_x) on @ep {num_experts = 8 : i64}
    : (memref<16x4xf32>, memref<16x4xi32>, tensor<64x4xf32>) -> ()
  return
}

// -----

// dispatch_c12
shard.grid @ep(shape = 4)
func.func @dispatch_c12_rows_on_all_ranks(%x: tensor<?x4xf32>,
    %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects ranks (4) times tokens per rank (536870912) to be at most 2147483647}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      max_tokens = 536870912 : i64}
    : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
   -> (tensor<2147483648x4xf32>, tensor<2147483648x2xi32>,
       tensor<2147483648x2xf32>, tensor<2147483648xi32>, tensor<4xi32>,
       tensor<4xi32>, tensor<?x4xi32>)
  return
}

// -----

// dispatch_c12
shard.grid @ep(shape = 4)
func.func @dispatch_c12_no_overflow_in_64_bits(%x: tensor<?x4xf32>,
    %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects ranks (4) times tokens per rank (4611686018427387905) to be at most 2147483647}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      max_tokens = 4611686018427387905 : i64}
    : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
   -> (tensor<4x4xf32>, tensor<4x2xi32>, tensor<4x2xf32>, tensor<4xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
  return
}

// -----

// dispatch_c12
shard.grid @ep(shape = 4)
func.func @dispatch_c12_capacity(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects the capacity (2147483648) to be at most 2147483647}}
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      capacity = 2147483648 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<2147483648x4xf32>, tensor<2147483648x2xi32>,
       tensor<2147483648x2xf32>, tensor<2147483648xi32>, tensor<4xi32>,
       tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

// dispatch_c12: 4 ranks times 2^28 tokens times 2 experts
shard.grid @ep(shape = 4)
func.func @dispatch_c12_default_capacity(%x: tensor<?x4xf32>,
    %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects the capacity (2147483648) to be at most 2147483647}}
  %r:9 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>, max_tokens = 268435456 : i64}
    : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
   -> (tensor<2147483648x4xf32>, tensor<2147483648xi32>, tensor<2147483648xf32>,
       tensor<2147483648xi32>, tensor<4xi32>, tensor<4xi32>, tensor<?x2xi32>,
       tensor<2xi32>, tensor<2xi32>)
  return
}

// -----

// dispatch_c12: 4 ranks times 16 tokens times 2 experts, and 2 experts on each
// rank that are aligned to 2^30 rows.
shard.grid @ep(shape = 4)
func.func @dispatch_c12_aligned_groups(%x: tensor<16x4xf32>,
                                       %idx: tensor<16x2xi32>,
                                       %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects the aligned groups of 2 experts to have at most 2147483647 rows ('alignment' is 1073741824)}}
  %r:9 = moe.dispatch %x, %idx, %w on @ep {alignment = 1073741824 : i64, layout = #moe.layout<expert_major>, num_experts = 8 : i64} : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>) -> (tensor<128x4xf32>, tensor<128xi32>, tensor<128xf32>, tensor<128xi32>, tensor<4xi32>, tensor<4xi32>, tensor<16x2xi32>, tensor<2xi32>, tensor<2xi32>)
  return
}
