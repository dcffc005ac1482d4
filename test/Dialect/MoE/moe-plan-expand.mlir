// Which dispatches expand, and with which kernels: those by expert whose rows are many and long
// enough, and mostly share a rank.
//
// RUN: moe-opt %s --moe-plan="target=cuda" --remarks-filter=moe-plan > %t.auto 2>&1
// RUN: FileCheck %s --input-file=%t.auto --check-prefixes=CHECK,AUTO
// RUN: FileCheck %s --input-file=%t.auto --check-prefix=CHOICE
// RUN: moe-opt %s --moe-plan="target=cuda blocks=16" --remarks-filter=moe-plan 2>&1 | FileCheck %s --check-prefix=B16
// RUN: moe-opt %s --moe-plan="target=cuda dispatch-algorithm=expand" --remarks-filter=moe-plan > %t.expand 2>&1
// RUN: FileCheck %s --input-file=%t.expand --check-prefix=WHY
// RUN: FileCheck %s --input-file=%t.expand --check-prefixes=CHECK,EXPAND
// RUN: moe-opt %s --moe-plan="target=cuda dispatch-algorithm=direct" | FileCheck %s --check-prefixes=CHECK,DIRECT
// RUN: moe-opt %s --moe-plan="target=cuda transfer=bulk dispatch-algorithm=expand" --remarks-filter=moe-plan 2>&1 \
// RUN:   | FileCheck %s --check-prefix=BULK
// RUN: moe-opt %s --moe-plan="dispatch-algorithm=expand" --remarks-filter=moe-plan 2>&1 \
// RUN:   | FileCheck %s --check-prefix=HOST
// RUN: moe-opt %s --moe-plan="target=cuda transport=messages dispatch-algorithm=expand" --remarks-filter=moe-plan 2>&1 \
// RUN:   | FileCheck %s --check-prefix=HOST
// RUN: not moe-opt %s --moe-plan=dispatch-algorithm=shrink 2>&1 | FileCheck %s --check-prefix=INVALID

// INVALID: error: moe-plan expects 'dispatch-algorithm' to be auto, direct or expand (shrink)

// CHOICE: remark: [Passed] dispatch-algorithm{{.*}}Function=many{{.*}}dispatch uses expand: rows of 56 MiB cross on average, each to a rank once, instead of 224 MiB
// CHOICE: Function=few{{.*}}dispatch uses expand: rows of 2 MiB cross on average, each to a rank once, instead of 7 MiB
// CHOICE-NOT: dispatch-algorithm{{.*}}Function=rank_major
// CHOICE: dispatch-algorithm{{.*}}Function=apart{{.*}}dispatch uses direct: most rows of a token are on different ranks
// CHOICE: dispatch-algorithm{{.*}}Function=short{{.*}}dispatch uses direct: rows are few or short
// B16: Function=many{{.*}}dispatch uses direct: 16 blocks are too few to expand rows, which pays from 64 on

// WHY: remark: [Passed] dispatch-algorithm{{.*}}Function=many{{.*}}dispatch uses expand: asked for by 'dispatch-algorithm'
// WHY: remark: [Passed] dispatch-algorithm{{.*}}Function=few{{.*}}dispatch uses expand: asked for by 'dispatch-algorithm'
// WHY: remark: [Missed] dispatch-algorithm{{.*}}Function=rank_major{{.*}}dispatch puts each row by itself: only an expert_major layout has several rows of a token on a rank
// WHY: remark: [Missed] dispatch-algorithm{{.*}}Function=alone{{.*}}dispatch puts each row by itself: one rank has no rows from others
// WHY: Function=apart{{.*}}dispatch uses expand: asked for by 'dispatch-algorithm'
// WHY: Function=short{{.*}}dispatch uses expand: asked for by 'dispatch-algorithm'
// WHY-NOT: dispatch-algorithm

// BULK: remark: [Missed] dispatch-algorithm{{.*}}Function=many{{.*}}bulk copies are asked for, and rows that expand have no form with them
// BULK: remark: [Missed] kernel{{.*}}Function=has_one{{.*}}dispatch has rows that move by stores, not bulk copies: it has no form with bulk copies
// BULK-LABEL: func.func @many
// BULK: transfer = bulk

// HOST: remark: [Missed] dispatch-algorithm{{.*}}Function=many{{.*}}only kernels that reach each other's memory expand rows
// HOST-LABEL: func.func @many
// HOST-NOT: dispatch_algorithm
// HOST-LABEL: func.func @few

shard.grid @ep(shape = 2)
shard.grid @one(shape = 1)
shard.grid @eight(shape = 8)

// Half of the subgroups put, in shares that fill what a subgroup holds.
// CHECK-LABEL: func.func @many
// AUTO: algorithm = #moe.dispatch_algorithm<expand>, kernel = #moe.kernel<team = 4>, layout
// DIRECT: algorithm = #moe.dispatch_algorithm<direct>, kernel = #moe.kernel<>, layout
// EXPAND: algorithm = #moe.dispatch_algorithm<expand>, kernel = #moe.kernel<team = 4>, layout
func.func @many(%x: tensor<4096x7168xbf16>, %idx: tensor<4096x8xi32>,
                %w: tensor<4096x8xf32>) {
  %r:9 = moe.dispatch %x, %idx, %w on @ep {num_experts = 256 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<4096x7168xbf16>, tensor<4096x8xi32>, tensor<4096x8xf32>)
   -> (tensor<65536x7168xbf16>, tensor<65536xi32>, tensor<65536xf32>,
       tensor<65536xi32>, tensor<2xi32>, tensor<2xi32>, tensor<4096x8xi32>,
       tensor<128xi32>, tensor<128xi32>)
  return
}

// CHECK-LABEL: func.func @few
// EXPAND: algorithm = #moe.dispatch_algorithm<expand>, kernel = #moe.kernel<blocks = 128, team = 16>, layout
func.func @few(%x: tensor<128x7168xbf16>, %idx: tensor<128x8xi32>,
               %w: tensor<128x8xf32>) {
  %r:9 = moe.dispatch %x, %idx, %w on @ep {num_experts = 256 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<128x7168xbf16>, tensor<128x8xi32>, tensor<128x8xf32>)
   -> (tensor<2048x7168xbf16>, tensor<2048xi32>, tensor<2048xf32>,
       tensor<2048xi32>, tensor<2xi32>, tensor<2xi32>, tensor<128x8xi32>,
       tensor<128xi32>, tensor<128xi32>)
  return
}

// CHECK-LABEL: func.func @rank_major
// CHECK-NOT: dispatch_algorithm<expand>
// CHECK-LABEL: func.func @alone
func.func @rank_major(%x: tensor<16x64xbf16>, %idx: tensor<16x2xi32>,
                      %w: tensor<16x2xf32>) {
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x64xbf16>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<32x64xbf16>, tensor<32x2xi32>, tensor<32x2xf32>, tensor<32xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<16x2xi32>)
  return
}

func.func @alone(%x: tensor<16x64xbf16>, %idx: tensor<16x2xi32>,
                 %w: tensor<16x2xf32>) {
  %r:9 = moe.dispatch %x, %idx, %w on @one {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<16x64xbf16>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<32x64xbf16>, tensor<32xi32>, tensor<32xf32>, tensor<32xi32>,
       tensor<1xi32>, tensor<1xi32>, tensor<16x2xi32>, tensor<8xi32>,
       tensor<8xi32>)
  return
}

// CHECK-LABEL: func.func @apart
// AUTO: algorithm = #moe.dispatch_algorithm<direct>
func.func @apart(%x: tensor<4096x7168xbf16>, %idx: tensor<4096x2xi32>,
                 %w: tensor<4096x2xf32>) {
  %r:9 = moe.dispatch %x, %idx, %w on @eight {num_experts = 64 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<4096x7168xbf16>, tensor<4096x2xi32>, tensor<4096x2xf32>)
   -> (tensor<65536x7168xbf16>, tensor<65536xi32>, tensor<65536xf32>,
       tensor<65536xi32>, tensor<8xi32>, tensor<8xi32>, tensor<4096x2xi32>,
       tensor<8xi32>, tensor<8xi32>)
  return
}

// CHECK-LABEL: func.func @short
// AUTO: algorithm = #moe.dispatch_algorithm<direct>
func.func @short(%x: tensor<4096x448xbf16>, %idx: tensor<4096x8xi32>,
                 %w: tensor<4096x8xf32>) {
  %r:9 = moe.dispatch %x, %idx, %w on @ep {num_experts = 256 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<4096x448xbf16>, tensor<4096x8xi32>, tensor<4096x8xf32>)
   -> (tensor<65536x448xbf16>, tensor<65536xi32>, tensor<65536xf32>,
       tensor<65536xi32>, tensor<2xi32>, tensor<2xi32>, tensor<4096x8xi32>,
       tensor<128xi32>, tensor<128xi32>)
  return
}

// What an op has stays.
// CHECK-LABEL: func.func @has_one
// CHECK: moe.dispatch {{.*}} {algorithm = #moe.dispatch_algorithm<expand>, kernel
func.func @has_one(%x: tensor<16x64xbf16>, %idx: tensor<16x2xi32>,
                   %w: tensor<16x2xf32>) {
  %r:9 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>,
      algorithm = #moe.dispatch_algorithm<expand>}
    : (tensor<16x64xbf16>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x64xbf16>, tensor<64xi32>, tensor<64xf32>, tensor<64xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<16x2xi32>, tensor<4xi32>,
       tensor<4xi32>)
  return
}
