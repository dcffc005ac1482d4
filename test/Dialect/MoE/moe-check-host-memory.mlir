// Where memory of the host is used, and where it comes from: host_c2, host_c3.
//
// RUN: moe-opt %s --moe-check-host-memory -split-input-file -verify-diagnostics

shard.grid @ep(shape = 4)

// What is allowed: across entries, and within one.
func.func @good(%y: tensor<64x8xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %from: tensor<4xi32>, %b: tensor<2x4x1x2xi32>,
    %n: tensor<4x4xi32> {moe.host}) -> tensor<16x8xf32> {
  %0 = moe.combine %y, %rows, %src, %from blocks(%b, %n) on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<2x4x1x2xi32>, tensor<4x4xi32>) -> tensor<16x8xf32>
  return %0 : tensor<16x8xf32>
}

// -----

shard.grid @ep(shape = 4)

// host_c3: memory of the device.
func.func @unmarked(%y: tensor<64x8xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %from: tensor<4xi32>, %b: tensor<2x4x1x2xi32>,
    %n: tensor<4x4xi32>) -> tensor<16x8xf32> {
  // expected-error @+1 {{'moe.combine' op expects 'peer_rows' to be that of a dispatch, or an argument of the entry that is marked 'moe.host'}}
  %0 = moe.combine %y, %rows, %src, %from blocks(%b, %n) on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<2x4x1x2xi32>, tensor<4x4xi32>) -> tensor<16x8xf32>
  return %0 : tensor<16x8xf32>
}

// -----

shard.grid @ep(shape = 4)

// host_c3: computed.
func.func @computed(%x: tensor<16x4xf32>, %rows: tensor<16x4xi32>,
    %b: tensor<2x4x1x2xi32>) -> tensor<64x4xf32> {
  %n = arith.constant dense<0> : tensor<4x4xi32>
  // expected-error @+1 {{'moe.dispatch' op expects 'peer_rows' to be that of a dispatch, or an argument of the entry that is marked 'moe.host'}}
  %0 = moe.dispatch %x reuse(%rows) blocks(%b, %n) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x4xi32>, tensor<2x4x1x2xi32>, tensor<4x4xi32>)
   -> tensor<64x4xf32>
  return %0 : tensor<64x4xf32>
}

// -----

// host_c2: a device would compute with it.
// expected-note @+1 {{the 'peer_rows' come from here}}
func.func @argument(%n: tensor<4x4xi32> {moe.host}) -> tensor<4x4xi32> {
  // expected-error @+1 {{'arith.addi' op expects no 'peer_rows' as operand #1; they lie in memory of the host, and are operands of 'blocks', or results of an entry that are marked 'moe.host'}}
  %0 = arith.addi %n, %n : tensor<4x4xi32>
  return %0 : tensor<4x4xi32>
}

// -----

shard.grid @ep(shape = 4)

// host_c2: a result has to be marked.
func.func @result(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<4x4xi32> {
  // expected-note @+1 {{the 'peer_rows' come from here}}
  %r:9 = moe.dispatch %x, %idx, %w on @ep {keep_blocks, num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2x4x1x2xi32>,
       tensor<4x4xi32>)
  // expected-error @+1 {{'func.return' op expects no 'peer_rows' as operand #0}}
  return %r#8 : tensor<4x4xi32>
}

// -----

shard.grid @ep(shape = 4)

// host_c2
func.func @twice(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>)
    -> (tensor<4x4xi32> {moe.host}, tensor<4x4xi32> {moe.host}) {
  // expected-error @+1 {{expects 'peer_rows' to be returned once (2)}}
  %r:9 = moe.dispatch %x, %idx, %w on @ep {keep_blocks, num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2x4x1x2xi32>,
       tensor<4x4xi32>)
  return %r#8, %r#8 : tensor<4x4xi32>, tensor<4x4xi32>
}

// -----

// host_c3
func.func @passed_on(%n: tensor<4x4xi32> {moe.host})
    -> (tensor<4x4xi32> {moe.host}) {
  // expected-error @+1 {{'func.return' op expects result 0, marked 'moe.host', to be 'peer_rows' of a dispatch}}
  return %n : tensor<4x4xi32>
}
