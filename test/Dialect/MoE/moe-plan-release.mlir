// defer_release stays in every layout, and moe-plan says what becomes of it (combine_s6).
//
// RUN: moe-opt %s --moe-plan --remarks-filter=moe-plan > %t.host 2>&1
// RUN: FileCheck %s < %t.host
// RUN: FileCheck %s --check-prefix=WHY < %t.host
// RUN: moe-opt %s --moe-plan=target=cuda --remarks-filter=moe-plan > %t.cuda 2>&1
// RUN: FileCheck %s < %t.cuda
// RUN: FileCheck %s --check-prefix=WHY < %t.cuda

// WHY: remark: [Passed] release{{.*}}Function=rank_major {{.*}}combine ends without telling the ranks that their rows have been read
// WHY: remark: [Passed] release{{.*}}Function=slab {{.*}}combine ends without telling the ranks that their rows have been read
// WHY: remark: [Passed] release{{.*}}Function=expert_major {{.*}}combine ends without telling the ranks that their rows have been read
// WHY: remark: [Missed] release{{.*}}Function=push_rank_major {{.*}}combine has nothing to put off: it pushes, so that no rank reads the rows of another one, and ends when no row is on its way
// WHY: remark: [Missed] release{{.*}}Function=push_slab {{.*}}combine has nothing to put off: it pushes, so that no rank reads the rows of another one, and ends when no row is on its way

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @rank_major(
// CHECK: algorithm = #moe.algorithm<pull>, defer_release
func.func @rank_major(%y: memref<64x4xf32>, %rows: memref<16x4xi32>, %src: memref<64xi32>,
    %n: memref<4xi32>, %out: memref<16x4xf32>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {defer_release, num_experts = 8 : i64}
    : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>, memref<16x4xf32>) -> ()
  return
}

// CHECK-LABEL: func.func @slab(
// CHECK: algorithm = #moe.algorithm<pull>, defer_release
func.func @slab(%y: memref<64x4xf32>, %rows: memref<16x4xi32>, %src: memref<64xi32>,
    %n: memref<4xi32>, %out: memref<16x4xf32>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {defer_release, layout = #moe.layout<slab>, num_experts = 8 : i64}
    : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>, memref<16x4xf32>) -> ()
  return
}

// CHECK-LABEL: func.func @expert_major(
// CHECK: algorithm = #moe.algorithm<pull>, defer_release
func.func @expert_major(%y: memref<64x4xf32>, %rows: memref<16x3xi32>, %src: memref<64xi32>,
    %n: memref<4xi32>, %idx: memref<16x3xi32>, %w: memref<64xf32>, %out: memref<16x4xf32>) {
  moe.combine %y, %rows, %src, %n topk(%idx) weights(%w) outs(%out) on @ep {defer_release, layout = #moe.layout<expert_major>, num_experts = 8 : i64}
    : (memref<64x4xf32>, memref<16x3xi32>, memref<64xi32>, memref<4xi32>, memref<16x3xi32>, memref<64xf32>, memref<16x4xf32>) -> ()
  return
}

// CHECK-LABEL: func.func @push_rank_major(
// CHECK: algorithm = #moe.algorithm<push>, defer_release
func.func @push_rank_major(%y: memref<64x4xf32>, %rows: memref<16x4xi32>, %src: memref<64xi32>,
    %n: memref<4xi32>, %out: memref<16x4xf32>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {defer_release, algorithm = #moe.algorithm<push>, num_experts = 8 : i64}
    : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>, memref<16x4xf32>) -> ()
  return
}

// CHECK-LABEL: func.func @push_slab(
// CHECK: algorithm = #moe.algorithm<push>, defer_release
func.func @push_slab(%y: memref<64x4xf32>, %rows: memref<16x4xi32>, %src: memref<64xi32>,
    %n: memref<4xi32>, %out: memref<16x4xf32>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {defer_release, algorithm = #moe.algorithm<push>, layout = #moe.layout<slab>, num_experts = 8 : i64}
    : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>, memref<16x4xf32>) -> ()
  return
}
