// The loads of all rows of a token follow one another without a branch: one in a branch of
// its own would be waited for at the end of it, and each costs the latency of a link.
//
// RUN: moe-compile %s --target cuda --emit=ptx --transfer=stores | FileCheck %s
// RUN: moe-compile %s --target cuda:sm_80 --emit=ptx | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: .entry combine_kernel(
// CHECK: ld.global.v4.b32
// CHECK-NOT: {{bra|bar.sync}}
// CHECK: ld.global.v4.b32
// CHECK-NOT: {{bra|bar.sync}}
// CHECK: ld.global.v4.b32
// CHECK-NOT: {{bra|bar.sync}}
// CHECK: ld.global.v4.b32
// CHECK: st.global.v4.b32
func.func @combine(%y: tensor<256x512xbf16> {moe.symmetric}, %row: tensor<16x4xi32>,
    %src: tensor<256xi32>, %from: tensor<4xi32>, %idx: tensor<16x4xi32>,
    %w: tensor<256xf32> {moe.symmetric}) -> tensor<16x512xbf16> {
  %out = moe.combine %y, %row, %src, %from topk(%idx) weights(%w) on @ep
      {layout = #moe.layout<expert_major>, num_experts = 16 : i64}
    : (tensor<256x512xbf16>, tensor<16x4xi32>, tensor<256xi32>, tensor<4xi32>,
       tensor<16x4xi32>, tensor<256xf32>) -> tensor<16x512xbf16>
  return %out : tensor<16x512xbf16>
}
