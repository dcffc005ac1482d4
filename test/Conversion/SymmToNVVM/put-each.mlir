// How a row is cut, by its bytes.
// RUN: moe-opt %s --convert-symm-to-nvvm | FileCheck %s

module attributes {gpu.container_module} {
  gpu.module @kernels {
    // 14336 bytes: 4 chunks of 7 vectors of 16 bytes for each of 32 lanes.
    // CHECK-LABEL: gpu.func @long_row
    // CHECK: %[[LANE:.*]] = nvvm.read.ptx.sreg.laneid
    // CHECK: %[[CHUNKS:.*]] = arith.constant 4 : i64
    // CHECK: scf.for %{{.*}} to %[[CHUNKS]] step
    // CHECK-COUNT-7: llvm.inline_asm has_side_effects "ld.global.nc.L1::no_allocate.v4.b32 {$0,$1,$2,$3}, [$4+{{[0-9]+}}];", "=r,=r,=r,=r,l"
    // CHECK-NOT: ld.global
    // Each destination in turn, as its lane has it; none is 0.
    // CHECK: scf.for
    // CHECK: nvvm.shfl.sync idx
    // CHECK: nvvm.shfl.sync idx
    // CHECK: scf.if
    // CHECK-COUNT-7: llvm.inline_asm has_side_effects "st.global.L1::no_allocate.v4.b32 [$0+{{[0-9]+}}], {$1,$2,$3,$4};", "l,r,r,r,r,~{memory}"
    // CHECK-NOT: global.L1
    gpu.func @long_row(%x: memref<?x7168xbf16>, %y: memref<64x7168xbf16, #symm.space>, %i: index) kernel {
      symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 4
        : memref<?x7168xbf16> to memref<64x7168xbf16, #symm.space>
      gpu.return
    }
    // A target in memory of this rank has no peers: what the launch says of where
    // these lie is not read.
    // CHECK-LABEL: gpu.func @own_memory
    // CHECK-SAME: %{{.*}}: i64, %[[STRIDE:[a-z0-9]+]]: i64, %{{.*}}: i64, %{{.*}}: !llvm.ptr)
    // CHECK-NOT: %[[STRIDE]]
    // CHECK: st.global
    gpu.func @own_memory(%x: memref<8x12xf32>, %y: memref<?x12xf32>, %i: index) kernel {
      symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 32
        : memref<8x12xf32> to memref<?x12xf32>
      gpu.return
    }
    // 48 bytes: three lanes have a vector, and only these store.
    // CHECK-LABEL: gpu.func @short_row
    // CHECK: v4.b32 {$0,$1,$2,$3}, [$4+0];
    // CHECK: %[[THREE:.*]] = arith.constant 3 : i32
    // CHECK: %[[INSIDE:.*]] = arith.cmpi ult, %{{.*}}, %[[THREE]] : i32
    // CHECK: scf.if %[[INSIDE]]
    // CHECK: st.global.L1::no_allocate.v4.b32 [$0+0], {$1,$2,$3,$4};
    // CHECK-NOT: global.L1
    gpu.func @short_row(%x: memref<8x12xf32>, %y: memref<64x12xf32, #symm.space>, %i: index) kernel {
      symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 32
        : memref<8x12xf32> to memref<64x12xf32, #symm.space>
      gpu.return
    }
    // 1032 bytes: 8 at a time, 4 for each lane and one more, all in flight
    // together.
    // CHECK-LABEL: gpu.func @odd_row
    // CHECK-COUNT-5: ld.global.nc.L1::no_allocate.v2.b32 {$0,$1}, [$2+{{0|256|512|768|1024}}];
    // CHECK-NOT: ld.global
    // CHECK: st.global.L1::no_allocate.v2.b32 [$0+768], {$1,$2};
    // CHECK: scf.if
    // CHECK: st.global.L1::no_allocate.v2.b32 [$0+1024], {$1,$2};
    gpu.func @odd_row(%x: memref<8x129xi64>, %y: memref<64x129xi64, #symm.space>, %i: index) kernel {
      symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 4
        : memref<8x129xi64> to memref<64x129xi64, #symm.space>
      gpu.return
    }
    // A team of four subgroups: lanes number 128, and hold 7 vectors each.
    // CHECK-LABEL: gpu.func @team
    // CHECK: %[[LANE:.*]] = nvvm.read.ptx.sreg.laneid
    // CHECK: %[[PART:.*]] = arith.muli %{{.*}}, %c32_i32
    // CHECK: arith.addi %[[LANE]], %[[PART]]
    // CHECK-COUNT-7: ld.global.nc.L1::no_allocate.v4.b32 {$0,$1,$2,$3}, [$4+{{0|2048|4096|6144|8192|10240|12288}}];
    // CHECK-NOT: ld.global
    gpu.func @team(%x: memref<8x7168xbf16>, %y: memref<64x7168xbf16, #symm.space>, %i: index) kernel {
      symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 4 share %i of 4
        : memref<8x7168xbf16> to memref<64x7168xbf16, #symm.space>
      gpu.return
    }
    // Four rows of 24 bytes are 96, in vectors of 8 as one row would be.
    // CHECK-LABEL: gpu.func @rows
    // CHECK: %[[TWELVE:.*]] = arith.constant 12 : i32
    // CHECK: ld.global.nc.L1::no_allocate.v2.b32 {$0,$1}, [$2+0];
    // CHECK: st.global.L1::no_allocate.v2.b32 [$0+0], {$1,$2};
    gpu.func @rows(%x: memref<8x6xf32>, %y: memref<64x6xf32, #symm.space>, %i: index) kernel {
      symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 4 rows 4
        : memref<8x6xf32> to memref<64x6xf32, #symm.space>
      gpu.return
    }
    // What others may have written since does not come by the read-only path, and
    // not before what is waited for.
    // CHECK-LABEL: gpu.func @coherent
    // CHECK: "ld.global.L1::no_allocate.v4.b32 {$0,$1,$2,$3}, [$4+0];", "=r,=r,=r,=r,l,~{memory}"
    // CHECK: st.global.L1::no_allocate.v4.b32 [$0+0], {$1,$2,$3,$4};
    gpu.func @coherent(%y: memref<64x64xf32, #symm.space>, %i: index) kernel {
      symm.put_each %y[%i] to %y[%i] at %i rotated %i lanes 4 coherent
        : memref<64x64xf32, #symm.space> to memref<64x64xf32, #symm.space>
      gpu.return
    }
    // An odd number of bytes; an offset that is not known.
    // CHECK-LABEL: gpu.func @bytes
    // CHECK: ld.global.nc.L1::no_allocate.b8 $0, [$1+0];", "=h,l"
    gpu.func @bytes(%x: memref<8x3xi8>, %y: memref<64x3xi8, #symm.space>, %i: index) kernel {
      symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 4
        : memref<8x3xi8> to memref<64x3xi8, #symm.space>
      gpu.return
    }
    // CHECK-LABEL: gpu.func @offset
    // CHECK: ld.global.nc.L1::no_allocate.b16 $0, [$1+0];", "=h,l"
    gpu.func @offset(%x: memref<8x64xbf16, strided<[64, 1], offset: ?>>, %y: memref<64x64xbf16, #symm.space>, %i: index) kernel {
      symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 4
        : memref<8x64xbf16, strided<[64, 1], offset: ?>> to memref<64x64xbf16, #symm.space>
      gpu.return
    }
  }
}
