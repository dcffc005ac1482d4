// Rows without their sum (combine_s7): each slot of a token has its row, or zeros.
//
// RUN: moe-opt %s --convert-moe-to-symm --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @rank_major
// CHECK-SAME: (%[[Y:[a-z0-9]+]]: memref<64x8xbf16, #symm.space>, %[[ROWS:[a-z0-9]+]]: memref<?x4xi32>, %{{.*}}: memref<64xi32>, %{{.*}}: memref<4xi32>, %[[OUT:[a-z0-9]+]]: memref<?x4x8xbf16>)
// CHECK-DAG: %[[ZERO:[-a-z0-9_]+]] = arith.constant 0.000000e+00 : bf16
// CHECK: symm.check %{{.*}}, invalid_argument, "rows of out, one for each token"
// CHECK: symm.barrier
// CHECK: symm.phase "reduce"
// CHECK: scf.for %[[TOKEN:[a-z0-9]+]] =
// CHECK-NEXT: scf.for %[[SLOT:[a-z0-9]+]] = %c0 to %c4 step %c1
// The error of a bad row names the token and the slot (combine_s5).
// CHECK-NEXT: memref.load %[[ROWS]][%[[TOKEN]], %[[SLOT]]]
// CHECK: symm.check %{{.*}}, invalid_count, "send_row" {{.*}} token %[[TOKEN]] slot %[[SLOT]]
// CHECK: %[[PEER_THERE:.*]] = symm.peer %[[Y]] at
// CHECK: %[[BITS:.*]] = memref.load %[[PEER_THERE]][
// CHECK-NEXT: memref.store %[[BITS]], %[[OUT]][%[[TOKEN]], %[[SLOT]], %
// CHECK: memref.store %[[ZERO]], %[[OUT]][%[[TOKEN]], %[[SLOT]], %
// CHECK: symm.phase "release"
// CHECK: symm.barrier
func.func @rank_major(%y: memref<64x8xbf16, #symm.space>,
    %rows: memref<?x4xi32>, %src: memref<64xi32>, %n: memref<4xi32>,
    %out: memref<?x4x8xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64,
      max_tokens = 16 : i64, algorithm = #moe.algorithm<pull>,
      reduce = #moe.reduce<none>}
    : (memref<64x8xbf16, #symm.space>, memref<?x4xi32>, memref<64xi32>,
       memref<4xi32>, memref<?x4x8xbf16>) -> ()
  return
}

// The expert of a slot says which rank has its row, and an id that names none has no row. A
// weight is multiplied in f32 and the product rounded once.
// CHECK-LABEL: func.func @expert_major
// CHECK-SAME: %[[ROWS:[a-z0-9]+]]: memref<16x3xi32>, %{{.*}}: memref<64xi32>, %{{.*}}: memref<4xi32>, %[[IDX:[a-z0-9]+]]: memref<16x3xi64>, %[[W:[a-z0-9]+]]: memref<64xf32, #symm.space>, %[[OUT:[a-z0-9]+]]: memref<16x3x8xf16>)
// CHECK: scf.for %[[SLOT:[a-z0-9]+]] = %c0 to %c3 step %c1
// CHECK: memref.load %[[ROWS]][%[[TOKEN:[a-z0-9]+]], %[[SLOT]]]
// CHECK: memref.load %[[IDX]][%[[TOKEN]], %[[SLOT]]]
// CHECK-NEXT: %[[EXPERT:.*]] = arith.index_cast
// CHECK-NEXT: arith.cmpi ult, %[[EXPERT]], %c8
// CHECK: symm.peer %[[W]] at
// CHECK: arith.extf %{{.*}} : f16 to f32
// CHECK-NEXT: arith.mulf
// CHECK: arith.truncf %{{.*}} : f32 to f16
// CHECK-NEXT: memref.store %{{.*}}, %[[OUT]][%[[TOKEN]], %[[SLOT]], %
func.func @expert_major(%y: memref<64x8xf16, #symm.space>,
    %rows: memref<16x3xi32>, %src: memref<64xi32>, %n: memref<4xi32>,
    %idx: memref<16x3xi64>, %w: memref<64xf32, #symm.space>,
    %out: memref<16x3x8xf16>) {
  moe.combine %y, %rows, %src, %n topk(%idx) weights(%w) outs(%out) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>,
      reduce = #moe.reduce<none>}
    : (memref<64x8xf16, #symm.space>, memref<16x3xi32>, memref<64xi32>,
       memref<4xi32>, memref<16x3xi64>, memref<64xf32, #symm.space>,
       memref<16x3x8xf16>) -> ()
  return
}

// CHECK-LABEL: func.func @deferred
// CHECK: symm.phase "reduce"
// CHECK-NOT: symm.barrier
// CHECK: symm.collective_end
func.func @deferred(%y: memref<6x4xf32, #symm.space>, %rows: memref<3x4xi32>,
    %src: memref<6xi32>, %n: memref<4xi32>, %out: memref<3x4x4xf32>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {
      defer_release, num_experts = 4 : i64, reduce = #moe.reduce<none>}
    : (memref<6x4xf32, #symm.space>, memref<3x4xi32>, memref<6xi32>,
       memref<4xi32>, memref<3x4x4xf32>) -> ()
  return
}
