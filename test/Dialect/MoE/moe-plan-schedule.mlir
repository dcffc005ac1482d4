// How long messages are: room for all rows where that costs little, on devices.
//
// RUN: moe-opt %s --moe-plan="transport=messages target=cuda" --remarks-filter=moe-plan > %t.auto 2>&1
// RUN: FileCheck %s < %t.auto
// RUN: FileCheck %s --check-prefix=WHY < %t.auto
// RUN: moe-opt %s --moe-plan="transport=messages" --remarks-filter=moe-plan 2>&1 | FileCheck %s --check-prefix=HOST
// RUN: moe-opt %s --moe-plan="transport=messages target=cuda schedule=exact" --remarks-filter=moe-plan 2>&1 | FileCheck %s --check-prefix=EXACT
// RUN: moe-opt %s --moe-plan="transport=messages schedule=padded" | FileCheck %s --check-prefix=PADDED
// RUN: moe-opt %s --moe-plan="target=cuda" | FileCheck %s --check-prefix=DIRECT
// RUN: not moe-opt %s --moe-plan=schedule=tight 2>&1 | FileCheck %s --check-prefix=TIGHT
// RUN: not moe-opt %s --moe-plan=transport=mail 2>&1 | FileCheck %s --check-prefix=MAIL
// TIGHT: error: moe-plan expects 'schedule' to be auto, exact or padded (tight)
// MAIL: error: moe-plan expects 'transport' to be direct or messages (mail)

// WHY: remark: [Passed] schedule{{.*}}Function=few{{.*}}dispatch has padded messages: room for all rows that may come is about 108 KiB more than those expected, at most what a CPU that reads counts costs
// WHY: Function=few{{.*}}combine has padded messages: room for all rows that may come is about 108 KiB
// WHY: Function=many{{.*}}dispatch has exact messages: room for all rows that may come is about 3456 KiB more than those expected, more than what a CPU that reads counts costs
// WHY: Function=elsewhere{{.*}}combine has padded messages: room for all rows that may come is about 192 KiB
// WHY: Function=kept{{.*}}combine has exact messages: blocks of rows are kept for exact messages
// WHY: Function=blocks{{.*}}alltoallv has padded messages: room for all rows that may come is about 108 KiB
// WHY-NOT: Function=own{{.*}}messages
// HOST: Function=few{{.*}}dispatch has exact messages: the CPU that sends rows has counted them
// EXACT: Function=few{{.*}}dispatch has exact messages: asked for by 'schedule'

shard.grid @ep(shape = 4)

// A token of 2 of 8 experts has a row on 1 - (3/4)^2 of the ranks. A combine
// learns that from its dispatch.
// CHECK-LABEL: func.func @few
// CHECK: moe.dispatch {{.*}}schedule = #moe.schedule<padded>
// CHECK: moe.combine {{.*}}schedule = #moe.schedule<padded>
// HOST-LABEL: func.func @few
// HOST: moe.dispatch {{.*}}schedule = #moe.schedule<exact>
// EXACT-LABEL: func.func @few
// EXACT: moe.dispatch {{.*}}schedule = #moe.schedule<exact>
// PADDED-LABEL: func.func @few
// PADDED: moe.dispatch {{.*}}schedule = #moe.schedule<padded>
// PADDED: moe.combine {{.*}}schedule = #moe.schedule<padded>
// DIRECT-LABEL: func.func @few
// DIRECT-NOT: #moe.schedule
func.func @few(%x: memref<16x1024xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<64x1024xf32>,
    %recv_idx: memref<64x2xi32>, %recv_w: memref<64x2xf32>,
    %src: memref<64xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>, %out: memref<16x1024xf32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 8 : i64}
    : (memref<16x1024xf32>, memref<16x2xi32>, memref<16x2xf32>,
       memref<64x1024xf32>, memref<64x2xi32>, memref<64x2xf32>, memref<64xi32>,
       memref<4xi32>, memref<4xi32>, memref<16x4xi32>) -> ()
  moe.combine %recv_x, %rows, %src, %from outs(%out) on @ep
      {num_experts = 8 : i64}
    : (memref<64x1024xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x1024xf32>) -> ()
  return
}

// CHECK-LABEL: func.func @many
// CHECK: moe.dispatch {{.*}}schedule = #moe.schedule<exact>
func.func @many(%x: memref<512x1024xf32>, %idx: memref<512x2xi32>,
    %w: memref<512x2xf32>, %recv_x: memref<2048x1024xf32>,
    %recv_idx: memref<2048x2xi32>, %recv_w: memref<2048x2xf32>,
    %src: memref<2048xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<512x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 8 : i64}
    : (memref<512x1024xf32>, memref<512x2xi32>, memref<512x2xf32>,
       memref<2048x1024xf32>, memref<2048x2xi32>, memref<2048x2xf32>,
       memref<2048xi32>, memref<4xi32>, memref<4xi32>, memref<512x4xi32>) -> ()
  return
}

// Where the dispatch is not in sight, half of the room is expected to be used.
// CHECK-LABEL: func.func @elsewhere
// CHECK: moe.combine {{.*}}schedule = #moe.schedule<padded>
func.func @elsewhere(%y: memref<64x2048xf32>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %from: memref<4xi32>, %out: memref<16x2048xf32>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep {num_experts = 8 : i64}
    : (memref<64x2048xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x2048xf32>) -> ()
  return
}

// Few rows, whose blocks are known.
// CHECK-LABEL: func.func @kept
// CHECK: moe.combine {{.*}}schedule = #moe.schedule<exact>
// PADDED-LABEL: func.func @kept
// PADDED: moe.combine {{.*}}schedule = #moe.schedule<padded>
func.func @kept(%y: memref<64x16xf32>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %from: memref<4xi32>, %b: memref<2x4x1x2xi32>,
    %n: memref<4x4xi32>, %out: memref<16x16xf32>) {
  moe.combine %y, %rows, %src, %from blocks(%b, %n) outs(%out) on @ep {num_experts = 8 : i64}
    : (memref<64x16xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<2x4x1x2xi32>, memref<4x4xi32>, memref<16x16xf32>) -> ()
  return
}

// All rows may go to one rank, of those that fit there.
// CHECK-LABEL: func.func @blocks
// CHECK: moe.alltoallv {{.*}}schedule = #moe.schedule<padded>
func.func @blocks(%send: memref<16x1024xf32>, %counts: memref<4xi32>,
    %recv: memref<12x1024xf32>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
    : (memref<16x1024xf32>, memref<4xi32>, memref<12x1024xf32>, memref<4xi32>)
      -> ()
  return
}

// An op keeps what it says itself.
// CHECK-LABEL: func.func @own
// CHECK: moe.alltoallv {{.*}}schedule = #moe.schedule<exact>
// DIRECT-LABEL: func.func @own
// PADDED-LABEL: func.func @own
// PADDED: moe.alltoallv {{.*}}schedule = #moe.schedule<exact>
func.func @own(%send: memref<16x8xf32>, %counts: memref<4xi32>,
    %recv: memref<64x8xf32>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
      {schedule = #moe.schedule<exact>}
    : (memref<16x8xf32>, memref<4xi32>, memref<64x8xf32>, memref<4xi32>) -> ()
  return
}
