// Workgroup memory: which instruction each op becomes, and on which lanes.
// RUN: moe-opt %s --convert-symm-to-nvvm | FileCheck %s

!stage = memref<3x64xbf16, #gpu.address_space<workgroup>>
!counters = memref<3xi64, #gpu.address_space<workgroup>>

module attributes {gpu.container_module} {
  gpu.module @kernels {
    // CHECK-LABEL: gpu.func @counters
    // CHECK-COUNT-3: nvvm.mbarrier.init %{{.*}}, %c1_i32{{.*}} : !llvm.ptr<3>, i32
    // CHECK: nvvm.fence.mbarrier.init
    // CHECK: "mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;"
    // CHECK: "mbarrier.arrive.shared::cta.b64 _, [$0];"
    // CHECK: llvm.call @symm_stage_wait(
    gpu.func @counters(%full: !counters, %i: index) kernel {
      symm.stage_init %full arrivals 1 : !counters
      symm.stage_expect %full[%i], %i : !counters
      symm.stage_arrive %full[%i] : !counters
      symm.stage_wait %full[%i] parity %i : !counters
      gpu.return
    }
    // CHECK-LABEL: gpu.func @marks
    // CHECK: llvm.atomicrmw _or %{{.*}}, %{{.*}} syncscope("block") monotonic {alignment = 4 : i64} : !llvm.ptr<3>, i32
    gpu.func @marks(%words: memref<8xi32, #gpu.address_space<workgroup>>, %i: index, %bits: i32) kernel {
      symm.mark %words[%i], %bits : memref<8xi32, #gpu.address_space<workgroup>>
      gpu.return
    }
    // From any address, here one of a peer, into the stage.
    // CHECK-LABEL: gpu.func @fetch
    // CHECK: %[[BYTES:.*]] = arith.constant 128 : i32
    // CHECK: nvvm.cp.async.bulk.shared.cluster.global %{{.*}}, %{{.*}}, %{{.*}}, %[[BYTES]] : !llvm.ptr<7>, <1>
    gpu.func @fetch(%x: memref<8x256xbf16, #symm.space>, %stage: !stage, %full: !counters, %i: index) kernel {
      %there = symm.peer %x at %i : memref<8x256xbf16, #symm.space>
      symm.fetch %there[%i, %i] to %stage[%i] counted by %full[%i]
        : memref<8x256xbf16, #symm.space> to !stage, !counters
      gpu.return
    }
    // Each lane that has a destination copies; all close a group.
    // CHECK-LABEL: gpu.func @put
    // CHECK: scf.if
    // CHECK: nvvm.cp.async.bulk.global.shared.cta
    // CHECK-NEXT: }
    // CHECK-NEXT: nvvm.cp.async.bulk.commit.group
    // The stage may be filled again.
    // CHECK-NEXT: nvvm.cp.async.bulk.wait_group 1 {read}
    // CHECK-NOT: nvvm.fence.proxy
    // CHECK: nvvm.bar.warp.sync
    // The rows are there, and ordinary accesses that follow come after them.
    // CHECK: nvvm.cp.async.bulk.wait_group 0
    // CHECK-NEXT: nvvm.fence.proxy {kind = #nvvm.proxy_kind<async>}
    gpu.func @put(%stage: !stage, %y: memref<64x64xbf16, #symm.space>, %i: index) kernel {
      symm.put_each %stage[%i] to %y[%i] at %i rotated %i lanes 4
        : !stage to memref<64x64xbf16, #symm.space>
      symm.put_wait pending 1 read
      symm.put_wait pending 0
      gpu.return
    }
  }
}
