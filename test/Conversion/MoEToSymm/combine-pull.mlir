// A combine that pulls: ready, reduce, release.
//
// RUN: moe-opt %s --convert-moe-to-symm | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @pull
// CHECK-SAME: (%[[Y:[-a-z0-9_]+]]: memref<64x8xbf16, #symm.space>, %[[ROWS:[-a-z0-9_]+]]: memref<16x4xi32>, %{{.*}}: memref<64xi32>, %{{.*}}: memref<4xi32>, %[[OUT:[-a-z0-9_]+]]: memref<16x8xbf16>)
// CHECK: symm.collective_begin "moe.combine" site 0
// CHECK: symm.phase "ready"
// CHECK: %[[EPOCH:[-a-z0-9_]+]] = symm.next_epoch
// CHECK: symm.barrier %{{.*}}, %[[EPOCH]]

// CHECK: symm.phase "reduce"
// CHECK-DAG: %[[PEERS:[-a-z0-9_]+]] = memref.alloc() : memref<4xi32>
// CHECK-DAG: %[[LIST:[-a-z0-9_]+]] = memref.alloc() : memref<4xi32>
// CHECK-DAG: %[[SUM:[-a-z0-9_]+]] = memref.alloc() : memref<8xf32>
// The rows of a token in ascending rank (combine_s1), each checked (combine_s5):
// their order is that of the ranks, not that of arrival (determinism_s1).
// CHECK: %[[NUM:[-a-z0-9_]+]] = scf.for %[[RANK:[-a-z0-9_]+]] =
// CHECK:   memref.load %[[ROWS]][%[[TOKEN:[-a-z0-9_]+]], %[[RANK]]]
// CHECK:   symm.check %{{.*}}, invalid_count, "send_row" expected
// CHECK:   scf.if
// CHECK:     memref.store
// CHECK:     memref.store
// A single row is copied, bit for bit (combine_s4).
// CHECK: %[[IS_SINGLE:[-a-z0-9_]+]] = arith.cmpi eq, %[[NUM]], %c1{{(_[0-9]+)?}}
// CHECK: scf.if %[[IS_SINGLE]] {
// CHECK:   %[[THERE:[-a-z0-9_]+]] = symm.peer %[[Y]] at
// CHECK-NOT: arith.extf
// CHECK:   %[[BITS:[-a-z0-9_]+]] = memref.load %[[THERE]]
// CHECK:   memref.store %[[BITS]], %[[OUT]]
// CHECK: } else {
// No row gives zeros (combine_s3).
// CHECK:   arith.cmpi eq, %[[NUM]],
// CHECK:   scf.if
// CHECK:     %[[ZERO:[-a-z0-9_]+]] = arith.constant 0.000000e+00 : bf16
// CHECK:     memref.store %[[ZERO]], %[[OUT]]
// CHECK:   } else {
// The first row starts the sum, others are added in f32, rounded once.
// CHECK:     symm.peer %[[Y]] at
// CHECK:     %[[FIRST:[-a-z0-9_]+]] = arith.extf %{{.*}} : bf16 to f32
// CHECK-NEXT: memref.store %[[FIRST]], %[[SUM:[a-z0-9_]+]][
// CHECK:     symm.peer %[[Y]] at
// CHECK:     %[[TERM:[-a-z0-9_]+]] = arith.extf %{{.*}} : bf16 to f32
// CHECK:     %[[SO_FAR:[-a-z0-9_]+]] = memref.load %[[SUM]]
// CHECK:     %[[MORE:[-a-z0-9_]+]] = arith.addf %[[SO_FAR]], %[[TERM]] : f32
// CHECK:     memref.store %[[MORE]], %[[SUM]]
// CHECK:     %[[TOTAL:[-a-z0-9_]+]] = memref.load %[[SUM]]
// CHECK:     %[[ROUNDED:[-a-z0-9_]+]] = arith.truncf %[[TOTAL]] : f32 to bf16
// CHECK:     memref.store %[[ROUNDED]], %[[OUT]]
// No rank leaves while another reads its rows.
// CHECK: symm.phase "release"
// CHECK: symm.barrier %{{.*}}, %[[EPOCH]]
// CHECK-COUNT-3: memref.dealloc
// CHECK: symm.collective_end
func.func @pull(%y: memref<64x8xbf16, #symm.space>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %out: memref<16x8xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64,
      algorithm = #moe.algorithm<pull>}
    : (memref<64x8xbf16, #symm.space>, memref<16x4xi32>, memref<64xi32>,
       memref<4xi32>, memref<16x8xbf16>) -> ()
  return
}

// With weights there is no single row to copy; product and sum are rounded
// separately (combine_s2).
// CHECK-LABEL: func.func @weights
// CHECK-SAME: %[[W:[a-z0-9]+]]: memref<64xf32, #symm.space>,
// CHECK: symm.phase "reduce"
// CHECK: symm.peer %[[W]] at
// CHECK: arith.mulf %{{.*}}, %{{.*}} : f32
// CHECK: symm.peer %[[W]] at
// CHECK: %[[TERM:[-a-z0-9_]+]] = arith.mulf %{{.*}}, %{{.*}} : f32
// CHECK: arith.addf %{{.*}}, %[[TERM]] : f32
func.func @weights(%y: memref<64x8xf32, #symm.space>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %w: memref<64xf32, #symm.space>,
    %out: memref<16x8xf32>) {
  moe.combine %y, %rows, %src, %n weights(%w) outs(%out) on @ep {
      num_experts = 8 : i64, algorithm = #moe.algorithm<pull>}
    : (memref<64x8xf32, #symm.space>, memref<16x4xi32>, memref<64xi32>,
       memref<4xi32>, memref<64xf32, #symm.space>, memref<16x8xf32>) -> ()
  return
}

// Integers are added in their own type.
// CHECK-LABEL: func.func @integers
// CHECK: memref.alloc() : memref<8xi8>
// CHECK: arith.constant 0 : i8
// CHECK: arith.addi %{{.*}}, %{{.*}} : i8
// CHECK-NOT: arith.trunci
// CHECK: symm.collective_end
func.func @integers(%y: memref<64x8xi8, #symm.space>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %out: memref<16x8xi8>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64,
      algorithm = #moe.algorithm<pull>}
    : (memref<64x8xi8, #symm.space>, memref<16x4xi32>, memref<64xi32>,
       memref<4xi32>, memref<16x8xi8>) -> ()
  return
}

// CHECK-LABEL: func.func @dynamic_tokens
// CHECK: symm.phase "ready"
// CHECK: symm.check %{{.*}}, invalid_argument, "number of tokens, bounded by max_tokens" expected
// CHECK: symm.barrier
func.func @dynamic_tokens(%y: memref<64x8xf32, #symm.space>,
    %rows: memref<?x4xi32>, %src: memref<64xi32>, %n: memref<4xi32>,
    %out: memref<?x8xf32>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64,
      max_tokens = 16 : i64, algorithm = #moe.algorithm<pull>}
    : (memref<64x8xf32, #symm.space>, memref<?x4xi32>, memref<64xi32>,
       memref<4xi32>, memref<?x8xf32>) -> ()
  return
}

// defer_release: the caller leaves y alone; no barrier at the end (combine_s6).
// CHECK-LABEL: func.func @deferred
// CHECK: symm.phase "reduce"
// CHECK-NOT: symm.phase "release"
// CHECK-NOT: symm.barrier
// CHECK: symm.collective_end
func.func @deferred(%y: memref<6x4xf32, #symm.space>, %rows: memref<3x4xi32>,
    %src: memref<6xi32>, %n: memref<4xi32>, %out: memref<3x4xf32>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {
      defer_release, num_experts = 4 : i64}
    : (memref<6x4xf32, #symm.space>, memref<3x4xi32>, memref<6xi32>,
       memref<4xi32>, memref<3x4xf32>) -> ()
  return
}
