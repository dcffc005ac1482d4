// RUN: moe-opt %s -split-input-file -verify-diagnostics --moe-to-host

// What has no lowering is named, where it stands.
func.func @leftover() -> tensor<1xi32> {
  // expected-error @+1 {{'gpu.block_id' op expects to be among the ops that an entry may contain (docs/Entries.md)}}
  %0 = gpu.block_id x
  %1 = arith.index_cast %0 : index to i32
  %2 = tensor.from_elements %1 : tensor<1xi32>
  return %2 : tensor<1xi32>
}

// -----

// expected-error @+1 {{'func.func' op expects argument 0 of an entry to be a ranked tensor without encoding ('f32')}}
func.func @scalar(%x: f32) {
  return
}

// -----

// Ops are compared with the dispatch of their rows, also one in a function that they call.
shard.grid @ep(shape = 2)
func.func private @send(%x: tensor<4x8xf32>, %idx: tensor<4x1xi32>,
    %w: tensor<4x1xf32>)
    -> (tensor<8x8xf32>, tensor<8xi32>, tensor<2xi32>, tensor<4x2xi32>) {
  // expected-note @+1 {{the dispatch is here}}
  %recv, %ri, %rw, %src, %to, %from, %row = moe.dispatch %x, %idx, %w on @ep
      {num_experts = 4 : i64}
    : (tensor<4x8xf32>, tensor<4x1xi32>, tensor<4x1xf32>)
   -> (tensor<8x8xf32>, tensor<8x1xi32>, tensor<8x1xf32>, tensor<8xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<4x2xi32>)
  return %recv, %src, %from, %row
    : tensor<8x8xf32>, tensor<8xi32>, tensor<2xi32>, tensor<4x2xi32>
}
func.func @other_experts(%x: tensor<4x8xf32>, %idx: tensor<4x1xi32>,
    %w: tensor<4x1xf32>) -> tensor<4x8xf32> {
  %recv, %src, %from, %row = func.call @send(%x, %idx, %w)
    : (tensor<4x8xf32>, tensor<4x1xi32>, tensor<4x1xf32>)
   -> (tensor<8x8xf32>, tensor<8xi32>, tensor<2xi32>, tensor<4x2xi32>)
  // expected-error @+1 {{'moe.combine' op expects 'num_experts' (2) to be that of the dispatch of 'send_row' (4)}}
  %out = moe.combine %recv, %row, %src, %from on @ep {num_experts = 2 : i64}
    : (tensor<8x8xf32>, tensor<4x2xi32>, tensor<8xi32>, tensor<2xi32>)
   -> tensor<4x8xf32>
  return %out : tensor<4x8xf32>
}
