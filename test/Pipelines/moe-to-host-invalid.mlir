// RUN: moe-opt %s -split-input-file -verify-diagnostics --moe-to-host

// What has no lowering is named, where it stands.
func.func @leftover() -> tensor<1xi32> {
  // expected-error @+1 {{'gpu.block_id' op has no lowering to the LLVM dialect}}
  %0 = gpu.block_id x
  // expected-error @+1 {{'builtin.unrealized_conversion_cast' op has no lowering to the LLVM dialect}}
  %1 = arith.index_cast %0 : index to i32
  %2 = tensor.from_elements %1 : tensor<1xi32>
  return %2 : tensor<1xi32>
}

// -----

// expected-error @+1 {{'func.func' op expects argument 0 of an entry to be a ranked tensor without encoding ('f32')}}
func.func @scalar(%x: f32) {
  return
}
