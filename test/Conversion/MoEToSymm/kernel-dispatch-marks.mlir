// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// Rows by expert of few tokens: a bit for each expert and token, in each block, which need
// not meet the others. Two words per expert for 40 tokens.
// CHECK-LABEL: func.func @expert_major
// CHECK-NOT: memref<1xi64, #symm.space>
// CHECK: gpu.launch
// CHECK-SAME: threads(%[[THREAD:[a-z0-9_]+]],
// CHECK-SAME: %[[START:[a-z0-9_]+]] : memref<9xi32, #gpu.address_space<workgroup>>, %[[MARKS:[a-z0-9_]+]] : memref<18xi32, #gpu.address_space<workgroup>>, %[[BAD:[a-z0-9_]+]] : memref<1xi32,
// CHECK: symm.phase "count"
// CHECK: scf.for %[[WORD:[a-z0-9_]+]] = %[[THREAD]] to %c18
// CHECK-NEXT: memref.store %c0_i32, %[[MARKS]][%[[WORD]]]
// CHECK: memref.store %c0_i32, %[[BAD]]
// The block's own tokens are checked and merged.
// CHECK: symm.check %{{.*}}, invalid_expert
// CHECK: gpu.barrier
// All tokens are marked.
// CHECK: scf.for %[[ENTRY:[a-z0-9_]+]] = %[[THREAD]] to %c120
// CHECK-NEXT: %[[TOKEN:.*]] = arith.divui %[[ENTRY]], %c3
// CHECK-NEXT: %[[SLOT:.*]] = arith.remui %[[ENTRY]], %c3
// CHECK-NEXT: %[[ID:.*]] = memref.load %{{.*}}[%[[TOKEN]], %[[SLOT]]]
// CHECK: %[[IN_RANGE:.*]] = arith.cmpi ult, %[[KEY:.*]], %c9
// CHECK-NEXT: scf.if %[[IN_RANGE]]
// CHECK-NEXT: %[[FIRST:.*]] = arith.muli %[[KEY]], %c2
// CHECK-NEXT: %[[OF_TOKEN:.*]] = arith.divui %[[TOKEN]], %c32
// CHECK-NEXT: %[[INDEX:.*]] = arith.addi %[[FIRST]], %[[OF_TOKEN]]
// CHECK: %[[BIT:.*]] = arith.shli %c1_i32
// CHECK-NEXT: symm.mark %[[MARKS]][%[[INDEX]]], %[[BIT]]
// CHECK: memref.store %c1_i32, %[[BAD]]
// CHECK: gpu.barrier
// CHECK-NOT: symm.grid_barrier
// Counts are numbers of bits; -1 after an error.
// CHECK: symm.phase "exchange"
// CHECK: memref.load %[[BAD]]
// CHECK: memref.load %[[MARKS]]
// CHECK-NEXT: math.ctpop
// CHECK: memref.load %[[MARKS]]
// CHECK-NEXT: math.ctpop
// CHECK: arith.select %{{.*}}, %c-1_i32
// CHECK: symm.phase "place"
// CHECK-NOT: symm.grid_barrier
// A row's number is that of the bits before its own.
// CHECK: symm.phase "put"
// CHECK: %[[HAS_ROW:.*]] = arith.cmpi sge, %{{.*}}, %c0
// CHECK: %[[MASK:.*]] = arith.select %{{.*}}, %{{.*}}, %c-1_i32
// CHECK: %[[MARKED:.*]] = memref.load %[[MARKS]]
// CHECK-NEXT: %[[BEFORE:.*]] = arith.andi %[[MARKED]], %{{.*}}
// CHECK-NEXT: math.ctpop %[[BEFORE]]
// CHECK: memref.load %[[START]]
// CHECK: symm.put_each {{.*}} lanes 3
func.func @expert_major(%x: memref<40x8xf32>, %idx: memref<40x3xi32>,
    %w: memref<40x3xf32>, %recv_x: memref<480x8xf32, #symm.space>,
    %recv_idx: memref<480xi32, #symm.space>,
    %recv_w: memref<480xf32, #symm.space>, %src: memref<480xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<40x3xi32>,
    %offsets: memref<3xi32>, %group_counts: memref<3xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %group_counts)
      on @ep {num_experts = 9 : i64, layout = #moe.layout<expert_major>}
    : (memref<40x8xf32>, memref<40x3xi32>, memref<40x3xf32>,
       memref<480x8xf32, #symm.space>, memref<480xi32, #symm.space>,
       memref<480xf32, #symm.space>, memref<480xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<40x3xi32>, memref<3xi32>,
       memref<3xi32>) -> ()
  return
}

// Rows by rank, ordered by expert: a lane per rank has a row where it owns the expert.
// CHECK-LABEL: func.func @order_expert
// CHECK: symm.mark
// CHECK-NOT: symm.grid_barrier
// CHECK: symm.phase "put"
// CHECK: %[[OWNER:.*]] = arith.divui %{{.*}}, %c4
// CHECK-NEXT: arith.cmpi eq, %[[OWNER]], %
// CHECK: symm.put_each {{.*}} lanes 4
func.func @order_expert(%x: memref<40x8xf32>, %idx: memref<40x1xi32>,
    %w: memref<40x1xf32>, %recv_x: memref<160x8xf32, #symm.space>,
    %recv_idx: memref<160x1xi32, #symm.space>,
    %recv_w: memref<160x1xf32, #symm.space>, %src: memref<160xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<40x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 16 : i64, order = #moe.order<expert>}
    : (memref<40x8xf32>, memref<40x1xi32>, memref<40x1xf32>,
       memref<160x8xf32, #symm.space>, memref<160x1xi32, #symm.space>,
       memref<160x1xf32, #symm.space>, memref<160xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<40x4xi32>) -> ()
  return
}
