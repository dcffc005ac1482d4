// What becomes of a dispatch and a combine on a GPU: the instructions.
// RUN: moe-compile %s --target cuda --emit=ptx | FileCheck %s
// RUN: moe-compile %s --target cuda:sm_80 --emit=ptx | FileCheck %s --check-prefix=SM80
// RUN: moe-compile %s --target cuda --emit=mlir | FileCheck %s --check-prefix=MLIR
// RUN: moe-compile %s --target cuda -o %t.so
// RUN: llvm-nm --dynamic --defined-only --format=just-symbols %t.so | FileCheck %s --check-prefix=EXPORTS --match-full-lines --implicit-check-not={{.}}
// RUN: llvm-nm --dynamic --undefined-only --format=just-symbols %t.so | FileCheck %s --check-prefix=IMPORTS
// RUN: moe-compile %s --target cuda -o %t.again.so
// RUN: cmp %t.so %t.again.so

// CHECK: .version 8.0
// CHECK: .target sm_90
// CHECK: .visible .entry round_trip_kernel(
// Nothing of descriptors but addresses: the shapes are known.
// CHECK-COUNT-11: .param .u64 .ptr
// CHECK: .maxntid 512, 1, 1
// CHECK: .minnctapersm 1
// The run's number is 64 bits, read at once.
// CHECK-NOT: ld.global.b32
// CHECK: ld.global.b64
// With few tokens, every block counts all of them.
// CHECK: vote.sync.ballot.b32
// CHECK-NOT: atom.add
// A row is read once, past the first cache, and stored to each rank.
// CHECK: ld.global.nc.L1::no_allocate.v4.b32
// CHECK: shfl.sync.idx.b32
// CHECK: st.global.L1::no_allocate.v4.b32
// A block meets before its flag, and needs no other block for it. Then it counts the
// run, and the first block waits.
// CHECK-NOT: {{fence|atom}}
// CHECK: bar.sync 0;
// CHECK-NOT: {{bar|fence|atom}}
// CHECK: st.release.sys.global.b64 [
// CHECK-NOT: {{bar|fence|atom}}
// CHECK: st.global.b64 [
// CHECK-NOT: {{bar|fence|atom}}
// CHECK: call.uni (retval0), symm_wait,
// CHECK: ret;

// A wait is bounded and ends the kernel's work, not the kernel.
// CHECK: .func symm_record(
// CHECK: atom.acq_rel.sys.global.cas.b32
// CHECK: st.release.sys.global.b32
// CHECK: .func (.param .b64 func_retval0) symm_wait(
// CHECK: ld.acquire.sys.global.b64
// CHECK: globaltimer
// CHECK: call.uni (retval0), symm_expired,
// CHECK-NOT: trap;
// CHECK-NOT: .local

// SM80: .target sm_80
// SM80: ld.global.nc.L1::no_allocate.v4.b32
// SM80: st.global.L1::no_allocate.v4.b32
// SM80: st.release.sys.global.b64
// SM80: ld.acquire.sys.global.b64

// MLIR: gpu.launch_func @moe_kernels::@round_trip_kernel blocks
// MLIR: gpu.module @moe_kernels
// MLIR: llvm.func @round_trip_kernel({{.*}}nvvm.kernel
// MLIR-NOT: symm.put

// EXPORTS: moe_artifact_manifest
// EXPORTS-NEXT: moe_entry_round_trip
// EXPORTS-NEXT: moe_gpu_image

// IMPORTS-NOT: moert_wait
// IMPORTS-DAG: moert_alloc
// IMPORTS-DAG: moert_device_status
// IMPORTS-DAG: moert_launch
// IMPORTS-DAG: moert_timeout_ns
shard.grid @ep(shape = 4)
func.func @round_trip(%x: tensor<128x2048xbf16>, %idx: tensor<128x8xi32>, %w: tensor<128x8xf32>) -> tensor<128x2048xbf16> {
  %recv, %ridx, %rw, %src, %to, %from, %rows = moe.dispatch %x, %idx, %w on @ep {num_experts = 64 : i64}
      : (tensor<128x2048xbf16>, tensor<128x8xi32>, tensor<128x8xf32>)
     -> (tensor<512x2048xbf16>, tensor<512x8xi32>, tensor<512x8xf32>, tensor<512xi32>,
         tensor<4xi32>, tensor<4xi32>, tensor<128x4xi32>)
  %out = moe.combine %recv, %rows, %src, %from on @ep {num_experts = 64 : i64}
      : (tensor<512x2048xbf16>, tensor<128x4xi32>, tensor<512xi32>, tensor<4xi32>) -> tensor<128x2048xbf16>
  return %out : tensor<128x2048xbf16>
}
