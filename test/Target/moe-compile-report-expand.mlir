// What a dispatch that expands moves between ranks, at most: of 16 tokens the row of 128
// bytes once, 12 bytes that go with each of 4 rows, and twice, since two subgroups share
// a row, a list of 4 rows and a word. 16 * (128 + 4 * 12 + 2 * (4 * 4 + 8)) bytes.
//
// RUN: moe-compile %s --target cuda --emit=symm --report 2>&1 >/dev/null | FileCheck %s --check-prefix=DIRECT
// RUN: moe-compile %s --target cuda --emit=symm --report --dispatch-algorithm=expand 2>&1 >/dev/null | FileCheck %s --check-prefix=EXPAND
// RUN: moe-compile %s --emit=symm --report --dispatch-algorithm=expand 2>&1 >/dev/null | FileCheck %s --check-prefix=DIRECT
//
// DIRECT: moe.dispatch {{.*}} 128 140 {{[0-9]+}} 8960
// EXPAND: moe.dispatch {{.*}} 128 140 {{[0-9]+}} 3584 2 x 64 stores, team 2
shard.grid @ep(shape = 2)
func.func @send(%x: tensor<16x64xbf16>, %idx: tensor<16x4xi32>, %w: tensor<16x4xf32>)
    -> tensor<128x64xbf16> {
  %r:9 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>,
      kernel = #moe.kernel<blocks = 2, threads = 64, team = 2>}
    : (tensor<16x64xbf16>, tensor<16x4xi32>, tensor<16x4xf32>)
   -> (tensor<128x64xbf16>, tensor<128xi32>, tensor<128xf32>, tensor<128xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<16x4xi32>, tensor<4xi32>,
       tensor<4xi32>)
  return %r#0 : tensor<128x64xbf16>
}
