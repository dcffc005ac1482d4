// What padding and rows without their sum add to what is moved and held.
//
// RUN: moe-compile %s --report | FileCheck %s

// A rank fills its own rows: a dispatch moves what it moves without padding, 64 bf16, 2 ids,
// 2 weights and 1 source, a token to at most 2 other ranks.
// CHECK: moe.dispatch moe-compile-report-padding.mlir:{{[0-9]+}}:5 512 148 {{[1-9][0-9]+}} 37888
// With `reuse` the number of the run goes beside a row, and is held for each: 64 bf16 and 8
// bytes, to each of 3 other ranks: 128 * 3 * 136 bytes.
// CHECK-NEXT: moe.dispatch moe-compile-report-padding.mlir:{{[0-9]+}}:12 512 136 {{[1-9][0-9]+}} 52224
// The rows of a combine are the same with and without their sum.
// CHECK-NEXT: moe.combine moe-compile-report-padding.mlir:{{[0-9]+}}:11 512 128 {{[1-9][0-9]+}} 49152
shard.grid @ep(shape = 4)
func.func @backward(%x: tensor<?x64xbf16>, %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>)
    -> (tensor<512x64xbf16>, tensor<512x64xbf16>, tensor<?x4x64xbf16>) {
  %recv_x, %recv_idx, %recv_w, %recv_src, %n_to, %n_from, %send_row =
    moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64, max_tokens = 128 : i64,
        padding = #moe.padding<zero>}
      : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>)
     -> (tensor<512x64xbf16>, tensor<512x2xi32>, tensor<512x2xf32>,
         tensor<512xi32>, tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
  %again = moe.dispatch %x reuse(%send_row) on @ep
      {num_experts = 8 : i64, max_tokens = 128 : i64, padding = #moe.padding<zero>}
      : (tensor<?x64xbf16>, tensor<?x4xi32>) -> tensor<512x64xbf16>
  %rows = moe.combine %recv_x, %send_row, %recv_src, %n_from on @ep
      {num_experts = 8 : i64, max_tokens = 128 : i64, reduce = #moe.reduce<none>}
      : (tensor<512x64xbf16>, tensor<?x4xi32>, tensor<512xi32>,
         tensor<4xi32>) -> tensor<?x4x64xbf16>
  return %recv_x, %again, %rows
      : tensor<512x64xbf16>, tensor<512x64xbf16>, tensor<?x4x64xbf16>
}
