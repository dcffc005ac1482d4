// What a combine by expert moves that pushes: a sum from each of three other
// ranks, and two words to each for the rows that it may have.
//
// RUN: moe-compile %s --report | FileCheck %s
// RUN: moe-compile %s --transport=messages --report | FileCheck %s --check-prefix=MESSAGES

// 16 * (3 * 8 * 4 + 3 * 2 * 8), and with sums of f16 16 * (3 * 8 * 2 + 3 * 2 * 8).
// CHECK: op location rows row bytes symmetric bytes wire bytes
// CHECK-NEXT: moe.combine {{.*}} 64 20 {{[1-9][0-9]+}} 2304
// CHECK-NEXT: moe.combine {{.*}} 64 20 {{[1-9][0-9]+}} 1536
// Messages have three rows with their weights in either case.
// MESSAGES: op location rows row bytes table bytes wire bytes
// MESSAGES-NEXT: moe.combine {{.*}} 64 20 {{[1-9][0-9]+}} 960
// MESSAGES-NEXT: moe.combine {{.*}} 64 20 {{[1-9][0-9]+}} 960
shard.grid @ep(shape = 4)
func.func @exact(%y: tensor<64x8xf16>, %rows: tensor<16x3xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>, %idx: tensor<16x3xi32>,
    %w: tensor<64xf32>) -> tensor<16x8xf16> {
  %out = moe.combine %y, %rows, %src, %n topk(%idx) weights(%w) on @ep {
      algorithm = #moe.algorithm<push>, num_experts = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<64x8xf16>, tensor<16x3xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x3xi32>, tensor<64xf32>) -> tensor<16x8xf16>
  return %out : tensor<16x8xf16>
}
func.func @short(%y: tensor<64x8xf16>, %rows: tensor<16x3xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>, %idx: tensor<16x3xi32>,
    %w: tensor<64xf32>) -> tensor<16x8xf16> {
  %out = moe.combine %y, %rows, %src, %n topk(%idx) weights(%w) on @ep {
      algorithm = #moe.algorithm<push>, num_experts = 8 : i64,
      layout = #moe.layout<expert_major>, partials = #moe.partials<element>}
    : (tensor<64x8xf16>, tensor<16x3xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x3xi32>, tensor<64xf32>) -> tensor<16x8xf16>
  return %out : tensor<16x8xf16>
}
