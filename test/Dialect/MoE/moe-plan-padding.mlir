// A dispatch that fills rows has blocks for them too, however few tokens it has.
//
// RUN: moe-opt %s --moe-plan=target=cuda | FileCheck %s

shard.grid @ep(shape = 4)

// Sixteen subgroups of a block share a token of few bytes.
// CHECK-LABEL: func.func @none
// CHECK: kernel = #moe.kernel<blocks = 4, team = 16>
func.func @none(%x: tensor<4x64xbf16>, %rows: tensor<4x4xi32>)
    -> tensor<1600x64xbf16> {
  %r = moe.dispatch %x reuse(%rows) on @ep {num_experts = 8 : i64,
      capacity = 1600 : i64}
    : (tensor<4x64xbf16>, tensor<4x4xi32>) -> tensor<1600x64xbf16>
  return %r : tensor<1600x64xbf16>
}

// A row for each subgroup of 100 blocks.
// CHECK-LABEL: func.func @zero
// CHECK: kernel = #moe.kernel<blocks = 100, team = 16>
func.func @zero(%x: tensor<4x64xbf16>, %rows: tensor<4x4xi32>)
    -> tensor<1600x64xbf16> {
  %r = moe.dispatch %x reuse(%rows) on @ep {num_experts = 8 : i64,
      capacity = 1600 : i64, padding = #moe.padding<zero>}
    : (tensor<4x64xbf16>, tensor<4x4xi32>) -> tensor<1600x64xbf16>
  return %r : tensor<1600x64xbf16>
}

// No more blocks than run at once.
// CHECK-LABEL: func.func @many
// CHECK: kernel = #moe.kernel<team = 16>
func.func @many(%x: tensor<4x64xbf16>, %rows: tensor<4x4xi32>)
    -> tensor<160000x64xbf16> {
  %r = moe.dispatch %x reuse(%rows) on @ep {num_experts = 8 : i64,
      capacity = 160000 : i64, padding = #moe.padding<zero>}
    : (tensor<4x64xbf16>, tensor<4x4xi32>) -> tensor<160000x64xbf16>
  return %r : tensor<160000x64xbf16>
}
