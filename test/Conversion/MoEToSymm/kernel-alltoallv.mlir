// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @exchange
// CHECK: symm.collective_begin "moe.alltoallv" site 0
// CHECK: %[[ME:.*]] = symm.rank
// CHECK: %[[ALL:.*]] = symm.alloc persistent : memref<4x4xi32, #symm.space>
// CHECK: %[[RUNS:.*]] = symm.alloc persistent : memref<132xi64, #symm.space>
// CHECK: %[[ARRIVED:.*]] = symm.alloc persistent : memref<4xi64, #symm.space>
// CHECK: %[[DONE:.*]] = symm.alloc persistent : memref<528xi64, #symm.space>
// CHECK: gpu.launch blocks(%[[BLOCK:[a-z0-9_]+]], %{{.*}}, %{{.*}}) in (%[[GRID:[a-z0-9_]+]] = %c132
// CHECK-SAME: threads(%[[THREAD:[a-z0-9_]+]],
// CHECK-SAME: workgroup(%[[STATUS:[a-z0-9_]+]] : memref<1xi64, #gpu.address_space<workgroup>>, %[[START:[a-z0-9_]+]] : memref<4xi64, {{.*}}>, %[[THERE:[a-z0-9_]+]] : memref<4xi64, {{.*}}>, %[[COUNT:[a-z0-9_]+]] : memref<4xi64,
// CHECK: %[[LAST:.*]] = memref.load %[[RUNS]][%[[BLOCK]]]
// CHECK: %[[EPOCH:.*]] = arith.addi %[[LAST]], %c1_i64
// CHECK: symm.phase "exchange"
// CHECK: symm.check %{{.*}}, invalid_count, "send_counts"
// CHECK: symm.peer %[[ALL]]
// CHECK: symm.signal %[[ARRIVED]][%[[ME]]] at %{{.*}}, %[[EPOCH]]
// No row is put when a rank has not come in time: the block meets and agrees on that.
// CHECK: %[[IS_THERE:.*]] = scf.if %{{.*}} -> (i1)
// CHECK: %[[SEEN:.*]] = symm.wait %[[ARRIVED]][%[[R:.*]]] from %[[R]], %[[EPOCH]]
// CHECK-NEXT: arith.cmpi uge, %[[SEEN]], %[[EPOCH]]
// CHECK: %[[BIT:.*]] = arith.extui %[[IS_THERE]]
// CHECK-NEXT: %[[ALL_THERE:.*]] = nvvm.barrier #nvvm.reduction<and> %[[BIT]] -> i32
// CHECK-NEXT: %[[ARE_THERE:.*]] = arith.cmpi ne, %[[ALL_THERE]], %c0_i32
// CHECK: memref.store %c1_i64, %[[STATUS]][%c0]
// A thread for each rank: where its rows start on both sides, and how many there are and
// have room.
// CHECK: symm.phase "place"
// CHECK: %[[FITS:.*]] = scf.for %[[RANK:[a-z0-9_]+]] = %[[THREAD]] to %c4 step %c512 iter_args({{.*}}) -> (i1)
// CHECK: %[[ROOM:.*]] = arith.maxsi
// CHECK: memref.store %{{.*}}, %[[START]][%[[RANK]]]
// CHECK: memref.store %{{.*}}, %[[THERE]][%[[RANK]]]
// CHECK: %[[ROWS:.*]] = arith.minsi %{{.*}}, %[[ROOM]]
// CHECK: memref.store %{{.*}}, %[[COUNT]][%[[RANK]]]
// CHECK: symm.check %{{.*}}, capacity_exceeded
// CHECK: arith.extui %[[FITS]]
// CHECK: nvvm.barrier #nvvm.reduction<and>
// CHECK: %[[OK:.*]] = arith.andi %[[ARE_THERE]],
// Each subgroup begins with another rank. Rows of 256 bytes: sixteen at a time.
// CHECK: symm.phase "put"
// CHECK: scf.if %[[OK]]
// CHECK: %[[SUBGROUP:.*]] = arith.addi %{{.*}}, %{{.*}} : index
// CHECK: scf.for %[[I:[a-z0-9_]+]] = %c0 to %c4
// CHECK-NEXT: %[[TURN:.*]] = arith.addi %[[SUBGROUP]], %[[I]]
// CHECK-NEXT: %[[SUM:.*]] = arith.addi %[[ME]], %[[TURN]]
// CHECK-NEXT: %[[TO:.*]] = arith.remui %[[SUM]], %c4
// CHECK: memref.load %[[COUNT]][%[[TO]]]
// CHECK: arith.divui %{{.*}}, %c16
// CHECK: scf.for
// CHECK: symm.put_each {{.*}} lanes 1 rows 16 :
// CHECK: scf.for
// CHECK: symm.put_each {{.*}} lanes 1 :
// Each block signals its own words: twice the epoch, and one more after an error. The
// first waits for those of all.
// CHECK: symm.phase "complete"
// CHECK-NEXT: gpu.barrier
// CHECK: %[[TWICE:.*]] = arith.muli %[[EPOCH]], %c2_i64
// CHECK-NEXT: %[[ERRORS:.*]] = memref.load %[[STATUS]][%c0]
// CHECK-NEXT: %[[VALUE:.*]] = arith.addi %[[TWICE]], %[[ERRORS]]
// CHECK: %[[FIRST:.*]] = arith.muli %[[ME]], %c132
// CHECK: scf.for %[[OWN:.*]] = %[[BLOCK]] to %c132 step %[[GRID]] {
// CHECK: %[[WORD:.*]] = arith.addi %[[FIRST]], %[[OWN]]
// CHECK: symm.signal %[[DONE]][%[[WORD]]] at %{{.*}}, %[[VALUE]]
// CHECK: scf.for %[[OWN2:.*]] = %[[BLOCK]] to %c132 step %[[GRID]] {
// CHECK-NEXT: memref.store %[[EPOCH]], %[[RUNS]][%[[OWN2]]]
// CHECK: %[[LEAST:.*]] = arith.muli %[[EPOCH]], %c2_i64
// CHECK: %[[IS_BLOCK:.*]] = arith.cmpi eq, %[[BLOCK]], %c0
// CHECK-NEXT: scf.if %[[IS_BLOCK]]
// CHECK-NEXT: scf.for %[[ANY:.*]] = %[[THREAD]] to %c528
// CHECK-NEXT: %[[PEER:.*]] = arith.divui %[[ANY]], %c132
// CHECK-NEXT: %[[SEEN2:.*]] = symm.wait %[[DONE]][%[[ANY]]] from %[[PEER]], %[[LEAST]]
// CHECK-NEXT: %[[REST:.*]] = arith.subi %[[SEEN2]], %[[LEAST]]
// CHECK-NEXT: %[[IS_FINE:.*]] = arith.cmpi ne, %[[REST]], %c1_i64
// CHECK-NEXT: symm.check %[[IS_FINE]], peer_failed, {{.*}} peer %[[PEER]]
// CHECK: gpu.terminator
func.func @exchange(%send: memref<100x64xf32>, %counts: memref<4xi32>,
    %recv: memref<400x64xf32, #symm.space>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
    : (memref<100x64xf32>, memref<4xi32>, memref<400x64xf32, #symm.space>,
       memref<4xi32>) -> ()
  return
}

// A long row goes alone.
// CHECK-LABEL: func.func @long_rows
// CHECK: symm.phase "put"
// CHECK: symm.put_each {{.*}} lanes 1 :
// CHECK-NOT: symm.put_each
// CHECK: symm.phase "complete"
func.func @long_rows(%send: memref<100x7168xbf16>, %counts: memref<4xi32>,
    %recv: memref<400x7168xbf16, #symm.space>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
    : (memref<100x7168xbf16>, memref<4xi32>,
       memref<400x7168xbf16, #symm.space>, memref<4xi32>) -> ()
  return
}
