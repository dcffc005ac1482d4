// Rows of a token by ascending expert (combine_s1): each step takes the smallest
// expert above the last one taken. Those of one rank are added up first.
//
// RUN: moe-opt %s --convert-moe-to-symm | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @expert_major
// CHECK-SAME: (%[[Y:[-a-z0-9_]+]]: memref<64x8xf16, #symm.space>, %[[ROWS:[-a-z0-9_]+]]: memref<16x3xi32>, %{{.*}}: memref<64xi32>, %{{.*}}: memref<4xi32>, %[[IDX:[-a-z0-9_]+]]: memref<16x3xi32>, %{{.*}}: memref<16x8xf16>)
// CHECK: symm.phase "ready"
// CHECK: symm.barrier
// CHECK: symm.phase "reduce"
// CHECK: memref.alloc() : memref<3xi32>
// CHECK: memref.alloc() : memref<3xi32>
// CHECK: %[[SUM:[-a-z0-9_]+]] = memref.alloc() : memref<8xf32>
// CHECK: %[[OF_RANK:[-a-z0-9_]+]] = memref.alloc() : memref<8xf32>
// CHECK: %[[TAKEN:[-a-z0-9_]+]]:2 = scf.for {{.*}} iter_args(%[[LAST:[-a-z0-9_]+]] = %{{.*}}, %[[COUNT:[-a-z0-9_]+]] = %{{.*}}) -> (index, index) {
// CHECK:   %[[BEST:[-a-z0-9_]+]]:2 = scf.for %[[K:[-a-z0-9_]+]] = {{.*}} iter_args(%[[BEST_EXPERT:[-a-z0-9_]+]] = %{{.*}}, %{{.*}} = %{{.*}}) -> (index, index) {
// CHECK:     memref.load %[[ROWS]][%[[TOKEN:[-a-z0-9_]+]], %[[K]]]
// CHECK:     symm.check %{{.*}}, invalid_count, "send_row"
// CHECK:     %[[ID:[-a-z0-9_]+]] = memref.load %[[IDX]][%[[TOKEN]], %[[K]]]
// CHECK:     %[[EXPERT:[-a-z0-9_]+]] = arith.index_cast %[[ID]]
// CHECK:     arith.cmpi sgt, %[[EXPERT]], %[[LAST]]
// CHECK:     arith.cmpi slt, %[[EXPERT]], %[[BEST_EXPERT]]
// CHECK: arith.cmpi eq, %[[TAKEN]]#1,
// CHECK: %[[OWNER:[-a-z0-9_]+]] = arith.divui
// CHECK: symm.peer %[[Y]] at %[[OWNER]]
// CHECK: %[[FIRST:[-a-z0-9_]+]] = arith.extf
// CHECK: memref.store %[[FIRST]], %[[OF_RANK]]
// CHECK: scf.for {{.*}} iter_args(%[[RANK:[-a-z0-9_]+]] = %{{.*}}) -> (index) {
// CHECK:   %[[IS_SAME:[-a-z0-9_]+]] = arith.cmpi eq, %[[PEER:[-a-z0-9_]+]], %[[RANK]]
// CHECK:   scf.if %[[IS_SAME]] {
// CHECK:     %[[TERM:[-a-z0-9_]+]] = arith.extf
// CHECK:     %[[SO_FAR:[-a-z0-9_]+]] = memref.load %[[OF_RANK]]
// CHECK:     %[[MORE:[-a-z0-9_]+]] = arith.addf %[[SO_FAR]], %[[TERM]]
// CHECK:     memref.store %[[MORE]], %[[OF_RANK]]
// CHECK:   } else {
// CHECK:     %[[BEFORE:[-a-z0-9_]+]] = memref.load %[[SUM]]
// CHECK:     %[[ENDED:[-a-z0-9_]+]] = memref.load %[[OF_RANK]]
// CHECK-NEXT: %[[BOTH:[-a-z0-9_]+]] = arith.addf %[[BEFORE]], %[[ENDED]]
// CHECK:     memref.store %[[BOTH]], %[[SUM]]
// CHECK:     %[[START:[-a-z0-9_]+]] = arith.extf
// CHECK:     memref.store %[[START]], %[[OF_RANK]]
// CHECK:   }
// CHECK:   scf.yield %[[PEER]]
// CHECK: %[[TOTAL:[-a-z0-9_]+]] = memref.load %[[SUM]]
// CHECK: %[[LAST:[-a-z0-9_]+]] = memref.load %[[OF_RANK]]
// CHECK-NEXT: %[[ALL:[-a-z0-9_]+]] = arith.addf %[[TOTAL]], %[[LAST]]
// CHECK-NEXT: arith.truncf %[[ALL]] : f32 to f16
// CHECK: symm.phase "release"
// CHECK: symm.collective_end
func.func @expert_major(%y: memref<64x8xf16, #symm.space>,
    %rows: memref<16x3xi32>, %src: memref<64xi32>, %n: memref<4xi32>,
    %idx: memref<16x3xi32>, %out: memref<16x8xf16>) {
  moe.combine %y, %rows, %src, %n topk(%idx) outs(%out) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>,
      algorithm = #moe.algorithm<pull>}
    : (memref<64x8xf16, #symm.space>, memref<16x3xi32>, memref<64xi32>,
       memref<4xi32>, memref<16x3xi32>, memref<16x8xf16>) -> ()
  return
}

// Where a rank has one row at most, or a token no third one, the order is that
// of all rows, and there is one sum.
// CHECK-LABEL: func.func @one_expert
// CHECK-COUNT-1: memref.alloc() : memref<8xf32>
// CHECK-NOT: memref.alloc() : memref<8xf32>
// CHECK: symm.collective_end
func.func @one_expert(%y: memref<64x8xf16, #symm.space>,
    %rows: memref<16x3xi32>, %src: memref<64xi32>, %n: memref<4xi32>,
    %idx: memref<16x3xi32>, %out: memref<16x8xf16>) {
  moe.combine %y, %rows, %src, %n topk(%idx) outs(%out) on @ep {
      num_experts = 4 : i64, layout = #moe.layout<expert_major>,
      algorithm = #moe.algorithm<pull>}
    : (memref<64x8xf16, #symm.space>, memref<16x3xi32>, memref<64xi32>,
       memref<4xi32>, memref<16x3xi32>, memref<16x8xf16>) -> ()
  return
}

// The sum of a rank is rounded before it is added (combine_s8).
// CHECK-LABEL: func.func @rounded
// CHECK: } else {
// CHECK: %[[SHORT:[-a-z0-9_]+]] = arith.truncf %{{.*}} : f32 to f16
// CHECK-NEXT: %[[ROUNDED:[-a-z0-9_]+]] = arith.extf %[[SHORT]] : f16 to f32
// CHECK-NEXT: arith.addf %{{.*}}, %[[ROUNDED]] : f32
// CHECK: symm.phase "release"
func.func @rounded(%y: memref<64x8xf16, #symm.space>,
    %rows: memref<16x3xi32>, %src: memref<64xi32>, %n: memref<4xi32>,
    %idx: memref<16x3xi32>, %out: memref<16x8xf16>) {
  moe.combine %y, %rows, %src, %n topk(%idx) outs(%out) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>,
      algorithm = #moe.algorithm<pull>, partials = #moe.partials<element>}
    : (memref<64x8xf16, #symm.space>, memref<16x3xi32>, memref<64xi32>,
       memref<4xi32>, memref<16x3xi32>, memref<16x8xf16>) -> ()
  return
}
