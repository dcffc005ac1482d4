// RUN: moe-opt %s --moe-to-cuda | FileCheck %s
// RUN: moe-opt %s --moe-to-cuda="chip=sm_80 ptx-version=78" | FileCheck %s --check-prefix=SM80
// RUN: moe-opt %s --moe-to-cuda=chip=sm_100 | FileCheck %s --check-prefix=SM100
// RUN: not moe-opt %s --moe-to-cuda="chip=sm_90 ptx-version=60" 2>&1 | FileCheck %s --check-prefix=PTX60

// The host code asks the runtime for what the kernel needs and launches it; it
// keeps to itself.
// CHECK: llvm.func internal @local.exchange
// CHECK: llvm.call @moert_collective_begin
// CHECK: llvm.call @moert_timeout_ns
// CHECK: llvm.call @moert_device_status
// CHECK: llvm.call @moert_launch(%{{.*}}) : (!llvm.ptr, i64, i64, i64, !llvm.ptr) -> ()
// CHECK: llvm.call @moert_collective_end
// CHECK-NOT: gpu.

// Kernels are text.
// CHECK: llvm.mlir.global external constant @moe_gpu_image("{{.*}}.target sm_90{{.*}}.entry exchange_kernel(

// CHECK: llvm.func @moe_entry_exchange(
// CHECK: @moe_artifact_manifest("{\22abi_version\22:5,{{.*}}\22target\22:\22cuda\22,\22cpu\22:\22x86-64-v3\22,\22gpu\22:{\22bytes\22:{{[1-9][0-9]+}},\22chip\22:\22sm_90\22,\22format\22:\22ptx\22},\22device_strings\22:[\22{{.*}}\22signal\22

// SM80: @moe_gpu_image("{{.*}}.version 7.8{{.*}}.target sm_80
// SM80: \22gpu\22:{\22bytes\22:{{[0-9]+}},\22chip\22:\22sm_80\22
// SM100: @moe_gpu_image("{{.*}}.version 8.6{{.*}}.target sm_100

// PTX60: error: unknown PTX version 6.0; expected 7.4 to 8.8
shard.grid @ep(shape = 2)
func.func @exchange(%send: tensor<10x4xf32>, %counts: tensor<2xi32>) -> tensor<20x4xf32> {
  %recv, %n = moe.alltoallv %send, %counts on @ep
      : (tensor<10x4xf32>, tensor<2xi32>) -> (tensor<20x4xf32>, tensor<2xi32>)
  return %recv : tensor<20x4xf32>
}
