// What moe-plan chooses for kernels, what can be pinned, and what it says. Its combines pull;
// moe-plan-algorithm.mlir says when they push.
//
// RUN: moe-opt %s --moe-plan="target=cuda combine-algorithm=pull" --remarks-filter=moe-plan > %t.auto 2>&1
// RUN: FileCheck %s --check-prefixes=CHECK,AUTO < %t.auto
// RUN: moe-opt %s --moe-plan="target=cuda chip=sm_80 combine-algorithm=pull" --remarks-filter=moe-plan > %t.sm80 2>&1
// RUN: FileCheck %s --check-prefixes=CHECK,SM80 < %t.sm80
// RUN: moe-opt %s --moe-plan="target=cuda blocks=16 threads=96 transfer=stores stages=2 team=4" \
// RUN:   --remarks-filter=moe-plan > %t.stores 2>&1
// RUN: FileCheck %s --check-prefixes=CHECK,STORES < %t.stores
// RUN: moe-opt %s --moe-plan="target=cuda transfer=bulk stages=4 team=2" --remarks-filter=moe-plan > %t.bulk 2>&1
// RUN: FileCheck %s --check-prefixes=CHECK,BULK < %t.bulk
// RUN: moe-opt %s --moe-plan="target=cuda transfer=bulk threads=32" --remarks-filter=moe-plan 2>&1 | FileCheck %s --check-prefix=NARROW
// RUN: moe-opt %s --moe-plan="target=cuda blocks=8" | FileCheck %s --check-prefix=FEW
// RUN: moe-opt %s --moe-plan="target=cuda blocks=9" --remarks-filter=moe-plan > %t.b9 2>&1
// RUN: FileCheck %s --check-prefix=MORE < %t.b9
// RUN: moe-opt %s --moe-plan | FileCheck %s --check-prefix=HOST

// On few blocks a dispatch has more threads, and a combine by expert moves by bulk copies.
// FEW-LABEL: func.func @dispatch_many(
// FEW-NEXT: kernel = #moe.kernel<blocks = 8, threads = 1024>
// FEW-LABEL: func.func @combine_many(
// FEW-NEXT: kernel = #moe.kernel<blocks = 8, transfer = bulk, stages = 6>
// FEW-LABEL: func.func @combine_by_expert(
// FEW-NEXT: kernel = #moe.kernel<blocks = 8, transfer = bulk, stages = 6>
// FEW-LABEL: func.func @combine_shorter_rows(
// FEW-NEXT: kernel = #moe.kernel<blocks = 8, transfer = bulk, stages = 25>
// MORE-LABEL: func.func @dispatch_many(
// MORE-NEXT: kernel = #moe.kernel<blocks = 9>
// MORE-LABEL: func.func @combine_many(
// MORE-NEXT: kernel = #moe.kernel<blocks = 9, transfer = bulk, stages = 6>
// MORE-LABEL: func.func @combine_by_expert(
// MORE-NEXT: kernel = #moe.kernel<blocks = 9>,
// RUN: FileCheck %s --check-prefix=WHYMORE < %t.b9
// WHYMORE: Function=combine_by_expert{{.*}}combine moves rows by stores: they are as fast as bulk copies, or nearly (9 blocks of 512 threads, team 1)

// NARROW: remark: [Missed] kernel{{.*}}Function=combine_many{{.*}}combine has rows that move by stores, not bulk copies: one subgroup brings rows, and blocks of 32 threads have no other

// HOST: moe.dispatch {{.*}} {num_experts = 64 : i64}
// HOST: moe.combine {{.*}} {algorithm = #moe.algorithm<pull>, num_experts = 64 : i64}

// RUN: FileCheck %s --check-prefix=WHY < %t.auto
// WHY: remark: [Passed] kernel{{.*}}Function=dispatch_many{{.*}}dispatch moves rows by stores: they are not slower than bulk copies, wherever both were measured (132 blocks of 512 threads, team 8)
// WHY: remark: [Passed] kernel{{.*}}Function=combine_many{{.*}}combine moves rows by stores: they are as fast as bulk copies, or nearly (64 blocks of 512 threads, team 1)
// WHY: Function=combine_two_ranks{{.*}}combine moves rows by stores: they are as fast as bulk copies, or nearly (64 blocks of 512 threads, team 1)
// WHY: Function=dispatch_few{{.*}}dispatch moves rows by stores: {{.*}} (128 blocks of 512 threads, team 16)
// WHY: Function=combine_few{{.*}}combine moves rows by stores: they are as fast as bulk copies, or nearly (60 blocks of 512 threads, team 2)
// WHY: Function=combine_odd_rows{{.*}}combine moves rows by stores: rows of 14 bytes are no multiple of 16 bytes (64 blocks
// WHY: Function=combine_many_slots{{.*}}combine moves rows by stores: 33 slots of a token are more than the 32 lanes of a subgroup (64 blocks
// WHY-NOT: Function=planned
// RUN: FileCheck %s --check-prefix=WHYSM80 < %t.sm80
// WHYSM80: Function=combine_many{{.*}}combine moves rows by stores: the chip has no bulk copies, or too little shared memory for them (64 blocks
// RUN: FileCheck %s --check-prefix=WHYSTORES < %t.stores
// WHYSTORES: remark: [Missed] kernel{{.*}}Function=dispatch_many{{.*}}dispatch has teams of 1 subgroups, not 4: a block has 3
// WHYSTORES: remark: [Missed] kernel{{.*}}Function=dispatch_many{{.*}}dispatch has no stages: rows move by stores
// WHYSTORES: remark: [Passed] kernel{{.*}}Function=dispatch_many{{.*}}dispatch moves rows by stores: asked for by 'transfer' (16 blocks of 96 threads, team 1)
// RUN: FileCheck %s --check-prefix=WHYBULK < %t.bulk
// WHYBULK: remark: [Missed] kernel{{.*}}Function=dispatch_many{{.*}}dispatch has no teams: subgroups do not share a token with bulk copies
// WHYBULK: remark: [Passed] kernel{{.*}}Function=dispatch_many{{.*}}dispatch moves rows by bulk copies: asked for by 'transfer' (132 blocks of 512 threads, stages 4)
// WHYBULK: remark: [Passed] kernel{{.*}}Function=combine_few{{.*}}combine moves rows by bulk copies: asked for by 'transfer' (64 blocks of 512 threads, stages 4)
// WHYBULK: remark: [Missed] kernel{{.*}}Function=combine_many_slots{{.*}}combine has rows that move by stores, not bulk copies: 33 slots of a token are more than the 32 lanes of a subgroup
// WHYBULK: remark: [Missed] kernel{{.*}}Function=odd_rows{{.*}}dispatch has rows that move by stores, not bulk copies: rows of 14 bytes are no multiple of 16 bytes
// WHYBULK: remark: [Missed] kernel{{.*}}Function=long_rows{{.*}}dispatch has rows that move by stores, not bulk copies: 2 stages of 131072 bytes do not fit into shared memory
// WHYBULK: remark: [Missed] kernel{{.*}}Function=medium_rows{{.*}}dispatch has 3 stages, not 4: at least 2 are used, and as many of 65536 bytes as fit into shared memory
// WHYBULK: remark: [Missed] kernel{{.*}}Function=blocks{{.*}}alltoallv has rows that move by stores, not bulk copies: it has no form with bulk copies

// On fewer than 32 blocks bulk copies from 64 rows for each on: 16 tokens with four slots,
// eight with eight.
// RUN: moe-opt %s --moe-plan="target=cuda blocks=16" | FileCheck %s --check-prefix=B16
// B16-LABEL: func.func @combine_256_tokens(
// B16-NEXT: kernel = #moe.kernel<blocks = 16, transfer = bulk, stages = 6>
// B16-LABEL: func.func @combine_128_tokens(
// B16-NEXT: kernel = #moe.kernel<blocks = 16, transfer = bulk, stages = 6>
// RUN: moe-opt %s --moe-plan="target=cuda blocks=17" --remarks-filter=moe-plan > %t.b17 2>&1
// RUN: FileCheck %s --check-prefix=B17 < %t.b17
// B17-LABEL: func.func @combine_256_tokens(
// B17-NEXT: kernel = #moe.kernel<blocks = 17>,
// B17-LABEL: func.func @combine_128_tokens(
// B17-NEXT: kernel = #moe.kernel<blocks = 17, team = 2>
// RUN: FileCheck %s --check-prefix=WHYB17 < %t.b17
// WHYB17: Function=combine_256_tokens{{.*}}combine moves rows by stores: 17 blocks have fewer than 16 tokens each (17 blocks of 512 threads, team 1)
// WHYB17: Function=combine_128_tokens{{.*}}combine moves rows by stores: 17 blocks have fewer than 8 tokens each (17 blocks of 512 threads, team 2)

// On 32 blocks or more from 128 tokens for each on: 4096 are enough on 32, not on 63. 512
// have 64 rows for each of 32 blocks, and move by bulk copies only on fewer.
// RUN: moe-opt %s --moe-plan="target=cuda blocks=31" | FileCheck %s --check-prefix=B31
// B31-LABEL: func.func @combine_512_tokens(
// B31-NEXT: kernel = #moe.kernel<blocks = 31, transfer = bulk, stages = 6>
// RUN: moe-opt %s --moe-plan="target=cuda blocks=32" --remarks-filter=moe-plan > %t.b32 2>&1
// RUN: FileCheck %s --check-prefix=B32 < %t.b32
// B32-LABEL: func.func @combine_512_tokens(
// B32-NEXT: kernel = #moe.kernel<blocks = 32>,
// B32-LABEL: func.func @combine_4095_tokens(
// B32-NEXT: kernel = #moe.kernel<blocks = 32>,
// B32-LABEL: func.func @combine_4096_tokens(
// B32-NEXT: kernel = #moe.kernel<blocks = 32, transfer = bulk, stages = 6>
// B32-LABEL: func.func @combine_shorter_rows(
// B32-NEXT: kernel = #moe.kernel<blocks = 32, transfer = bulk, stages = 15>
// RUN: FileCheck %s --check-prefix=WHYB32 < %t.b32
// WHYB32: Function=combine_many{{.*}}combine moves rows by bulk copies: with so many tokens they are as fast as loads, or faster (32 blocks of 512 threads, stages 6)
// WHYB32: Function=combine_4095_tokens{{.*}}combine moves rows by stores: 32 blocks have fewer than 128 tokens each (32 blocks of 512 threads, team 1)

// On 64 blocks or more never. More than 64 run where they are asked for.
// RUN: moe-opt %s --moe-plan="target=cuda blocks=63" | FileCheck %s --check-prefix=B63
// B63-LABEL: func.func @combine_many(
// B63-NEXT: kernel = #moe.kernel<blocks = 63, transfer = bulk, stages = 6>
// B63-LABEL: func.func @combine_4096_tokens(
// B63-NEXT: kernel = #moe.kernel<blocks = 63>,
// B63-LABEL: func.func @combine_short_rows(
// B63-NEXT: kernel = #moe.kernel<blocks = 63, transfer = bulk, stages = 6>
// B63-LABEL: func.func @combine_shorter_rows(
// B63-NEXT: kernel = #moe.kernel<blocks = 63, transfer = bulk, stages = 10>
// RUN: moe-opt %s --moe-plan="target=cuda blocks=64 combine-algorithm=pull" | FileCheck %s --check-prefix=B64
// B64-LABEL: func.func @combine_many(
// B64-NEXT: kernel = #moe.kernel<blocks = 64>,
// RUN: moe-opt %s --moe-plan="target=cuda blocks=65 combine-algorithm=pull" | FileCheck %s --check-prefix=B65
// B65-LABEL: func.func @combine_many(
// B65-NEXT: kernel = #moe.kernel<blocks = 65>,

// RUN: moe-opt %s --moe-plan="target=cuda blocks=9999999999" --remarks-filter=moe-plan 2>&1 | FileCheck %s --check-prefix=MANY
// MANY: dispatch has 528 blocks, not 9999999999: 132 multiprocessors have no room for more of 512 threads
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
shard.grid @ep1(shape = 1)
shard.grid @ep2(shape = 2)
shard.grid @ep3(shape = 3)
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

// 64 blocks. With 128 tokens for each of them, loads.
// CHECK-LABEL: func.func @combine_many(
// AUTO: kernel = #moe.kernel<blocks = 64>,
// SM80: kernel = #moe.kernel<blocks = 64>,
// STORES: kernel = #moe.kernel<blocks = 16, threads = 96>,
// BULK: kernel = #moe.kernel<blocks = 64, transfer = bulk, stages = 4>,
func.func @combine_many(%y: memref<32768x7168xbf16>, %rows: memref<8192x4xi32>,
    %src: memref<32768xi32>, %n: memref<4xi32>, %out: memref<8192x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<32768x7168xbf16>, memref<8192x4xi32>, memref<32768xi32>, memref<4xi32>,
       memref<8192x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @combine_two_ranks(
// AUTO: kernel = #moe.kernel<blocks = 64>,
// SM80: kernel = #moe.kernel<blocks = 64>,
// BULK: kernel = #moe.kernel<transfer = bulk, stages = 4>,
func.func @combine_two_ranks(%y: memref<16384x7168xbf16>, %rows: memref<8192x2xi32>,
    %src: memref<16384xi32>, %n: memref<2xi32>, %out: memref<8192x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep2 {num_experts = 64 : i64}
    : (memref<16384x7168xbf16>, memref<8192x2xi32>, memref<16384xi32>, memref<2xi32>,
       memref<8192x7168xbf16>) -> ()
  return
}

// Two ranks, and one token less than 64 blocks have subgroups: all blocks.
// CHECK-LABEL: func.func @combine_two_ranks_fewer(
// AUTO: kernel = #moe.kernel<blocks = 128, team = 2>
// SM80: kernel = #moe.kernel<blocks = 64>
func.func @combine_two_ranks_fewer(%y: memref<2046x7168xbf16>, %rows: memref<1023x2xi32>,
    %src: memref<2046xi32>, %n: memref<2xi32>, %out: memref<1023x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep2 {num_experts = 64 : i64}
    : (memref<2046x7168xbf16>, memref<1023x2xi32>, memref<2046xi32>, memref<2xi32>,
       memref<1023x7168xbf16>) -> ()
  return
}

// By expert, all tokens have as many rows.
// CHECK-LABEL: func.func @combine_two_ranks_by_expert(
// AUTO: kernel = #moe.kernel<>,
func.func @combine_two_ranks_by_expert(%y: memref<16384x7168xbf16>, %rows: memref<8192x2xi32>,
    %src: memref<16384xi32>, %n: memref<2xi32>, %idx: memref<8192x2xi32>, %out: memref<8192x7168xbf16>) {
  moe.combine %y, %rows, %src, %n topk(%idx) outs(%out) on @ep2
      {layout = #moe.layout<expert_major>, num_experts = 64 : i64}
    : (memref<16384x7168xbf16>, memref<8192x2xi32>, memref<16384xi32>, memref<2xi32>,
       memref<8192x2xi32>, memref<8192x7168xbf16>) -> ()
  return
}

// A rank alone waits for no link.
// CHECK-LABEL: func.func @combine_one_rank(
// AUTO: kernel = #moe.kernel<>,
func.func @combine_one_rank(%y: memref<8192x7168xbf16>, %rows: memref<8192x1xi32>,
    %src: memref<8192xi32>, %n: memref<1xi32>, %out: memref<8192x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep1 {num_experts = 64 : i64}
    : (memref<8192x7168xbf16>, memref<8192x1xi32>, memref<8192xi32>, memref<1xi32>,
       memref<8192x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @combine_three_ranks(
// AUTO: kernel = #moe.kernel<blocks = 64>,
func.func @combine_three_ranks(%y: memref<24576x7168xbf16>, %rows: memref<8192x3xi32>,
    %src: memref<24576xi32>, %n: memref<3xi32>, %out: memref<8192x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep3 {num_experts = 63 : i64}
    : (memref<24576x7168xbf16>, memref<8192x3xi32>, memref<24576xi32>, memref<3xi32>,
       memref<8192x7168xbf16>) -> ()
  return
}

// A token has all rows that it has slots for.
// CHECK-LABEL: func.func @combine_by_expert(
// AUTO: kernel = #moe.kernel<blocks = 64>,
func.func @combine_by_expert(%y: memref<32768x7168xbf16>, %rows: memref<8192x4xi32>,
    %src: memref<32768xi32>, %n: memref<4xi32>, %idx: memref<8192x4xi32>,
    %out: memref<8192x7168xbf16>) {
  moe.combine %y, %rows, %src, %n topk(%idx) outs(%out) on @ep
      {layout = #moe.layout<expert_major>, num_experts = 64 : i64}
    : (memref<32768x7168xbf16>, memref<8192x4xi32>, memref<32768xi32>, memref<4xi32>,
       memref<8192x4xi32>, memref<8192x7168xbf16>) -> ()
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

// A token of 14336 bytes goes to 2.7 other ranks on average, and so the 16 blocks that have
// one are spread; one of 8192 bytes is not enough.
// CHECK-LABEL: func.func @dispatch_crowded(
// AUTO: kernel = #moe.kernel<blocks = 64, team = 16>
// SM80: kernel = #moe.kernel<blocks = 64, team = 16>
// BULK: kernel = #moe.kernel<transfer = bulk, stages = 4>
func.func @dispatch_crowded(%x: tensor<16x7168xbf16>, %idx: tensor<16x8xi32>, %w: tensor<16x8xf32>) -> tensor<64x7168xbf16> {
  %recv, %ri, %rw, %src, %to, %from, %rows = moe.dispatch %x, %idx, %w on @ep {num_experts = 64 : i64}
    : (tensor<16x7168xbf16>, tensor<16x8xi32>, tensor<16x8xf32>)
   -> (tensor<64x7168xbf16>, tensor<64x8xi32>, tensor<64x8xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return %recv : tensor<64x7168xbf16>
}

// CHECK-LABEL: func.func @dispatch_not_crowded(
// AUTO: kernel = #moe.kernel<blocks = 16, team = 16>
func.func @dispatch_not_crowded(%x: tensor<16x4096xbf16>, %idx: tensor<16x8xi32>, %w: tensor<16x8xf32>) -> tensor<64x4096xbf16> {
  %recv, %ri, %rw, %src, %to, %from, %rows = moe.dispatch %x, %idx, %w on @ep {num_experts = 64 : i64}
    : (tensor<16x4096xbf16>, tensor<16x8xi32>, tensor<16x8xf32>)
   -> (tensor<64x4096xbf16>, tensor<64x8xi32>, tensor<64x8xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return %recv : tensor<64x4096xbf16>
}

// By expert, a token of 8192 bytes goes out six times.
// CHECK-LABEL: func.func @dispatch_crowded_by_expert(
// AUTO: kernel = #moe.kernel<blocks = 64, team = 16>
func.func @dispatch_crowded_by_expert(%x: tensor<16x4096xbf16>, %idx: tensor<16x8xi32>, %w: tensor<16x8xf32>) -> tensor<512x4096xbf16> {
  %recv, %ri, %rw, %src, %to, %from, %rows, %offsets, %counts = moe.dispatch %x, %idx, %w
      on @ep {num_experts = 64 : i64, layout = #moe.layout<expert_major>}
    : (tensor<16x4096xbf16>, tensor<16x8xi32>, tensor<16x8xf32>)
   -> (tensor<512x4096xbf16>, tensor<512xi32>, tensor<512xf32>, tensor<512xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x8xi32>, tensor<16xi32>, tensor<16xi32>)
  return %recv : tensor<512x4096xbf16>
}

// The same rows once more: as many to all ranks, at most.
// CHECK-LABEL: func.func @dispatch_crowded_again(
// AUTO: kernel = #moe.kernel<blocks = 64, team = 16>
func.func @dispatch_crowded_again(%x: memref<16x7168xbf16>, %rows: memref<16x4xi32>,
    %recv: memref<64x7168xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 64 : i64}
    : (memref<16x7168xbf16>, memref<16x4xi32>, memref<64x7168xbf16>) -> ()
  return
}

// Nothing leaves a rank that is alone.
// CHECK-LABEL: func.func @dispatch_one_rank(
// AUTO: kernel = #moe.kernel<blocks = 16, team = 16>
func.func @dispatch_one_rank(%x: memref<16x14336xbf16>, %rows: memref<16x1xi32>,
    %recv: memref<16x14336xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep1 {num_experts = 64 : i64}
    : (memref<16x14336xbf16>, memref<16x1xi32>, memref<16x14336xbf16>) -> ()
  return
}

// There is no room to spread 34 blocks.
// CHECK-LABEL: func.func @dispatch_34_tokens(
// AUTO: kernel = #moe.kernel<blocks = 34, team = 16>
func.func @dispatch_34_tokens(%x: memref<34x7168xbf16>, %rows: memref<34x4xi32>,
    %recv: memref<136x7168xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 64 : i64}
    : (memref<34x7168xbf16>, memref<34x4xi32>, memref<136x7168xbf16>) -> ()
  return
}

// 1024 subgroups share 480 tokens, two each, so that 60 blocks have one.
// CHECK-LABEL: func.func @combine_few(
// AUTO: kernel = #moe.kernel<blocks = 60, team = 2>
// BULK: kernel = #moe.kernel<blocks = 64, transfer = bulk, stages = 4>
func.func @combine_few(%y: memref<1920x7168xbf16>, %rows: memref<480x4xi32>,
    %src: memref<1920xi32>, %n: memref<4xi32>, %out: memref<480x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<1920x7168xbf16>, memref<480x4xi32>, memref<1920xi32>, memref<4xi32>,
       memref<480x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @combine_256_tokens(
func.func @combine_256_tokens(%y: memref<1024x7168xbf16>, %rows: memref<256x4xi32>,
    %src: memref<1024xi32>, %n: memref<4xi32>, %out: memref<256x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<1024x7168xbf16>, memref<256x4xi32>, memref<1024xi32>, memref<4xi32>,
       memref<256x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @combine_128_tokens(
func.func @combine_128_tokens(%y: memref<1024x2048xbf16>, %rows: memref<128x8xi32>,
    %src: memref<1024xi32>, %n: memref<8xi32>, %out: memref<128x2048xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep8 {num_experts = 64 : i64}
    : (memref<1024x2048xbf16>, memref<128x8xi32>, memref<1024xi32>, memref<8xi32>,
       memref<128x2048xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @combine_512_tokens(
func.func @combine_512_tokens(%y: memref<2048x7168xbf16>, %rows: memref<512x4xi32>,
    %src: memref<2048xi32>, %n: memref<4xi32>, %out: memref<512x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<2048x7168xbf16>, memref<512x4xi32>, memref<2048xi32>, memref<4xi32>,
       memref<512x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @combine_4095_tokens(
func.func @combine_4095_tokens(%y: memref<16380x7168xbf16>, %rows: memref<4095x4xi32>,
    %src: memref<16380xi32>, %n: memref<4xi32>, %out: memref<4095x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<16380x7168xbf16>, memref<4095x4xi32>, memref<16380xi32>, memref<4xi32>,
       memref<4095x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @combine_4096_tokens(
func.func @combine_4096_tokens(%y: memref<16384x7168xbf16>, %rows: memref<4096x4xi32>,
    %src: memref<16384xi32>, %n: memref<4xi32>, %out: memref<4096x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<16384x7168xbf16>, memref<4096x4xi32>, memref<16384xi32>, memref<4xi32>,
       memref<4096x7168xbf16>) -> ()
  return
}

// Shorter rows, more stages: six tokens of 32 KiB have room, and two for each of three
// teams is what they make.
// CHECK-LABEL: func.func @combine_short_rows(
func.func @combine_short_rows(%y: memref<32768x4096xbf16>, %rows: memref<8192x4xi32>,
    %src: memref<32768xi32>, %n: memref<4xi32>, %out: memref<8192x4096xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<32768x4096xbf16>, memref<8192x4xi32>, memref<32768xi32>, memref<4xi32>,
       memref<8192x4096xbf16>) -> ()
  return
}

// Tokens of 8 KiB: 26 have room, 24 of them for three teams or 25 for five; on 32 blocks
// 16 are enough, which makes 15 for either, and on 63 two for each team are.
// CHECK-LABEL: func.func @combine_shorter_rows(
func.func @combine_shorter_rows(%y: memref<32768x1024xbf16>, %rows: memref<8192x4xi32>,
    %src: memref<32768xi32>, %n: memref<4xi32>, %out: memref<8192x1024xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<32768x1024xbf16>, memref<8192x4xi32>, memref<32768xi32>, memref<4xi32>,
       memref<8192x1024xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @combine_odd_rows(
// AUTO: kernel = #moe.kernel<blocks = 64>,
func.func @combine_odd_rows(%y: memref<16384x7xbf16>, %rows: memref<4096x4xi32>,
    %src: memref<16384xi32>, %n: memref<4xi32>, %out: memref<4096x7xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 64 : i64}
    : (memref<16384x7xbf16>, memref<4096x4xi32>, memref<16384xi32>, memref<4xi32>,
       memref<4096x7xbf16>) -> ()
  return
}

// A lane looks up one slot.
// CHECK-LABEL: func.func @combine_many_slots(
// AUTO: kernel = #moe.kernel<blocks = 64>,
// BULK: kernel = #moe.kernel<blocks = 64, team = 2>,
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
