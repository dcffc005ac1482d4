// RUN: moe-opt %s --moe-plan --remarks-filter=moe-plan 2>&1 \
// RUN:   | FileCheck %s --check-prefixes=CHECK,AUTO
// RUN: moe-opt %s --moe-plan=combine-algorithm=pull --remarks-filter=moe-plan 2>&1 \
// RUN:   | FileCheck %s --check-prefixes=CHECK,PULL
// RUN: moe-opt %s --moe-plan=combine-algorithm=push --remarks-filter=moe-plan 2>&1 \
// RUN:   | FileCheck %s --check-prefixes=CHECK,PUSH
// RUN: moe-opt %s --moe-plan | FileCheck %s --check-prefix=QUIET --implicit-check-not=remark:
// RUN: not moe-opt %s --moe-plan=combine-algorithm=pul 2>&1 \
// RUN:   | FileCheck %s --check-prefix=INVALID

// INVALID: error: moe-plan expects 'combine-algorithm' to be auto, pull or push (pul)

// Without a filter the choice is made without a word.
// QUIET: algorithm = #moe.algorithm<pull>

// AUTO: remark: [Passed] combine-algorithm{{.*}}Function=combine{{.*}}combine uses pull: rows are read once, where they lie, and need no slots
// AUTO: remark: [Passed] combine-algorithm{{.*}}Function=combine_expert_major{{.*}}combine uses pull: rows are read once
// AUTO: remark: [Passed] combine-algorithm{{.*}}Function=combine_rows{{.*}}combine uses pull: rows are read once
// AUTO-NOT: remark:
// PULL: remark: [Passed] combine-algorithm{{.*}}Function=combine{{.*}}combine uses pull: asked for by 'combine-algorithm'
// PULL: remark: [Passed] combine-algorithm{{.*}}Function=combine_expert_major{{.*}}combine uses pull: asked for
// PULL: remark: [Passed] combine-algorithm{{.*}}Function=combine_rows{{.*}}combine uses pull: asked for
// PULL-NOT: remark:
// PUSH: remark: [Passed] combine-algorithm{{.*}}Function=combine{{.*}}combine uses push: asked for by 'combine-algorithm'
// PUSH: remark: [Passed] combine-algorithm{{.*}}Function=combine_expert_major{{.*}}combine uses push: asked for by 'combine-algorithm'
// PUSH: remark: [Missed] combine-algorithm{{.*}}Function=combine_rows{{.*}}combine pulls: rows that are not added up need no slots
// PUSH-NOT: remark:

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @combine(
// AUTO: moe.combine {{.*}} {algorithm = #moe.algorithm<pull>, num_experts = 8 : i64}
// PULL: moe.combine {{.*}} {algorithm = #moe.algorithm<pull>, num_experts = 8 : i64}
// PUSH: moe.combine {{.*}} {algorithm = #moe.algorithm<push>, num_experts = 8 : i64}
func.func @combine(%y: memref<64x4xf32>, %rows: memref<16x4xi32>,
                   %src: memref<64xi32>, %n: memref<4xi32>,
                   %out: memref<16x4xf32>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64}
    : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x4xf32>) -> ()
  return
}

// CHECK-LABEL: func.func @combine_expert_major
// AUTO: moe.combine {{.*}} {algorithm = #moe.algorithm<pull>, layout = #moe.layout<expert_major>, num_experts = 8 : i64}
// PULL: moe.combine {{.*}} {algorithm = #moe.algorithm<pull>, layout = #moe.layout<expert_major>, num_experts = 8 : i64}
// PUSH: moe.combine {{.*}} {algorithm = #moe.algorithm<push>, layout = #moe.layout<expert_major>, num_experts = 8 : i64}
func.func @combine_expert_major(
    %y: memref<64x4xf32>, %rows: memref<16x3xi32>, %src: memref<64xi32>,
    %n: memref<4xi32>, %idx: memref<16x3xi32>, %out: memref<16x4xf32>) {
  moe.combine %y, %rows, %src, %n topk(%idx) outs(%out) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (memref<64x4xf32>, memref<16x3xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x3xi32>, memref<16x4xf32>) -> ()
  return
}

// Nothing is added up in slots.
// CHECK-LABEL: func.func @combine_rows
// CHECK: moe.combine {{.*}} {algorithm = #moe.algorithm<pull>, num_experts = 8 : i64, reduce = #moe.reduce<none>}
func.func @combine_rows(%y: memref<64x4xf32>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %out: memref<16x4x4xf32>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64,
      reduce = #moe.reduce<none>}
    : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x4x4xf32>) -> ()
  return
}

// What is planned already stays.
// CHECK-LABEL: func.func @planned
// CHECK: moe.combine {{.*}} {algorithm = #moe.algorithm<push>, num_experts = 8 : i64}
// CHECK: moe.combine {{.*}} {algorithm = #moe.algorithm<pull>, num_experts = 8 : i64}
func.func @planned(%y: memref<64x4xf32>, %rows: memref<16x4xi32>,
                   %src: memref<64xi32>, %n: memref<4xi32>,
                   %out: memref<16x4xf32>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {
      num_experts = 8 : i64, algorithm = #moe.algorithm<push>}
    : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x4xf32>) -> ()
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {
      num_experts = 8 : i64, algorithm = #moe.algorithm<pull>}
    : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x4xf32>) -> ()
  return
}
