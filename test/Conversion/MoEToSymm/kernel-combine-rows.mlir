// Rows without their sum (combine_s7): the kernel of a combine whose tokens have one slot
// each, and `out` as that many rows.
//
// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @loads
// CHECK-SAME: %[[Y:[a-z0-9]+]]: memref<64x64xbf16, #symm.space>, %[[ROWS:[a-z0-9]+]]: memref<?x4xi32>, {{.*}}, %[[OUT:[a-z0-9]+]]: memref<?x4x64xbf16>)
// CHECK: %[[TOKENS:.*]] = memref.dim %[[ROWS]], %c0
// CHECK: symm.check %{{.*}}, invalid_argument, "number of tokens, bounded by max_tokens"
// CHECK: %[[SLOTS:.*]] = arith.muli %[[TOKENS]], %c4
// CHECK: %[[FLAT:.*]] = memref.collapse_shape %[[OUT]] {{\[\[0, 1\], \[2\]\]}}
// CHECK: gpu.launch
// CHECK: gpu.barrier
// An error names token and slot of the op (combine_s5).
// CHECK: %[[SLOT:.*]] = arith.remui %[[ITEM:[-a-z0-9_]+]], %c4
// CHECK-NEXT: %[[TOKEN:.*]] = arith.divui %[[ITEM]], %c4
// CHECK-NEXT: memref.load %[[ROWS]][%[[TOKEN]], %[[SLOT]]]
// CHECK: symm.check %{{.*}}, invalid_count, "send_row" {{.*}} token %[[TOKEN]] slot %[[SLOT]]
// CHECK: symm.phase "reduce"
// CHECK: scf.for %[[ITEM:[a-z0-9]+]] = %{{.*}} to %[[SLOTS]] step
// CHECK-NOT: arith.addf
// CHECK: %[[BITS:.*]] = vector.load
// CHECK: vector.store %{{.*}}, %[[FLAT]][%[[ITEM]], %
// CHECK-NOT: arith.addf
// CHECK: symm.phase "release"
func.func @loads(%y: memref<64x64xbf16, #symm.space>, %rows: memref<?x4xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %out: memref<?x4x64xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64,
      max_tokens = 16 : i64, reduce = #moe.reduce<none>}
    : (memref<64x64xbf16, #symm.space>, memref<?x4xi32>, memref<64xi32>,
       memref<4xi32>, memref<?x4x64xbf16>) -> ()
  return
}

// By bulk copies a stage has the row of one slot, and a lane looks up one of 32 slots.
// CHECK-LABEL: func.func @bulk
// CHECK: memref.collapse_shape
// CHECK: gpu.launch
// CHECK: memref.view {{.*}} to memref<3x64xbf16, #gpu.address_space<workgroup>>
// CHECK: arith.remui %{{.*}}, %c3
// CHECK: symm.fetch
func.func @bulk(%y: memref<64x64xbf16, #symm.space>, %rows: memref<16x3xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %idx: memref<16x3xi32>,
    %out: memref<16x3x64xbf16>) {
  moe.combine %y, %rows, %src, %n topk(%idx) outs(%out) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>,
      reduce = #moe.reduce<none>,
      kernel = #moe.kernel<transfer = bulk, stages = 3>}
    : (memref<64x64xbf16, #symm.space>, memref<16x3xi32>, memref<64xi32>,
       memref<4xi32>, memref<16x3xi32>, memref<16x3x64xbf16>) -> ()
  return
}

// Rows that do not begin at a multiple of 16 bytes are stored elsewhere first.
// CHECK-LABEL: func.func @unaligned
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: memref<16x4x64xbf16, strided<[256, 64, 1], offset: 1>>)
// CHECK: %[[COPY:.*]] = memref.alloc() : memref<16x4x64xbf16>
// CHECK: memref.collapse_shape %[[COPY]]
// CHECK: gpu.launch
// CHECK: memref.copy %[[COPY]], %[[OUT]]
func.func @unaligned(%y: memref<64x64xbf16, #symm.space>,
    %rows: memref<16x4xi32>, %src: memref<64xi32>, %n: memref<4xi32>,
    %out: memref<16x4x64xbf16, strided<[256, 64, 1], offset: 1>>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64,
      reduce = #moe.reduce<none>}
    : (memref<64x64xbf16, #symm.space>, memref<16x4xi32>, memref<64xi32>,
       memref<4xi32>, memref<16x4x64xbf16, strided<[256, 64, 1], offset: 1>>) -> ()
  return
}
