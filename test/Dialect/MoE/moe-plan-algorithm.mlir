// When a combine pushes: where many bytes leave each rank; where sums of
// rows are much less than rows; and where rows would be copied first. It then runs on all
// multiprocessors.
//
// RUN: moe-opt %s --moe-plan=target=cuda --remarks-filter=moe-plan > %t.auto 2>&1
// RUN: FileCheck %s --check-prefixes=CHECK,AUTO < %t.auto
// RUN: FileCheck %s --check-prefix=WHY < %t.auto
// RUN: moe-opt %s --moe-plan="target=cuda combine-algorithm=pull" --remarks-filter=moe-plan > %t.pull 2>&1
// RUN: FileCheck %s --check-prefixes=CHECK,PULL < %t.pull
// RUN: FileCheck %s --check-prefix=WHYPULL < %t.pull
// RUN: moe-opt %s --moe-plan | FileCheck %s --check-prefixes=CHECK,PULL
// RUN: moe-opt %s --moe-plan="target=cuda blocks=63" --remarks-filter=moe-plan > %t.b63 2>&1
// RUN: FileCheck %s --check-prefixes=CHECK,PULL < %t.b63
// RUN: FileCheck %s --check-prefix=WHYB63 < %t.b63
// RUN: moe-opt %s --moe-plan="target=cuda blocks=64" | FileCheck %s --check-prefix=B64
// RUN: moe-opt %s --moe-plan="target=cuda transfer=bulk" --remarks-filter=moe-plan > %t.bulk 2>&1
// RUN: FileCheck %s --check-prefixes=CHECK,PULL < %t.bulk
// RUN: FileCheck %s --check-prefix=WHYBULK < %t.bulk
// RUN: moe-opt %s --moe-plan="target=cuda transfer=stores" | FileCheck %s --check-prefix=B64

// WHY: remark: [Passed] combine-algorithm{{.*}}Function=least{{.*}}combine uses push: up to 160 MiB leave a rank, and from 160 MiB on stores over the links gain more than slots cost
// WHY: remark: [Passed] combine-algorithm{{.*}}Function=one_token_less{{.*}}combine uses pull: rows are read once, where they lie, and need no slots
// WHY: Function=short_rows{{.*}}combine uses pull: rows are read once
// WHY: Function=long_rows{{.*}}combine uses push: up to 168 MiB leave a rank
// WHY: Function=slab{{.*}}combine uses push
// WHY: Function=two_ranks{{.*}}combine uses push: up to 112 MiB leave a rank, and from 96 MiB on stores
// WHY: Function=two_ranks_with_fewer{{.*}}combine uses pull: rows are read once
// WHY: Function=three_ranks{{.*}}combine uses push
// WHY: Function=dynamic{{.*}}combine uses push
// WHY: Function=by_expert{{.*}}combine uses pull: rows are read once, where they lie
// WHY: Function=sums{{.*}}combine uses push: sums of 112 MiB cross on average where rows of 224 MiB would, and from 24 MiB on that gains more than slots cost
// WHY: Function=rounded_sums{{.*}}combine uses push: sums of 56 MiB cross on average where rows of 224 MiB would
// WHY: Function=few_sums{{.*}}combine uses pull: rows are read once
// WHY: Function=copied{{.*}}combine uses push: up to 42 MiB leave a rank, which would be copied to symmetric memory to be pulled, and from 40 MiB on slots cost less
// WHY: Function=copied_less{{.*}}combine uses pull: rows are read once
// WHY: Function=not_added{{.*}}combine uses pull: rows that are not added up need no slots
// WHY: Function=few_blocks{{.*}}combine uses pull: 16 blocks are too few to push, which pays from 64 on
// WHY: Function=bulk{{.*}}combine uses pull: bulk copies are asked for, and a push has no form with them
// WHY: Function=many_tokens{{.*}}combine uses pull: 8388608 tokens have more rows than can be shared out
// WHY: remark: [Passed] kernel{{.*}}Function=least{{.*}}combine moves rows by stores: it has no form with bulk copies (132 blocks of 512 threads, team 1)
// WHYPULL: Function=least{{.*}}combine uses pull: asked for by 'combine-algorithm'
// WHYB63: Function=least{{.*}}combine uses pull: 63 blocks are too few to push, which pays from 64 on
// WHYBULK: Function=least{{.*}}combine uses pull: bulk copies are asked for, and a push has no form with them

shard.grid @ep(shape = 4)
shard.grid @ep2(shape = 2)
shard.grid @ep3(shape = 3)

// 3901 tokens are the first whose rows make 160 MiB on their way to three ranks.
// CHECK-LABEL: func.func @least(
// AUTO: algorithm = #moe.algorithm<push>, kernel = #moe.kernel<>
// PULL: algorithm = #moe.algorithm<pull>
// B64-LABEL: func.func @least(
// B64: algorithm = #moe.algorithm<push>
func.func @least(%y: memref<15604x7168xbf16> {moe.symmetric}, %rows: memref<3901x4xi32>,
    %src: memref<15604xi32>, %n: memref<4xi32>, %out: memref<3901x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 12288 : i64}
    : (memref<15604x7168xbf16>, memref<3901x4xi32>, memref<15604xi32>, memref<4xi32>,
       memref<3901x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @one_token_less(
// AUTO: algorithm = #moe.algorithm<pull>, kernel = #moe.kernel<blocks = 64>
// PULL: algorithm = #moe.algorithm<pull>
func.func @one_token_less(%y: memref<15600x7168xbf16> {moe.symmetric}, %rows: memref<3900x4xi32>,
    %src: memref<15600xi32>, %n: memref<4xi32>, %out: memref<3900x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 12288 : i64}
    : (memref<15600x7168xbf16>, memref<3900x4xi32>, memref<15600xi32>, memref<4xi32>,
       memref<3900x7168xbf16>) -> ()
  return
}

// It is bytes that count, not tokens.
// CHECK-LABEL: func.func @short_rows(
// AUTO: algorithm = #moe.algorithm<pull>
// PULL: algorithm = #moe.algorithm<pull>
func.func @short_rows(%y: memref<16384x4096xbf16> {moe.symmetric}, %rows: memref<4096x4xi32>,
    %src: memref<16384xi32>, %n: memref<4xi32>, %out: memref<4096x4096xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 12288 : i64}
    : (memref<16384x4096xbf16>, memref<4096x4xi32>, memref<16384xi32>, memref<4xi32>,
       memref<4096x4096xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @long_rows(
// AUTO: algorithm = #moe.algorithm<push>
// PULL: algorithm = #moe.algorithm<pull>
func.func @long_rows(%y: memref<8192x14336xbf16> {moe.symmetric}, %rows: memref<2048x4xi32>,
    %src: memref<8192xi32>, %n: memref<4xi32>, %out: memref<2048x14336xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 12288 : i64}
    : (memref<8192x14336xbf16>, memref<2048x4xi32>, memref<8192xi32>, memref<4xi32>,
       memref<2048x14336xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @slab(
// AUTO: algorithm = #moe.algorithm<push>
// PULL: algorithm = #moe.algorithm<pull>
func.func @slab(%y: memref<16384x7168xbf16> {moe.symmetric}, %rows: memref<4096x4xi32>,
    %src: memref<16384xi32>, %n: memref<4xi32>, %out: memref<4096x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {layout = #moe.layout<slab>, num_experts = 12288 : i64}
    : (memref<16384x7168xbf16>, memref<4096x4xi32>, memref<16384xi32>, memref<4xi32>,
       memref<4096x7168xbf16>) -> ()
  return
}

// Two ranks have half of the rows themselves, and so fewer bytes suffice.
// CHECK-LABEL: func.func @two_ranks(
// AUTO: algorithm = #moe.algorithm<push>
// PULL: algorithm = #moe.algorithm<pull>
func.func @two_ranks(%y: memref<16384x7168xbf16> {moe.symmetric}, %rows: memref<8192x2xi32>,
    %src: memref<16384xi32>, %n: memref<2xi32>, %out: memref<8192x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep2 {num_experts = 12288 : i64}
    : (memref<16384x7168xbf16>, memref<8192x2xi32>, memref<16384xi32>, memref<2xi32>,
       memref<8192x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @two_ranks_with_fewer(
// AUTO: algorithm = #moe.algorithm<pull>
// PULL: algorithm = #moe.algorithm<pull>
func.func @two_ranks_with_fewer(%y: memref<12288x7168xbf16> {moe.symmetric}, %rows: memref<6144x2xi32>,
    %src: memref<12288xi32>, %n: memref<2xi32>, %out: memref<6144x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep2 {num_experts = 12288 : i64}
    : (memref<12288x7168xbf16>, memref<6144x2xi32>, memref<12288xi32>, memref<2xi32>,
       memref<6144x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @three_ranks(
// AUTO: algorithm = #moe.algorithm<push>
// PULL: algorithm = #moe.algorithm<pull>
func.func @three_ranks(%y: memref<24576x7168xbf16> {moe.symmetric}, %rows: memref<8192x3xi32>,
    %src: memref<24576xi32>, %n: memref<3xi32>, %out: memref<8192x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep3 {num_experts = 12288 : i64}
    : (memref<24576x7168xbf16>, memref<8192x3xi32>, memref<24576xi32>, memref<3xi32>,
       memref<8192x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @dynamic(
// AUTO: algorithm = #moe.algorithm<push>
// PULL: algorithm = #moe.algorithm<pull>
func.func @dynamic(%y: memref<16384x7168xbf16> {moe.symmetric}, %rows: memref<?x4xi32>,
    %src: memref<16384xi32>, %n: memref<4xi32>, %out: memref<?x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {max_tokens = 4096 : i64, num_experts = 12288 : i64}
    : (memref<16384x7168xbf16>, memref<?x4xi32>, memref<16384xi32>, memref<4xi32>,
       memref<?x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @by_expert(
// AUTO: algorithm = #moe.algorithm<pull>
// PULL: algorithm = #moe.algorithm<pull>
func.func @by_expert(%y: memref<65536x7168xbf16> {moe.symmetric}, %rows: memref<8192x2xi32>,
    %src: memref<65536xi32>, %n: memref<4xi32>,
    %idx: memref<8192x2xi32>, %out: memref<8192x7168xbf16>) {
  moe.combine %y, %rows, %src, %n topk(%idx) outs(%out) on @ep {layout = #moe.layout<expert_major>, num_experts = 12288 : i64}
    : (memref<65536x7168xbf16>, memref<8192x2xi32>, memref<65536xi32>, memref<4xi32>,
       memref<8192x2xi32>, memref<8192x7168xbf16>) -> ()
  return
}

// Rows of a token on one rank are added up before they cross, where that is much less. With two
// experts per token among four ranks it is not.
// CHECK-LABEL: func.func @sums(
// AUTO: algorithm = #moe.algorithm<push>
// PULL: algorithm = #moe.algorithm<pull>
func.func @sums(%y: memref<65536x7168xbf16> {moe.symmetric}, %rows: memref<4096x8xi32>,
    %src: memref<65536xi32>, %n: memref<2xi32>,
    %idx: memref<4096x8xi32>, %out: memref<4096x7168xbf16>) {
  moe.combine %y, %rows, %src, %n topk(%idx) outs(%out) on @ep2 {layout = #moe.layout<expert_major>, num_experts = 256 : i64}
    : (memref<65536x7168xbf16>, memref<4096x8xi32>, memref<65536xi32>, memref<2xi32>,
       memref<4096x8xi32>, memref<4096x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @rounded_sums(
// AUTO: algorithm = #moe.algorithm<push>
// PULL: algorithm = #moe.algorithm<pull>
func.func @rounded_sums(%y: memref<65536x7168xbf16> {moe.symmetric}, %rows: memref<4096x8xi32>,
    %src: memref<65536xi32>, %n: memref<2xi32>,
    %idx: memref<4096x8xi32>, %out: memref<4096x7168xbf16>) {
  moe.combine %y, %rows, %src, %n topk(%idx) outs(%out) on @ep2 {layout = #moe.layout<expert_major>, num_experts = 256 : i64,
      partials = #moe.partials<element>}
    : (memref<65536x7168xbf16>, memref<4096x8xi32>, memref<65536xi32>, memref<2xi32>,
       memref<4096x8xi32>, memref<4096x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @few_sums(
// AUTO: algorithm = #moe.algorithm<pull>
// PULL: algorithm = #moe.algorithm<pull>
func.func @few_sums(%y: memref<2048x7168xbf16> {moe.symmetric}, %rows: memref<128x8xi32>,
    %src: memref<2048xi32>, %n: memref<2xi32>,
    %idx: memref<128x8xi32>, %out: memref<128x7168xbf16>) {
  moe.combine %y, %rows, %src, %n topk(%idx) outs(%out) on @ep2 {layout = #moe.layout<expert_major>, num_experts = 256 : i64}
    : (memref<2048x7168xbf16>, memref<128x8xi32>, memref<2048xi32>, memref<2xi32>,
       memref<128x8xi32>, memref<128x7168xbf16>) -> ()
  return
}

// Rows that other ranks cannot read where they are would be copied first.
// CHECK-LABEL: func.func @copied(
// AUTO: algorithm = #moe.algorithm<push>
// PULL: algorithm = #moe.algorithm<pull>
func.func @copied(%y: memref<6144x7168xbf16>, %rows: memref<3072x2xi32>,
    %src: memref<6144xi32>, %n: memref<2xi32>, %out: memref<3072x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep2 {num_experts = 12288 : i64}
    : (memref<6144x7168xbf16>, memref<3072x2xi32>, memref<6144xi32>, memref<2xi32>,
       memref<3072x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @copied_less(
// AUTO: algorithm = #moe.algorithm<pull>
// PULL: algorithm = #moe.algorithm<pull>
func.func @copied_less(%y: memref<4096x7168xbf16>, %rows: memref<2048x2xi32>,
    %src: memref<4096xi32>, %n: memref<2xi32>, %out: memref<2048x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep2 {num_experts = 12288 : i64}
    : (memref<4096x7168xbf16>, memref<2048x2xi32>, memref<4096xi32>, memref<2xi32>,
       memref<2048x7168xbf16>) -> ()
  return
}

// The kernel has a token of one row for each slot.
// CHECK-LABEL: func.func @not_added(
// AUTO: algorithm = #moe.algorithm<pull>, kernel = #moe.kernel<blocks = 64>
// PULL: algorithm = #moe.algorithm<pull>
func.func @not_added(%y: memref<32768x7168xbf16> {moe.symmetric}, %rows: memref<8192x4xi32>,
    %src: memref<32768xi32>, %n: memref<4xi32>, %out: memref<8192x4x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 12288 : i64, reduce = #moe.reduce<none>}
    : (memref<32768x7168xbf16>, memref<8192x4xi32>, memref<32768xi32>, memref<4xi32>,
       memref<8192x4x7168xbf16>) -> ()
  return
}

// A kernel that is given decides as pinned values do.
// CHECK-LABEL: func.func @few_blocks(
// AUTO: algorithm = #moe.algorithm<pull>
// PULL: algorithm = #moe.algorithm<pull>
func.func @few_blocks(%y: memref<32768x7168xbf16> {moe.symmetric}, %rows: memref<8192x4xi32>,
    %src: memref<32768xi32>, %n: memref<4xi32>, %out: memref<8192x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {kernel = #moe.kernel<blocks = 16>, num_experts = 12288 : i64}
    : (memref<32768x7168xbf16>, memref<8192x4xi32>, memref<32768xi32>, memref<4xi32>,
       memref<8192x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @bulk(
// AUTO: algorithm = #moe.algorithm<pull>
// PULL: algorithm = #moe.algorithm<pull>
func.func @bulk(%y: memref<32768x7168xbf16> {moe.symmetric}, %rows: memref<8192x4xi32>,
    %src: memref<32768xi32>, %n: memref<4xi32>, %out: memref<8192x7168xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {kernel = #moe.kernel<transfer = bulk>, num_experts = 12288 : i64}
    : (memref<32768x7168xbf16>, memref<8192x4xi32>, memref<32768xi32>, memref<4xi32>,
       memref<8192x7168xbf16>) -> ()
  return
}

// Work is handed out by numbers of 32 bits.
// CHECK-LABEL: func.func @many_tokens(
// AUTO: algorithm = #moe.algorithm<pull>
// PULL: algorithm = #moe.algorithm<pull>
func.func @many_tokens(%y: memref<33554432x64xbf16> {moe.symmetric}, %rows: memref<8388608x4xi32>,
    %src: memref<33554432xi32>, %n: memref<4xi32>, %out: memref<8388608x64xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 12288 : i64}
    : (memref<33554432x64xbf16>, memref<8388608x4xi32>, memref<33554432xi32>, memref<4xi32>,
       memref<8388608x64xbf16>) -> ()
  return
}
