// The kernels of many tokens: the blocks of a dispatch post what they count and share
// tokens out part by part, a combine has loads of several rows in flight, and rows of both
// can move by bulk copies.
// RUN: moe-compile %s --target cuda --combine-algorithm=pull --emit=ptx | FileCheck %s
// Few blocks, whose combine would move by bulk copies.
// RUN: moe-compile %s --target cuda --blocks=16 --transfer=stores --emit=ptx | FileCheck %s --check-prefix=STORES
// RUN: moe-compile %s --target cuda --transfer=bulk --emit=ptx | FileCheck %s --check-prefix=BULK

// CHECK: .visible .entry round_trip_kernel(
// CHECK: .maxntid 512, 1, 1
// CHECK: .minnctapersm 1
// Shared arrays are aligned for the widest access.
// CHECK: .shared .align 16 .b8 __wg_
// Blocks do not meet: each posts its masks, collects all, and adds up the bits, by
// doubling across the lanes.
// CHECK-NOT: {{fence|atom}}
// CHECK: st.relaxed.gpu.global.b64
// CHECK-NOT: {{fence|atom}}
// CHECK: symm_collect,
// CHECK: bar.red.and.pred
// CHECK-COUNT-5: shfl.sync.idx.b32
// A subgroup takes its next share before it copies this one. Without a qualifier the
// order is relaxed and the scope the GPU.
// CHECK: atom.global.add.u64
// CHECK: ld.global.nc.L1::no_allocate.v4.b32
// CHECK: st.global.L1::no_allocate.v4.b32
// CHECK-NOT: cp.async.bulk
// Each block signals for itself.
// CHECK-NOT: {{fence|atom}}
// CHECK: bar.sync 0;
// CHECK-NOT: {{bar|fence|atom}}
// CHECK: st.release.sys.global.b64
// CHECK: .visible .entry round_trip_kernel_0(
// The next token is asked for before this one is read.
// CHECK: atom.global.add.u64
// Eight columns of a token's only row are loaded, and stored as they are; or four columns of
// two rows. They are joined by a zero that the assembler does not know: where the lowest
// bit of an address is 0.
// CHECK-NOT: {{cp.async.bulk|mbarrier|add.rn.f32|ld.global.v4.b32}}
// CHECK: ld.global.v4.b32 {[[ONLY:%r[0-9]+]],
// CHECK-COUNT-7: ld.global.v4.b32
// CHECK-NOT: {{ld.global|add.rn.f32}}
// CHECK: selp.b32 [[NONE:%r[0-9]+]], 0, {{%r[0-9]+}}, [[IS_EVEN:%p[0-9]+]];
// CHECK-NEXT: xor.b32 {{%r[0-9]+}}, [[NONE]], [[ONLY]];
// CHECK-NOT: {{ld.global|add.rn.f32}}
// CHECK: st.global.v4.b32
// CHECK-NOT: {{cp.async.bulk|mbarrier|add.rn.f32}}
// CHECK: ld.global.v4.b32 {[[FIRST:%r[0-9]+]],
// CHECK-COUNT-7: ld.global.v4.b32
// CHECK-NOT: {{ld.global|add.rn.f32}}
// CHECK: selp.b32 [[NONE2:%r[0-9]+]], 0, {{%r[0-9]+}}, [[IS_EVEN]];
// CHECK-NEXT: xor.b32 {{%r[0-9]+}}, [[NONE2]], [[FIRST]];
// CHECK: add.rn.f32
// Two elements are rounded at a time.
// CHECK: cvt.rn.bf16x2.f32
// CHECK-NOT: {{cp.async.bulk|mbarrier}}
// CHECK: .func (.param .b64 func_retval0) symm_collect(
// CHECK: ld.relaxed.gpu.global.b64
// CHECK-NOT: trap;
// CHECK-NOT: .local

// STORES: .visible .entry round_trip_kernel(
// STORES: atom.global.add.u64
// STORES-NOT: cp.async.bulk
// STORES: .visible .entry round_trip_kernel_0(
// STORES: ld.global.v4.b32
// STORES: cvt.rn.bf16x2.f32
// STORES: st.global.v4.b32
// STORES-NOT: {{cp.async.bulk|mbarrier}}
// STORES: .func symm_record(

// Stages are in memory whose size the launch chooses; they start at a line, where bulk
// copies are fastest.
// BULK: .extern .shared .align 128 .b8 __dynamic_shmem__0[];
// A dispatch brings rows into shared memory and puts them from there.
// BULK: .visible .entry round_trip_kernel(
// BULK: mbarrier.init.shared.b64
// BULK: fence.proxy.async
// BULK: mbarrier.arrive.expect_tx.shared::cta.b64
// BULK: cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes
// BULK: mbarrier.try_wait.parity.shared::cta.b64
// BULK: cp.async.bulk.global.shared::cta.bulk_group
// BULK: cp.async.bulk.commit_group;
// BULK: cp.async.bulk.wait_group.read 1;
// Rows have arrived on the other ranks before the flag.
// BULK: cp.async.bulk.wait_group 0;
// BULK-NEXT: fence.proxy.async
// BULK-NEXT: bar.warp.sync
// BULK-NOT: {{fence|atom|st[.]}}
// BULK: bar.sync 0;
// BULK-NOT: {{bar|fence|atom}}
// BULK: st.release.sys.global.b64
// A combine adds them from shared memory.
// BULK: .visible .entry round_trip_kernel_0(
// BULK: cvt.rn.bf16x2.f32
// BULK: cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes
// BULK: ld.acquire.sys
// BULK-NOT: trap;
shard.grid @ep(shape = 2)
func.func @round_trip(%x: tensor<8192x6144xbf16>, %idx: tensor<8192x8xi32>, %w: tensor<8192x8xf32>) -> tensor<8192x6144xbf16> {
  %recv, %ri, %rw, %src, %to, %from, %rows = moe.dispatch %x, %idx, %w on @ep {num_experts = 64 : i64}
    : (tensor<8192x6144xbf16>, tensor<8192x8xi32>, tensor<8192x8xf32>)
   -> (tensor<16384x6144xbf16>, tensor<16384x8xi32>, tensor<16384x8xf32>, tensor<16384xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<8192x2xi32>)
  %out = moe.combine %recv, %rows, %src, %from on @ep {num_experts = 64 : i64}
    : (tensor<16384x6144xbf16>, tensor<8192x2xi32>, tensor<16384xi32>, tensor<2xi32>) -> tensor<8192x6144xbf16>
  return %out : tensor<8192x6144xbf16>
}
