// RUN: moe-opt %s --moe-to-host | FileCheck %s
// RUN: moe-opt %s --moe-to-host="cpu=x86-64-v4" | FileCheck %s --check-prefix=V4
// RUN: moe-opt %s --moe-to-host="combine-algorithm=push" | FileCheck %s --check-prefix=PUSH
// RUN: moe-opt %s --moe-to-host --mlir-print-op-generic | FileCheck %s --check-prefix=NOTHING

// Nothing but the LLVM dialect is left.
// NOTHING-NOT: "moe.{{[a-z_.]+}}"(
// NOTHING-NOT: "symm.{{[a-z_.]+}}"(
// NOTHING-NOT: "memref.{{[a-z_.]+}}"(
// NOTHING-NOT: "bufferization.{{[a-z_.]+}}"(
// NOTHING-NOT: unrealized_conversion_cast
// NOTHING-NOT: _mlir_memref_to_llvm

// CHECK-NOT: #symm.space
// CHECK-DAG: llvm.func @moert_collective_begin(!llvm.ptr, !llvm.ptr, i64)
// CHECK-DAG: @local.moe_str_{{.*}}("moe.dispatch\00")
// CHECK-DAG: @local.moe_str_{{.*}}("moe-to-host.mlir:{{[0-9]+}}:5\00")
// CHECK-DAG: @local.moe_str_{{.*}}("expert id\00")
// CHECK-DAG: llvm.func internal @local.roundtrip(
// CHECK-LABEL: llvm.func @moe_entry_roundtrip(
// CHECK: llvm.call @local.roundtrip(
// CHECK: @moe_artifact_manifest({{.*}}\22cpu\22:\22x86-64-v3\22{{.*}}\22ranks\22:4{{.*}}moe.dispatch{{.*}}moe.combine

// V4: @moe_artifact_manifest({{.*}}\22cpu\22:\22x86-64-v4\22

// The combine that pushes has a phase that the one that pulls has not.
// PUSH: ("moe.combine\00")
// PUSH-NOT: ("release\00")
shard.grid @ep(shape = 4)
func.func @roundtrip(%x: tensor<?x64xbf16>, %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>) -> tensor<?x64xbf16> {
  %recv_x, %recv_idx, %recv_w, %recv_src, %n_to, %n_from, %send_row =
    moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64, max_tokens = 128 : i64}
      : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>)
     -> (tensor<512x64xbf16>, tensor<512x2xi32>, tensor<512x2xf32>,
         tensor<512xi32>, tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
  %out = moe.combine %recv_x, %send_row, %recv_src, %n_from on @ep
      {num_experts = 8 : i64, max_tokens = 128 : i64}
      : (tensor<512x64xbf16>, tensor<?x4xi32>, tensor<512xi32>,
         tensor<4xi32>) -> tensor<?x64xbf16>
  return %out : tensor<?x64xbf16>
}
