// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @exchange
// CHECK: symm.collective_begin "moe.alltoallv" site 0
// CHECK: %[[ME:.*]] = symm.rank
// CHECK: %[[ALL:.*]] = symm.alloc persistent : memref<4x4xi32, #symm.space>
// CHECK: %[[RUNS:.*]] = symm.alloc persistent : memref<132xi64, #symm.space>
// CHECK: %[[ARRIVED:.*]] = symm.alloc persistent : memref<4xi64, #symm.space>
// CHECK: %[[DONE:.*]] = symm.alloc persistent : memref<528xi64, #symm.space>
// CHECK: %[[TICKETS:.*]] = symm.alloc persistent : memref<2xi64, #symm.space>
// CHECK: gpu.launch blocks(%[[BLOCK:[a-z0-9_]+]], %{{.*}}, %{{.*}}) in (%[[GRID:[a-z0-9_]+]] = %c132
// CHECK-SAME: threads(%[[THREAD:[a-z0-9_]+]],
// CHECK-SAME: workgroup(%[[STATUS:[a-z0-9_]+]] : memref<1xi64, #gpu.address_space<workgroup>>, %[[START:[a-z0-9_]+]] : memref<4xi64, {{.*}}>, %[[THERE:[a-z0-9_]+]] : memref<4xi64, {{.*}}>, %[[COUNT:[a-z0-9_]+]] : memref<4xi64,
// CHECK: %[[LAST:.*]] = memref.load %[[RUNS]][%[[BLOCK]]]
// CHECK: %[[EPOCH:.*]] = arith.addi %[[LAST]], %c1_i64
// CHECK: symm.phase "exchange"
// The first bad count is what is reported.
// CHECK: %[[BAD:.*]]:4 = scf.for %{{.*}} = %c0 to %c4 step %c1 iter_args({{.*}} = %c0, {{.*}} = %c-1, {{.*}} = %c0, {{.*}} = %c0)
// CHECK: %[[IS_GOOD:.*]] = arith.cmpi slt, %[[BAD]]#1, %c0
// CHECK: symm.check %[[IS_GOOD]], invalid_count, "sum of send_counts up to this peer's, bounded by the rows of send" {{.*}} peer %[[BAD]]#1
// CHECK: memref.load
// CHECK-NEXT: arith.select %[[IS_GOOD]], %{{.*}}, %c-1_i32
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
// Rows of 256 bytes: sixteen make a piece, and those left over a piece each. Each lane
// has the number of pieces before those of one rank.
// CHECK: symm.phase "put"
// CHECK: scf.if %[[OK]]
// CHECK: memref.load %[[COUNT]]
// CHECK: %[[WHOLE:.*]] = arith.divui %[[MINE:.*]], %c16
// CHECK-NEXT: %[[REST:.*]] = arith.remui %[[MINE]], %c16
// CHECK-NEXT: %[[SUM:.*]] = arith.addi %[[WHOLE]], %[[REST]]
// CHECK-NEXT: %[[OF_RANK:.*]] = arith.select %{{.*}}, %[[SUM]], %c0
// CHECK: %[[BEFORE:.*]] = arith.subi %{{.*}}, %[[OF_RANK]]
// CHECK: gpu.subgroup_reduce add
// CHECK: %[[PIECES:.*]] = arith.index_cast %{{.*}} : i32 to index
// From 32 places of the list in turn.
// CHECK-NEXT: %[[LENGTH:.*]] = arith.ceildivui %[[PIECES]], %c32
// CHECK-NEXT: %[[NUMBERS:.*]] = arith.muli %[[LENGTH]], %c32
// The first one of a subgroup: all blocks have one before any has two.
// CHECK-NEXT: %[[FIRST:.*]] = arith.muli %{{.*}}, %[[GRID]]
// CHECK-NEXT: %[[OWN:.*]] = arith.addi %[[FIRST]], %[[BLOCK]]
// CHECK: scf.while (%[[NEXT:.*]] = %[[OWN]])
// CHECK-NEXT: arith.cmpi ult, %[[NEXT]], %[[NUMBERS]]
// The next one is asked for before this one is moved.
// CHECK: ^bb0(%[[NUMBER:.*]]: index):
// CHECK: symm.take %[[TICKETS]]
// CHECK: %[[PLACE:.*]] = arith.remui %[[NUMBER]], %c32
// CHECK-NEXT: %[[BEGIN:.*]] = arith.muli %[[PLACE]], %[[LENGTH]]
// CHECK-NEXT: %[[TURN:.*]] = arith.divui %[[NUMBER]], %c32
// CHECK-NEXT: %[[PIECE:.*]] = arith.addi %[[BEGIN]], %[[TURN]]
// CHECK-NEXT: %[[IS_PIECE:.*]] = arith.cmpi ult, %[[PIECE]], %[[PIECES]]
// CHECK-NEXT: scf.if %[[IS_PIECE]]
// CHECK-NEXT: arith.cmpi ule, %[[BEFORE]], %[[PIECE]]
// CHECK: nvvm.vote.sync ballot
// CHECK: gpu.shuffle idx
// CHECK: %[[TO:.*]] = arith.subi %{{.*}}, %c1 : index
// CHECK: memref.load %[[START]][%[[TO]]]
// CHECK: memref.load %[[THERE]][%[[TO]]]
// CHECK: symm.put_each {{.*}} at %[[TO]] rotated %c0 lanes 1 rows 16 :
// CHECK: symm.put_each {{.*}} at %[[TO]] rotated %c0 lanes 1 :
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
// The tickets of the next run.
// CHECK: memref.store %c0_i64, %[[TICKETS]]
// CHECK: %[[LEAST:.*]] = arith.muli %[[EPOCH]], %c2_i64
// CHECK-NEXT: scf.for %[[NEAR:.*]] = %[[THREAD]] to %c4 step
// CHECK-NEXT: %[[TURNED:.*]] = arith.addi %{{.*}}, %[[NEAR]]
// CHECK-NEXT: %[[PEER:.*]] = arith.remui %[[TURNED]], %c4
// CHECK-NEXT: %[[FIRST2:.*]] = arith.muli %[[PEER]], %c132
// CHECK-NEXT: scf.for %[[OWN3:.*]] = %[[BLOCK]] to %c132 step %[[GRID]] {
// CHECK-NEXT: %[[ANY:.*]] = arith.addi %[[FIRST2]], %[[OWN3]]
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

// A long row goes alone, and in pieces where the planner says so: of 4096 bytes or more.
// CHECK-LABEL: func.func @long_rows
// CHECK: symm.phase "put"
// CHECK: scf.while
// CHECK: %[[ROW:.*]] = arith.divui %[[NUMBER:.*]], %c2
// CHECK: %[[PART:.*]] = arith.remui %[[NUMBER]], %c2
// CHECK: symm.put_each {{.*}} lanes 1 share %[[PART]] of 2 :
// CHECK-NOT: symm.put_each
// CHECK: symm.phase "complete"
func.func @long_rows(%send: memref<100x7168xbf16>, %counts: memref<4xi32>,
    %recv: memref<400x7168xbf16, #symm.space>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
      {kernel = #moe.kernel<team = 4>}
    : (memref<100x7168xbf16>, memref<4xi32>,
       memref<400x7168xbf16, #symm.space>, memref<4xi32>) -> ()
  return
}

// Very short rows: what does not fill a piece makes ever smaller ones.
// CHECK-LABEL: func.func @short_rows
// CHECK: symm.phase "put"
// CHECK: scf.while
// CHECK: symm.put_each {{.*}} rows 1024 :
// CHECK: symm.put_each {{.*}} rows 64 :
// CHECK: symm.put_each {{.*}} rows 4 :
// CHECK: symm.put_each {{.*}} lanes 1 :
// CHECK-NOT: symm.put_each
// CHECK: symm.phase "complete"
func.func @short_rows(%send: memref<100x1xi32>, %counts: memref<4xi32>,
    %recv: memref<400x1xi32, #symm.space>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
      {kernel = #moe.kernel<team = 4>}
    : (memref<100x1xi32>, memref<4xi32>, memref<400x1xi32, #symm.space>,
       memref<4xi32>) -> ()
  return
}

// More ranks than lanes: those of a piece are looked for among 32 at a time.
// CHECK-LABEL: func.func @many_ranks
// CHECK: symm.phase "put"
// CHECK: arith.ceildivui %{{.*}}, %c64
// CHECK: scf.while
// CHECK-COUNT-2: nvvm.vote.sync ballot
// CHECK-NOT: nvvm.vote.sync
// CHECK: symm.put_each
shard.grid @many(shape = 40)
func.func @many_ranks(%send: memref<100x7168xbf16>, %counts: memref<40xi32>,
    %recv: memref<400x7168xbf16, #symm.space>, %recv_counts: memref<40xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @many
    : (memref<100x7168xbf16>, memref<40xi32>,
       memref<400x7168xbf16, #symm.space>, memref<40xi32>) -> ()
  return
}
