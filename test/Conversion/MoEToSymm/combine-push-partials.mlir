// A combine by expert that pushes: ready, ask, put, reduce.
//
// RUN: moe-opt %s --convert-moe-to-symm | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @push
// CHECK-SAME: (%[[Y:[-a-z0-9_]+]]: memref<64x8xf16>,
// CHECK: symm.phase "ready"
// CHECK: symm.barrier
// A rank may have two rows of a token.
// CHECK: symm.phase "ask"
// CHECK: %[[ASKED:[-a-z0-9_]+]] = symm.alloc : memref<64x2xi32, #symm.space>
// CHECK: %[[SLOTS:[-a-z0-9_]+]] = symm.alloc : memref<64x8xf32, #symm.space>
// CHECK: %[[THEIRS:[-a-z0-9_]+]] = symm.peer %[[ASKED]] at
// CHECK: memref.store %{{.*}}, %[[THEIRS]]
// CHECK: symm.check {{.*}}, invalid_count, "send_row"
// CHECK: %[[HOLDERS:[-a-z0-9_]+]] = symm.peer %[[ASKED]] at
// CHECK: memref.store %{{.*}}, %[[HOLDERS]]
// CHECK: symm.barrier
// CHECK: symm.phase "put"
// CHECK: memref.load %[[ASKED]]
// CHECK: %[[THERE:[-a-z0-9_]+]] = symm.peer %[[SLOTS]] at
// The first row starts the sum, the other is added.
// CHECK: memref.load %[[Y]]
// CHECK: arith.mulf
// CHECK: memref.load %[[Y]]
// CHECK: arith.mulf
// CHECK: arith.addf
// CHECK: %[[SHORT:[-a-z0-9_]+]] = arith.truncf %{{.*}} : f32 to f16
// CHECK: %[[ROUNDED:[-a-z0-9_]+]] = arith.extf %[[SHORT]] : f16 to f32
// CHECK: memref.store %[[ROUNDED]], %[[THERE]]
// CHECK: symm.phase "complete"
// CHECK: symm.barrier
// CHECK: symm.phase "reduce"
// CHECK: memref.load %[[SLOTS]]
// CHECK: arith.addf
// CHECK: arith.truncf
// CHECK-NOT: symm.barrier
// CHECK: symm.collective_end
func.func @push(%y: memref<64x8xf16>, %rows: memref<16x3xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %idx: memref<16x3xi32>,
    %w: memref<64xf32>, %out: memref<16x8xf16>) {
  moe.combine %y, %rows, %src, %n topk(%idx) weights(%w) outs(%out) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>,
      algorithm = #moe.algorithm<push>, partials = #moe.partials<element>}
    : (memref<64x8xf16>, memref<16x3xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x3xi32>, memref<64xf32>, memref<16x8xf16>) -> ()
  return
}
