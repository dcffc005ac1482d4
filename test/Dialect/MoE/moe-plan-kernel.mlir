// What moe-plan chooses for kernels, what can be pinned, and what it says.
//
// RUN: moe-opt %s --moe-plan=target=cuda --remarks-filter=moe-plan > %t.auto 2>&1
// RUN: FileCheck %s --check-prefixes=CHECK,AUTO < %t.auto
// RUN: moe-opt %s --moe-plan="target=cuda chip=sm_80" --remarks-filter=moe-plan > %t.sm80 2>&1
// RUN: FileCheck %s --check-prefixes=CHECK,SM80 < %t.sm80
// RUN: moe-opt %s --moe-plan="target=cuda blocks=16 threads=96 transfer=stores stages=2 team=4" \
// RUN:   --remarks-filter=moe-plan > %t.stores 2>&1
// RUN: FileCheck %s --check-prefixes=CHECK,STORES < %t.stores
// RUN: moe-opt %s --moe-plan="target=cuda transfer=bulk stages=4 team=2" --remarks-filter=moe-plan > %t.bulk 2>&1
// RUN: FileCheck %s --check-prefixes=CHECK,BULK < %t.bulk
// RUN: moe-opt %s --moe-plan="target=cuda transfer=bulk threads=32" --remarks-filter=moe-plan 2>&1 | FileCheck %s --check-prefix=NARROW
// RUN: moe-opt %s --moe-plan="target=cuda blocks=8" | FileCheck %s --check-prefix=FEW
// RUN: moe-opt %s --moe-plan="target=cuda blocks=9" | FileCheck %s --check-prefix=MORE
// RUN: moe-opt %s --moe-plan | FileCheck %s --check-prefix=HOST

// On few blocks a dispatch has more threads.
// FEW: moe.dispatch {{.*}}kernel = #moe.kernel<blocks = 8, threads = 1024>
// FEW: moe.combine {{.*}}kernel = #moe.kernel<blocks = 8, transfer = bulk, stages = 6>
// FEW-LABEL: func.func @combine_shorter_rows(
// FEW: kernel = #moe.kernel<blocks = 8, transfer = bulk, stages = 25>
// MORE: moe.dispatch {{.*}}kernel = #moe.kernel<blocks = 9>
// RUN: moe-opt %s --moe-plan="target=cuda blocks=32" | FileCheck %s --check-prefix=B32
// B32-LABEL: func.func @combine_shorter_rows(
// B32: kernel = #moe.kernel<blocks = 32, transfer = bulk, stages = 15>

// NARROW: remark: [Missed] kernel{{.*}}Function=combine_many{{.*}}combine has rows that move by stores, not bulk copies: one subgroup brings rows, and blocks of 32 threads have no other

// HOST: moe.dispatch {{.*}} {num_experts = 64 : i64}
// HOST: moe.combine {{.*}} {algorithm = #moe.algorithm<pull>, num_experts = 64 : i64}

// RUN: FileCheck %s --check-prefix=WHY < %t.auto
// WHY: remark: [Passed] kernel{{.*}}Function=dispatch_many{{.*}}dispatch moves rows by stores: they are not slower than bulk copies, wherever both were measured (132 blocks of 512 threads, team 8)
// WHY: remark: [Passed] kernel{{.*}}Function=combine_many{{.*}}combine moves rows by bulk copies: they keep more rows in flight than loads (132 blocks of 512 threads, stages 6)
// WHY: Function=dispatch_few{{.*}}dispatch moves rows by stores: {{.*}} (128 blocks of 512 threads, team 16)
// WHY: Function=combine_few{{.*}}combine moves rows by stores: 132 blocks have fewer than 40 tokens each (128 blocks of 512 threads, team 4)
// WHY: Function=combine_not_many{{.*}}combine moves rows by stores: 132 blocks have fewer than 40 tokens each (132 blocks
// WHY: Function=combine_short_rows{{.*}}combine moves rows by bulk copies: they keep more rows in flight than loads (132 blocks of 512 threads, stages 6)
// WHY: Function=combine_shorter_rows{{.*}}combine moves rows by bulk copies: they keep more rows in flight than loads (132 blocks of 512 threads, stages 10)
// WHY: Function=combine_odd_rows{{.*}}combine moves rows by stores: rows of 14 bytes are no multiple of 16 bytes (132 blocks
// WHY: Function=combine_many_slots{{.*}}combine moves rows by stores: 33 slots of a token are more than the 32 lanes of a subgroup (132 blocks
// WHY-NOT: Function=planned
// RUN: FileCheck %s --check-prefix=WHYSM80 < %t.sm80
// WHYSM80: Function=combine_many{{.*}}combine moves rows by stores: the chip has no bulk copies, or too little shared memory for them (108 blocks
// RUN: FileCheck %s --check-prefix=WHYSTORES < %t.stores
// WHYSTORES: remark: [Missed] kernel{{.*}}Function=dispatch_many{{.*}}dispatch has teams of 1 subgroups, not 4: a block has 3
// WHYSTORES: remark: [Missed] kernel{{.*}}Function=dispatch_many{{.*}}dispatch has no stages: rows move by stores
// WHYSTORES: remark: [Passed] kernel{{.*}}Function=dispatch_many{{.*}}dispatch moves rows by stores: asked for by 'transfer' (16 blocks of 96 threads, team 1)
// RUN: FileCheck %s --check-prefix=WHYBULK < %t.bulk
// WHYBULK: remark: [Missed] kernel{{.*}}Function=dispatch_many{{.*}}dispatch has no teams: subgroups do not share a token with bulk copies
// WHYBULK: remark: [Passed] kernel{{.*}}Function=dispatch_many{{.*}}dispatch moves rows by bulk copies: asked for by 'transfer' (132 blocks of 512 threads, stages 4)
// WHYBULK: remark: [Passed] kernel{{.*}}Function=combine_few{{.*}}combine moves rows by bulk copies: asked for by 'transfer' (132 blocks of 512 threads, stages 4)
// WHYBULK: remark: [Missed] kernel{{.*}}Function=combine_many_slots{{.*}}combine has rows that move by stores, not bulk copies: 33 slots of a token are more than the 32 lanes of a subgroup
// WHYBULK: remark: [Missed] kernel{{.*}}Function=odd_rows{{.*}}dispatch has rows that move by stores, not bulk copies: rows of 14 bytes are no multiple of 16 bytes
// WHYBULK: remark: [Missed] kernel{{.*}}Function=long_rows{{.*}}dispatch has rows that move by stores, not bulk copies: 2 stages of 131072 bytes do not fit into shared memory
// WHYBULK: remark: [Missed] kernel{{.*}}Function=medium_rows{{.*}}dispatch has 3 stages, not 4: at least 2 are used, and as many of 65536 bytes as fit into shared memory
// WHYBULK: remark: [Missed] kernel{{.*}}Function=blocks{{.*}}alltoallv has rows that move by stores, not bulk copies: it has no form with bulk copies

// With few blocks, 32 rows for each: eight tokens with four rows.
// RUN: moe-opt %s --moe-plan="target=cuda blocks=16" | FileCheck %s --check-prefix=B16
// B16-LABEL: func.func @combine_few(
// B16: kernel = #moe.kernel<blocks = 16, transfer = bulk, stages = 6>
// B16-LABEL: func.func @combine_128_tokens(
// B16: kernel = #moe.kernel<blocks = 16, transfer = bulk, stages = 6>
// RUN: moe-opt %s --moe-plan="target=cuda blocks=17" | FileCheck %s --check-prefix=B17
// B17-LABEL: func.func @combine_128_tokens(
// B17: kernel = #moe.kernel<blocks = 17, team = 2>
// RUN: moe-opt %s --moe-plan="target=cuda blocks=24" | FileCheck %s --check-prefix=B24
// B24-LABEL: func.func @combine_few(
// B24: kernel = #moe.kernel<blocks = 24>

// RUN: not moe-opt %s --moe-plan=target=tpu 2>&1 | FileCheck %s --check-prefix=TARGET
// TARGET: error: moe-plan expects 'target' to be host or cuda (tpu)
// RUN: not moe-opt %s --moe-plan="target=cuda chip=90" 2>&1 | FileCheck %s --check-prefix=CHIP
// CHIP: error: moe-plan expects 'chip' to be a name like sm_90 (90)
// RUN: not moe-opt %s --moe-plan="target=cuda transfer=swim" 2>&1 | FileCheck %s --check-prefix=TRANSFER
// TRANSFER: error: moe-plan expects 'transfer' to be auto, stores or bulk (swim)
// RUN: not moe-opt %s --moe-plan="target=cuda chip=sm_80 transfer=bulk" 2>&1 | FileCheck %s --check-prefix=NOBULK
// NOBULK: error: moe-plan expects 'transfer' to be auto or stores with chip sm_80 (bulk)
// RUN: not moe-opt %s --moe-plan="target=cuda blocks=-1" 2>&1 | FileCheck %s --check-prefix=BLOCKS
// BLOCKS: error: moe-plan expects 'blocks' to be 0 or more (-1)
// RUN: not moe-opt %s --moe-plan="target=cuda threads=100" 2>&1 | FileCheck %s --check-prefix=THREADS
// THREADS: error: moe-plan expects 'threads' to be a multiple of 32 up to 1024 (100)
// RUN: not moe-opt %s --moe-plan="target=cuda stages=33" 2>&1 | FileCheck %s --check-prefix=STAGES
// STAGES: error: moe-plan expects 'stages' to be 0 to 32 (33)
// RUN: not moe-opt %s --moe-plan="target=cuda team=3" 2>&1 | FileCheck %s --check-prefix=TEAM
// TEAM: error: moe-plan expects 'team' to be 0 or a power of two up to 32 (3)

shard.grid @ep(shape = 4)
shard.grid @ep8(shape = 8)
shard.grid @ep33(shape = 33)

// Subgroups take shares of the rows: moe-plan-shares.mlir.
// CHECK-LABEL: func.func @dispatch_many(
// AUTO: kernel = #moe.kernel<team = 8>
// SM80: kernel = #moe.kernel<blocks = 108, team = 8>,
// STORES: kernel = #moe.kernel<blocks = 16, threads = 96>
// BULK: kernel = #moe.kernel<transfer = bulk, stages = 4>
func.func @dispatch_many(%x: memref<4096x7168xbf16>, %rows: memref<4096x4xi32>,
    %recv: memref<16384x7168xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 64 : i64}
    : (memref<4096x7168xbf16>, memref<4096x4xi32>, memref<16384x7168xbf16>) -> ()
  return
}

// Sixteen tokens for each block, and more: bulk copies, where the chip has them.
// CHECK-LABEL: func.func @combine_many(
// AUTO: kernel = #moe.kernel<transfer = bulk, stages = 6>,
// SM80: kernel = #moe.kernel<blocks = 108{{(, stages = 6)?}}>,
// STORES: kernel = #moe.kernel<blocks = 16, threads = 96{{(, stages = 6)?}}>,
// BULK: kernel = #moe.kernel<transfer = bulk, stages = 4>,
func.func @combine_many(%y: memref<32768x7168xbf16>, %rows: memref<8192x4xi32>,
    %src: memref<32768xi32>, %n: memref<4xi32>, %out: memref<8192x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<32768x7168xbf16>, memref<8192x4xi32>, memref<32768xi32>, memref<4xi32>,
       memref<8192x7168xbf16>) -> ()
  return
}

// 2112 subgroups share 128 tokens; blocks without a token do not run.
// CHECK-LABEL: func.func @dispatch_few(
// AUTO: kernel = #moe.kernel<blocks = 128, team = 16>
// SM80: kernel = #moe.kernel<blocks = 64, team = 8>
// BULK: kernel = #moe.kernel<transfer = bulk, stages = 4>
func.func @dispatch_few(%x: memref<128x7168xbf16>, %rows: memref<128x4xi32>,
    %recv: memref<512x7168xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 64 : i64}
    : (memref<128x7168xbf16>, memref<128x4xi32>, memref<512x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @combine_few(
// AUTO: kernel = #moe.kernel<blocks = 128, team = 4>
// BULK: kernel = #moe.kernel<transfer = bulk, stages = 4>
func.func @combine_few(%y: memref<2044x7168xbf16>, %rows: memref<511x4xi32>,
    %src: memref<2044xi32>, %n: memref<4xi32>, %out: memref<511x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<2044x7168xbf16>, memref<511x4xi32>, memref<2044xi32>, memref<4xi32>,
       memref<511x7168xbf16>) -> ()
  return
}

// Less than 40 tokens for each of 132 blocks, and as many as that.
// CHECK-LABEL: func.func @combine_128_tokens(
func.func @combine_128_tokens(%y: memref<512x7168xbf16>, %rows: memref<128x4xi32>,
    %src: memref<512xi32>, %n: memref<4xi32>, %out: memref<128x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<512x7168xbf16>, memref<128x4xi32>, memref<512xi32>, memref<4xi32>,
       memref<128x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @combine_not_many(
// AUTO: kernel = #moe.kernel<>,
func.func @combine_not_many(%y: memref<21116x7168xbf16>, %rows: memref<5279x4xi32>,
    %src: memref<21116xi32>, %n: memref<4xi32>, %out: memref<5279x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<21116x7168xbf16>, memref<5279x4xi32>, memref<21116xi32>, memref<4xi32>,
       memref<5279x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @combine_just_many(
// AUTO: kernel = #moe.kernel<transfer = bulk, stages = 6>,
func.func @combine_just_many(%y: memref<21120x7168xbf16>, %rows: memref<5280x4xi32>,
    %src: memref<21120xi32>, %n: memref<4xi32>, %out: memref<5280x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<21120x7168xbf16>, memref<5280x4xi32>, memref<21120xi32>, memref<4xi32>,
       memref<5280x7168xbf16>) -> ()
  return
}

// With more rows of a token than loads are good at, four tokens for each block.
// CHECK-LABEL: func.func @combine_many_rows(
// AUTO: kernel = #moe.kernel<transfer = bulk, stages = 6>,
func.func @combine_many_rows(%y: memref<4224x2048xbf16>, %rows: memref<528x8xi32>,
    %src: memref<4224xi32>, %n: memref<8xi32>, %out: memref<528x2048xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep8 {num_experts = 64 : i64}
    : (memref<4224x2048xbf16>, memref<528x8xi32>, memref<4224xi32>, memref<8xi32>,
       memref<528x2048xbf16>) -> ()
  return
}

// Shorter rows, more stages: six tokens of 32 KiB have room, and two for each of three
// teams is what they make.
// CHECK-LABEL: func.func @combine_short_rows(
// AUTO: kernel = #moe.kernel<transfer = bulk, stages = 6>,
func.func @combine_short_rows(%y: memref<32768x4096xbf16>, %rows: memref<8192x4xi32>,
    %src: memref<32768xi32>, %n: memref<4xi32>, %out: memref<8192x4096xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<32768x4096xbf16>, memref<8192x4xi32>, memref<32768xi32>, memref<4xi32>,
       memref<8192x4096xbf16>) -> ()
  return
}

// Tokens of 8 KiB: 26 have room, 24 of them for three teams or 25 for five; on 32 blocks
// 16 are enough, which makes 15 for either, and on 132 two for each team are.
// CHECK-LABEL: func.func @combine_shorter_rows(
// AUTO: kernel = #moe.kernel<transfer = bulk, stages = 10>,
func.func @combine_shorter_rows(%y: memref<32768x1024xbf16>, %rows: memref<8192x4xi32>,
    %src: memref<32768xi32>, %n: memref<4xi32>, %out: memref<8192x1024xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<32768x1024xbf16>, memref<8192x4xi32>, memref<32768xi32>, memref<4xi32>,
       memref<8192x1024xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @combine_odd_rows(
// AUTO: kernel = #moe.kernel<>,
func.func @combine_odd_rows(%y: memref<16384x7xbf16>, %rows: memref<4096x4xi32>,
    %src: memref<16384xi32>, %n: memref<4xi32>, %out: memref<4096x7xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<16384x7xbf16>, memref<4096x4xi32>, memref<16384xi32>, memref<4xi32>,
       memref<4096x7xbf16>) -> ()
  return
}

// A lane looks up one slot.
// CHECK-LABEL: func.func @combine_many_slots(
// AUTO: kernel = #moe.kernel<>,
// BULK: kernel = #moe.kernel<team = 2>,
func.func @combine_many_slots(%y: memref<135168x64xbf16>, %rows: memref<4096x33xi32>,
    %src: memref<135168xi32>, %n: memref<33xi32>, %out: memref<4096x64xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep33 {num_experts = 66 : i64}
    : (memref<135168x64xbf16>, memref<4096x33xi32>, memref<135168xi32>, memref<33xi32>,
       memref<4096x64xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @odd_rows(
// AUTO: kernel = #moe.kernel<>
// BULK: kernel = #moe.kernel<team = 2>
func.func @odd_rows(%x: memref<4096x7xbf16>, %rows: memref<4096x4xi32>,
    %recv: memref<16384x7xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 64 : i64}
    : (memref<4096x7xbf16>, memref<4096x4xi32>, memref<16384x7xbf16>) -> ()
  return
}

// Too long for two stages.
// CHECK-LABEL: func.func @long_rows(
// AUTO: kernel = #moe.kernel<team = 16>
// BULK: kernel = #moe.kernel<team = 2>
func.func @long_rows(%x: memref<4096x65536xbf16>, %rows: memref<4096x4xi32>,
    %recv: memref<16384x65536xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 64 : i64}
    : (memref<4096x65536xbf16>, memref<4096x4xi32>, memref<16384x65536xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @medium_rows(
// BULK: kernel = #moe.kernel<transfer = bulk>
func.func @medium_rows(%x: memref<4096x32768xbf16>, %rows: memref<4096x4xi32>,
    %recv: memref<16384x32768xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 64 : i64}
    : (memref<4096x32768xbf16>, memref<4096x4xi32>, memref<16384x32768xbf16>) -> ()
  return
}

// Blocks for all pieces of 4096 bytes: 8192 rows of 256 bytes make 512, of which 16
// subgroups have one each.
// CHECK-LABEL: func.func @blocks(
// AUTO: kernel = #moe.kernel<blocks = 32>
// BULK: kernel = #moe.kernel<blocks = 32>
func.func @blocks(%x: memref<?x64xf32>, %n: memref<4xi32>,
    %recv: memref<8192x64xf32>, %counts: memref<4xi32>) {
  moe.alltoallv %x, %n outs(%recv, %counts) on @ep
    : (memref<?x64xf32>, memref<4xi32>, memref<8192x64xf32>, memref<4xi32>) -> ()
  return
}

// A long row moves in pieces of that size; those of 14336 bytes in two, since teams are
// powers of two.
// CHECK-LABEL: func.func @pieces(
// AUTO: kernel = #moe.kernel<team = 2>
// BULK: kernel = #moe.kernel<team = 2>
func.func @pieces(%x: memref<?x7168xbf16>, %n: memref<4xi32>,
    %recv: memref<8192x7168xbf16>, %counts: memref<4xi32>) {
  moe.alltoallv %x, %n outs(%recv, %counts) on @ep
    : (memref<?x7168xbf16>, memref<4xi32>, memref<8192x7168xbf16>,
       memref<4xi32>) -> ()
  return
}

// What is planned already stays.
// CHECK-LABEL: func.func @planned(
// CHECK: kernel = #moe.kernel<blocks = 7, threads = 64>
func.func @planned(%x: memref<4096x64xbf16>, %rows: memref<4096x4xi32>,
    %recv: memref<16384x64xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {kernel = #moe.kernel<blocks = 7, threads = 64>, num_experts = 64 : i64}
    : (memref<4096x64xbf16>, memref<4096x4xi32>, memref<16384x64xbf16>) -> ()
  return
}
