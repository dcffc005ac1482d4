// What `keep_blocks` and `blocks` may be: dispatch_c16, dispatch_c17, combine_c12.
//
// RUN: moe-opt %s -split-input-file -verify-diagnostics

shard.grid @ep(shape = 4)

// dispatch_c16
func.func @kept_by_reuse(%x: tensor<16x4xf32>, %rows: tensor<16x4xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects no 'keep_blocks' with 'reuse'; the blocks are those of the dispatch whose routes it takes}}
  %0 = moe.dispatch %x reuse(%rows) on @ep {keep_blocks, num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x4xi32>) -> tensor<64x4xf32>
  return
}

// -----

shard.grid @ep(shape = 4)

// dispatch_c17
func.func @without_reuse(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>, %b: tensor<2x4x1x2xi32>, %n: tensor<4x4xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'blocks' with 'reuse' only}}
  %r:7 = moe.dispatch %x, %idx, %w blocks(%b, %n) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>,
       tensor<2x4x1x2xi32>, tensor<4x4xi32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// -----

shard.grid @ep(shape = 4)

// dispatch_c17
func.func @parts(%x: tensor<16x4xf32>, %rows: tensor<16x4xi32>,
    %b: tensor<2x4x2x2xi32>, %n: tensor<4x4xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'peer_blocks' (2x4x2x2) to be 2x4x1x2}}
  %0 = moe.dispatch %x reuse(%rows) blocks(%b, %n) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x4xi32>, tensor<2x4x2x2xi32>, tensor<4x4xi32>)
   -> tensor<64x4xf32>
  return
}

// -----

shard.grid @ep(shape = 4)

// dispatch_c17
func.func @one_alone(%x: tensor<16x4xf32>, %rows: tensor<16x4xi32>,
    %b: tensor<2x4x1x2xi32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'blocks' to be (peer_blocks, peer_rows), both of the same dispatch}}
  %0 = "moe.dispatch"(%x, %rows, %b) <{grid = @ep, num_experts = 8 : i64,
      operandSegmentSizes = array<i32: 1, 0, 0, 0, 1, 1, 0, 0>}>
    : (tensor<16x4xf32>, tensor<16x4xi32>, tensor<2x4x1x2xi32>)
   -> tensor<64x4xf32>
  return
}

// -----

shard.grid @ep(shape = 4)

// combine_c12
func.func @rows_of_ranks(%y: tensor<64x8xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %from: tensor<4xi32>, %b: tensor<2x4x1x2xi32>,
    %n: tensor<4x8xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'peer_rows' (4x8) to be 4x4}}
  %0 = moe.combine %y, %rows, %src, %from blocks(%b, %n) on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<2x4x1x2xi32>, tensor<4x8xi32>) -> tensor<16x8xf32>
  return
}

// -----

shard.grid @ep(shape = 4)

// combine_c12
func.func @parts_of_combine(%y: tensor<64x8xf32>, %rows: tensor<16x2xi32>,
    %src: tensor<64xi32>, %from: tensor<4xi32>, %idx: tensor<16x2xi32>,
    %b: tensor<2x4x1x2xi32>, %n: tensor<4x4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'peer_blocks' (2x4x1x2) to be 2x4x2x2}}
  %0 = moe.combine %y, %rows, %src, %from topk(%idx) blocks(%b, %n) on @ep
      {num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (tensor<64x8xf32>, tensor<16x2xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x2xi32>, tensor<2x4x1x2xi32>, tensor<4x4xi32>)
   -> tensor<16x8xf32>
  return
}

// -----

shard.grid @ep(shape = 4)

// dispatch_c9
func.func @shape_of_result(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects 'peer_rows' ('tensor<4xi32>') to be 4x4 of 'i32'}}
  %r:9 = moe.dispatch %x, %idx, %w on @ep {keep_blocks, num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2x4x1x2xi32>,
       tensor<4xi32>)
  return
}

// -----

// host_c1
// expected-error @+1 {{'func.func' op expects 'moe.host' on argument 0 of a public 'func.func' only}}
func.func private @private(%x: tensor<4x4xi32> {moe.host}) {
  return
}

// -----

// host_c1
// expected-error @+1 {{'func.func' op expects 'moe.host' on argument 0 to be of a ranked tensor or memref of static shape ('tensor<?x4xi32>')}}
func.func @dynamic(%x: tensor<?x4xi32> {moe.host}) {
  return
}

// -----

// host_c1
// expected-error @+1 {{on argument 0 without the other of 'moe.symmetric' and 'moe.host'}}
func.func @both(%x: tensor<4x4xi32> {moe.host, moe.symmetric}) {
  return
}
