// Rows that their holders put into slots of the tokens' ranks.
// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @push
// A slot for each token and rank, with its flag.
// CHECK: %[[SLOTS:.*]] = symm.alloc : memref<264x32xbf16, #symm.space>
// CHECK: %[[ARRIVED:.*]] = symm.alloc persistent : memref<264xi64, #symm.space>
// CHECK: %[[PUT:.*]] = symm.alloc persistent : memref<2xi64, #symm.space>
// CHECK: %[[TICKETS:.*]] = symm.alloc persistent : memref<2xi64, #symm.space>
// CHECK: gpu.launch blocks(%{{.*}}, %{{.*}}, %{{.*}}) in (%[[GRID:[a-z0-9_]+]] = %c2,
// Other ranks may put when this one has begun.
// CHECK: symm.phase "ready"
// CHECK: symm.signal
// Where the rows of each sender begin, and how many there are.
// CHECK: scf.for %[[SENDER:.*]] = %c0 to %c4 step %c1
// CHECK: symm.check {{.*}}, invalid_count, "n_tokens_from_rank"
// CHECK: memref.store %{{.*}}, %[[STARTS:.*]][%[[SENDER]]]
// CHECK: memref.store %{{.*}}, %[[COUNTS:.*]][%[[SENDER]]]
// CHECK: symm.wait
// CHECK: nvvm.barrier #nvvm.reduction<and>
// Eight of sixteen subgroups put, if all ranks have begun.
// CHECK: symm.phase "put"
// CHECK: arith.cmpi ult, %{{.*}}, %c8
// CHECK: arith.muli %[[GRID]], %c8
// CHECK: scf.while
// CHECK: symm.take %[[PUT]]
// CHECK: symm.check {{.*}}, invalid_count, "recv_src_idx"
// CHECK: symm.put_each %{{.*}} to %[[SLOTS]][%[[SLOT:.*]]] at %[[PEER:.*]] rotated %c0 lanes 1 :
// CHECK: nvvm.bar.warp.sync
// CHECK: symm.signal %[[ARRIVED]][%[[SLOT]]] at %[[PEER]]
// All take tokens that are left, and wait for their rows alone.
// CHECK: symm.phase "reduce"
// CHECK: symm.take %[[TICKETS]]
// CHECK: scf.while
// CHECK: symm.wait %[[ARRIVED]]
// CHECK: nvvm.bar.warp.sync
// CHECK: vector.load
// CHECK: vector.store
// CHECK: symm.phase "release"
// CHECK: memref.store %c0_i64, %[[TICKETS]]
// CHECK: memref.store %c0_i64, %[[PUT]]
func.func @push(%y: memref<264x32xbf16>, %rows: memref<66x4xi32>,
    %src: memref<264xi32>, %from: memref<4xi32>, %out: memref<66x32xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep
      {algorithm = #moe.algorithm<push>, kernel = #moe.kernel<blocks = 2>,
       num_experts = 16 : i64}
    : (memref<264x32xbf16>, memref<66x4xi32>, memref<264xi32>, memref<4xi32>,
       memref<66x32xbf16>) -> ()
  return
}

// Weights have slots as well. Two subgroups share a row, and each has a flag. There is a
// subgroup for each share, so that none is taken by tickets.
// CHECK-LABEL: func.func @shares
// CHECK-NOT: symm.take
// CHECK: symm.alloc : memref<16x32xbf16, #symm.space>
// CHECK: %[[WEIGHTS:.*]] = symm.alloc : memref<16xf32, #symm.space>
// CHECK: %[[ARRIVED:.*]] = symm.alloc persistent : memref<32xi64, #symm.space>
// CHECK: symm.put_each {{.*}} share %[[MEMBER:.*]] of 2
// CHECK: %[[THERE:.*]] = symm.peer %[[WEIGHTS]] at %[[PEER:.*]] :
// CHECK-NEXT: memref.store %{{.*}}, %[[THERE]][%[[SLOT:.*]]]
// CHECK: %[[FIRST:.*]] = arith.muli %[[SLOT]], %c2
// CHECK-NEXT: %[[FLAG:.*]] = arith.addi %[[FIRST]], %[[MEMBER]]
// CHECK: symm.signal %[[ARRIVED]][%[[FLAG]]] at %[[PEER]]
// Lanes wait for both flags of each row.
// CHECK: %[[ALL:.*]] = arith.muli %{{.*}}, %c2
// CHECK-NEXT: %[[FLAGS:.*]] = arith.select %{{.*}}, %[[ALL]], %c0
// CHECK-NEXT: scf.for %[[BASE:.*]] = %c0 to %[[FLAGS]] step %c32
// CHECK: arith.cmpi ult, %{{.*}}, %[[FLAGS]]
// CHECK-NEXT: scf.if
// CHECK-NEXT: symm.wait %[[ARRIVED]]
func.func @shares(%y: memref<16x32xbf16>, %rows: memref<4x4xi32>,
    %src: memref<16xi32>, %from: memref<4xi32>, %w: memref<16xf32>,
    %out: memref<4x32xbf16>) {
  moe.combine %y, %rows, %src, %from weights(%w) outs(%out) on @ep
      {algorithm = #moe.algorithm<push>,
       kernel = #moe.kernel<blocks = 2, team = 2>, num_experts = 16 : i64}
    : (memref<16x32xbf16>, memref<4x4xi32>, memref<16xi32>, memref<4xi32>,
       memref<16xf32>, memref<4x32xbf16>) -> ()
  return
}
