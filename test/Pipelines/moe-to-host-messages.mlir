// transport=messages: the same modules, without symmetric memory.
//
// RUN: moe-opt %s --moe-to-host=transport=messages | FileCheck %s
// RUN: moe-opt %s --moe-to-host=transport=messages --mlir-print-op-generic | FileCheck %s --check-prefix=NOTHING
// RUN: not moe-opt %s --moe-to-host=transport=pigeons 2>&1 | FileCheck %s --check-prefix=PIGEONS

// Nothing but the LLVM dialect is left, and nothing that reaches into the memory
// of another rank.
// NOTHING-NOT: "{{moe|coll|symm|memref|bufferization}}.{{[a-z_.]+}}"(
// NOTHING-NOT: unrealized_conversion_cast
// NOTHING-NOT: moert_symm
// NOTHING-NOT: moert_wait

// CHECK-DAG: llvm.func @moert_collective_begin(!llvm.ptr, !llvm.ptr, i64)
// CHECK-DAG: llvm.func @moert_all_gather(
// CHECK-DAG: llvm.func @moert_all_to_all(
// CHECK-DAG: llvm.func @moert_exchange_begin(
// CHECK-DAG: llvm.func @moert_exchange_rows(
// CHECK-DAG: llvm.func @moert_exchange_end(
// CHECK-LABEL: llvm.func @moe_entry_roundtrip(
// symmetric_s3: nothing is marked symmetric.
// CHECK: @moe_artifact_manifest({{.*}}\22ranks\22:4,\22symm_bytes\22:0,\22transport\22:\22messages\22
// CHECK-NOT: symmetric

// PIGEONS: error: moe-prepare-entries expects 'transport' to be direct or messages (pigeons)
shard.grid @ep(shape = 4)
func.func @roundtrip(%x: tensor<?x64xbf16>, %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>)
    -> (tensor<?x64xbf16>, tensor<512x64xbf16> {moe.symmetric}) {
  %recv_x, %recv_idx, %recv_w, %recv_src, %n_to, %n_from, %send_row =
    moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64, max_tokens = 128 : i64}
      : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>)
     -> (tensor<512x64xbf16>, tensor<512x2xi32>, tensor<512x2xf32>,
         tensor<512xi32>, tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
  %out = moe.combine %recv_x, %send_row, %recv_src, %n_from on @ep
      {num_experts = 8 : i64, max_tokens = 128 : i64}
      : (tensor<512x64xbf16>, tensor<?x4xi32>, tensor<512xi32>,
         tensor<4xi32>) -> tensor<?x64xbf16>
  return %out, %recv_x : tensor<?x64xbf16>, tensor<512x64xbf16>
}
func.func @combine(%y: tensor<512x64xbf16> {moe.symmetric},
                   %src: tensor<512xi32>, %n_from: tensor<4xi32>,
                   %send_row: tensor<128x4xi32>) -> tensor<128x64xbf16> {
  %out = moe.combine %y, %send_row, %src, %n_from on @ep
      {num_experts = 8 : i64, defer_release}
      : (tensor<512x64xbf16>, tensor<128x4xi32>, tensor<512xi32>,
         tensor<4xi32>) -> tensor<128x64xbf16>
  return %out : tensor<128x64xbf16>
}
