// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// Sixteen bytes per lane, all rows loaded before the first addition.
// CHECK-LABEL: func.func @rank_major
// CHECK-SAME: %[[Y:.*]]: memref<256x32xbf16, #symm.space>
// CHECK: %[[ZEROS:.*]] = arith.constant dense<0.000000e+00> : vector<8xbf16>
// CHECK: symm.collective_begin "moe.combine" site 0
// CHECK: %[[ME:.*]] = symm.rank
// CHECK: %[[RUNS:.*]] = symm.alloc persistent : memref<132xi64, #symm.space>
// CHECK: %[[READY:.*]] = symm.alloc persistent : memref<4xi64, #symm.space>
// CHECK: %[[RELEASED:.*]] = symm.alloc persistent : memref<528xi64, #symm.space>
// CHECK: gpu.launch blocks(%[[BLOCK:[a-z0-9_]+]], %{{.*}}, %{{.*}}) in (%[[GRID:[a-z0-9_]+]] = %c132
// CHECK-SAME: threads(%[[THREAD:[a-z0-9_]+]],
// CHECK-SAME: workgroup(%[[STATUS:[a-z0-9_]+]] : memref<1xi64, #gpu.address_space<workgroup>>
// CHECK: %[[LAST:.*]] = memref.load %[[RUNS]][%[[BLOCK]]]
// CHECK: %[[EPOCH:.*]] = arith.addi %[[LAST]], %c1_i64
// CHECK: memref.store %c0_i64, %[[STATUS]][
// CHECK: symm.phase "ready"
// CHECK: symm.signal %[[READY]][%[[ME]]] at %{{.*}}, %[[EPOCH]]
// CHECK: gpu.barrier
// Consecutive tokens go to the teams of a block, those after them to the next block.
// CHECK: %[[BEFORE:.*]] = arith.muli %[[BLOCK]], %c16
// CHECK: %[[BEGIN:.*]] = arith.addi %[[BEFORE]], %
// CHECK: %[[TEAMS:.*]] = arith.muli %[[GRID]], %c16
// Where the rows of the first token lie is looked up before the wait. One lane of
// the last subgroup waits for each rank, then the block meets.
// CHECK: symm.check %{{.*}}, invalid_count, "send_row"
// CHECK: memref.store %c1_i64, %[[STATUS]][
// The second lane takes the second bit of the vote, and so on.
// CHECK: %[[VOTE:.*]] = nvvm.vote.sync ballot
// CHECK-NEXT: %[[PLACE:.*]] = arith.index_cast %{{.*}} : index to i32
// CHECK-NEXT: %[[BELOW1:.*]] = arith.subi %[[VOTE]], %c1_i32
// CHECK-NEXT: %[[OFF1:.*]] = arith.andi %[[VOTE]], %[[BELOW1]]
// CHECK-NEXT: %[[IS_BEHIND0:.*]] = arith.cmpi sgt, %[[PLACE]], %c0_i32
// CHECK-NEXT: %[[FROM1:.*]] = arith.select %[[IS_BEHIND0]], %[[OFF1]], %[[VOTE]]
// CHECK-COUNT-2: arith.cmpi sgt, %[[PLACE]],
// CHECK-NEXT: %[[FROM3:.*]] = arith.select
// CHECK-NEXT: math.cttz %[[FROM3]]
// CHECK-COUNT-2: gpu.shuffle idx
// CHECK-NOT: gpu.shuffle
// CHECK: %[[NUM_ROWS:.*]] = math.ctpop %[[VOTE]]
// CHECK: arith.cmpi ult, %[[PLACE]], %
// CHECK: symm.phase "ready"
// CHECK: arith.cmpi eq, %{{.*}}, %c15
// CHECK: %[[SEEN:.*]] = symm.wait %[[READY]][%[[R:.*]]] from %[[R]], %[[EPOCH]]
// CHECK-NEXT: arith.cmpi uge, %[[SEEN]], %[[EPOCH]]
// CHECK: memref.store %c1_i64, %[[STATUS]][%c0]
// CHECK: gpu.barrier
// CHECK-NEXT: symm.phase "reduce"
// The rows of a token are carried as words.
// CHECK: scf.for %{{.*}} = %[[BEGIN]] to %c64 step %[[TEAMS]] iter_args(%[[ROW:[a-z0-9_]+]] = %{{.*}}, %[[PEER:[a-z0-9_]+]] = %{{.*}}) -> (i32, i32)
// CHECK-NOT: symm.wait
// What a variant loads hangs on no condition: row 0 of this rank for one that is not there.
// CHECK: %[[THEIRS:.*]] = arith.index_cast %[[ROW]]
// CHECK-NEXT: %[[RANK:.*]] = arith.index_cast %[[PEER]]
// CHECK-NEXT: %[[IS_ROW:.*]] = arith.cmpi sge, %[[THEIRS]], %c0
// CHECK-NEXT: %[[LANES:.*]] = nvvm.vote.sync ballot %{{.*}}, %[[IS_ROW]]
// CHECK-NEXT: %[[BITS:.*]] = math.ctpop %[[LANES]]
// CHECK-NEXT: %[[COUNT:.*]] = arith.index_castui %[[BITS]]
// CHECK: %[[SAFE_ROW:.*]] = arith.select %[[IS_ROW]], %[[THEIRS]], %c0
// CHECK-NEXT: %[[SAFE_RANK:.*]] = arith.select %[[IS_ROW]], %[[RANK]], %[[ME]]
// A token with one row of four, or none, loads one: there is nothing to join. It keeps the
// bits of the row, and without one has zeros. Lanes past the end repeat the last column.
// CHECK-NEXT: %[[UP_TO_1:.*]] = arith.cmpi ule, %[[COUNT]], %c1
// CHECK-NEXT: scf.if %[[UP_TO_1]] {
// CHECK-NEXT: %[[COLUMN:.*]] = arith.muli %{{.*}}, %c8
// CHECK-NEXT: %[[INSIDE1:.*]] = arith.minui %[[COLUMN]], %c24
// CHECK-NEXT: %[[IS_FIRST:.*]] = arith.cmpi sgt, %[[COUNT]], %c0
// CHECK-NOT: {{scf|symm.join_loads|arith.addf}}
// CHECK: %[[ONLY:.*]] = vector.load %{{.*}}, %[[INSIDE1]]] {alignment = 16 : i64} : memref<256x32xbf16, #symm.space>, vector<8xbf16>
// CHECK-NEXT: %[[TOKEN1:.*]] = arith.select %[[IS_FIRST]], %[[ONLY]], %[[ZEROS]] : vector<8xbf16>
// CHECK-NEXT: vector.store %[[TOKEN1]], %{{.*}}, %[[INSIDE1]]]
// With two it loads two.
// CHECK-NEXT: } else {
// CHECK-NEXT: %[[UP_TO_2:.*]] = arith.cmpi ule, %[[COUNT]], %c2
// CHECK-NEXT: scf.if %[[UP_TO_2]] {
// CHECK: %[[INSIDE2:.*]] = arith.minui %{{.*}}, %c24
// CHECK-NOT: {{scf|arith.addf}}
// CHECK: %[[OF2_0:.*]] = vector.load %{{.*}}, %[[INSIDE2]]] {alignment = 16 : i64} : memref<256x32xbf16, #symm.space>, vector<8xbf16>
// CHECK-NOT: {{scf|arith.addf}}
// CHECK: %[[OF2_1:.*]] = vector.load %{{.*}}, %[[INSIDE2]]] {alignment = 16 : i64} : memref<256x32xbf16, #symm.space>, vector<8xbf16>
// CHECK-NEXT: %[[JOINED2:.*]] = symm.join_loads %[[OF2_0]] with %[[OF2_1]] : vector<8xbf16> with
// CHECK-NEXT: %[[WIDE2_0:.*]] = arith.extf %[[JOINED2]] : vector<8xbf16> to vector<8xf32>
// CHECK-NEXT: %[[SUM2_0:.*]] = arith.select %{{.*}}, %[[WIDE2_0]], %{{.*}} : vector<8xf32>
// CHECK-NEXT: %[[WIDE2_1:.*]] = arith.extf %[[OF2_1]] : vector<8xbf16> to vector<8xf32>
// CHECK-NEXT: arith.addf %[[SUM2_0]], %[[WIDE2_1]] : vector<8xf32>
// CHECK-NOT: {{scf|vector.load|arith.addf}}
// CHECK: vector.store %{{.*}}, %[[INSIDE2]]]
// With more, all four.
// CHECK-NEXT: } else {
// CHECK: %[[INSIDE4:.*]] = arith.minui %{{.*}}, %c24
// CHECK-NOT: scf
// CHECK: %[[ROW_WORD:.*]] = arith.index_cast %[[SAFE_ROW]]
// CHECK-NEXT: gpu.shuffle idx %[[ROW_WORD]], %c0_i32
// CHECK: %[[RANK_WORD:.*]] = arith.index_cast %[[SAFE_RANK]]
// CHECK-NEXT: gpu.shuffle idx %[[RANK_WORD]], %c0_i32
// CHECK-NOT: scf.if
// CHECK: %[[LOAD0:.*]] = vector.load %{{.*}}, %[[INSIDE4]]] {alignment = 16 : i64} : memref<256x32xbf16, #symm.space>, vector<8xbf16>
// CHECK-NOT: {{scf.if|arith.addf}}
// CHECK: %[[LOAD1:.*]] = vector.load %{{.*}}, %[[INSIDE4]]] {alignment = 16 : i64} : memref<256x32xbf16, #symm.space>, vector<8xbf16>
// CHECK-NOT: {{scf.if|arith.addf}}
// CHECK: %[[LOAD2:.*]] = vector.load %{{.*}}, %[[INSIDE4]]] {alignment = 16 : i64} : memref<256x32xbf16, #symm.space>, vector<8xbf16>
// CHECK-NOT: {{scf.if|arith.addf}}
// CHECK: %[[LOAD3:.*]] = vector.load %{{.*}}, %[[INSIDE4]]] {alignment = 16 : i64} : memref<256x32xbf16, #symm.space>, vector<8xbf16>
// The sum begins with a row that is there when all are.
// CHECK-NEXT: %[[JOINED:.*]] = symm.join_loads %[[LOAD0]] with %[[LOAD1]], %[[LOAD2]], %[[LOAD3]] : vector<8xbf16> with
// CHECK-NEXT: %[[WIDE0:.*]] = arith.extf %[[JOINED]] : vector<8xbf16> to vector<8xf32>
// CHECK-NEXT: %[[SUM0:.*]] = arith.select %{{.*}}, %[[WIDE0]], %{{.*}} : vector<8xf32>
// CHECK-NEXT: %[[WIDE1:.*]] = arith.extf %[[LOAD1]] : vector<8xbf16> to vector<8xf32>
// CHECK-NEXT: %[[BOTH:.*]] = arith.addf %[[SUM0]], %[[WIDE1]] : vector<8xf32>
// CHECK-NEXT: %[[SUM1:.*]] = arith.select %{{.*}}, %[[BOTH]], %[[SUM0]] : vector<8xf32>
// CHECK-NEXT: %[[WIDE2:.*]] = arith.extf %[[LOAD2]] : vector<8xbf16> to vector<8xf32>
// CHECK-NEXT: arith.addf %[[SUM1]], %[[WIDE2]] : vector<8xf32>
// CHECK-NOT: scf.if
// CHECK: arith.truncf {{.*}} : vector<8xf32> to vector<8xbf16>
// The bits of a token's only row come from the joined vector as well.
// CHECK: %[[TOKEN:.*]] = arith.select %{{.*}}, %[[JOINED]], %{{.*}} : vector<8xbf16>
// CHECK-NEXT: vector.store %[[TOKEN]], %{{.*}}, %[[INSIDE4]]]
// Rows of the subgroup's next token, if there is one.
// CHECK: %[[NEXT:.*]] = arith.cmpi ult, %{{.*}}, %{{.*}} : index
// CHECK-NEXT: %[[ROWS:.*]]:2 = scf.if %[[NEXT]] -> (i32, i32)
// CHECK: symm.check %{{.*}}, invalid_count, "send_row"
// CHECK: scf.yield %c-1_i32, %c0_i32 : i32, i32
// CHECK: scf.yield %[[ROWS]]#0, %[[ROWS]]#1 : i32, i32
// A block that has read its rows tells all ranks, whose first blocks wait for all.
// CHECK: symm.phase "release"
// CHECK-NEXT: gpu.barrier
// CHECK: %[[TWICE:.*]] = arith.muli %[[EPOCH]], %c2_i64
// CHECK-NEXT: %[[ERRORS:.*]] = memref.load %[[STATUS]][%c0]
// CHECK-NEXT: %[[VALUE:.*]] = arith.addi %[[TWICE]], %[[ERRORS]]
// CHECK: %[[FIRST:.*]] = arith.muli %[[ME]], %c132
// CHECK: scf.for %[[OWN:.*]] = %[[BLOCK]] to %c132 step %[[GRID]] {
// CHECK: %[[WORD:.*]] = arith.addi %[[FIRST]], %[[OWN]]
// CHECK: symm.signal %[[RELEASED]][%[[WORD]]] at %{{.*}}, %[[VALUE]]
// CHECK: scf.for %[[OWN2:.*]] = %[[BLOCK]] to %c132 step %[[GRID]] {
// CHECK-NEXT: memref.store %[[EPOCH]], %[[RUNS]][%[[OWN2]]]
// CHECK: %[[LEAST:.*]] = arith.muli %[[EPOCH]], %c2_i64
// CHECK-NEXT: scf.for %[[NEAR:.*]] = %[[THREAD]] to %c4 step
// CHECK-NEXT: %[[TURNED:.*]] = arith.addi %{{.*}}, %[[NEAR]]
// CHECK-NEXT: %[[PEER:.*]] = arith.remui %[[TURNED]], %c4
// CHECK-NEXT: %[[FIRST2:.*]] = arith.muli %[[PEER]], %c132
// CHECK-NEXT: scf.for %[[OWN3:.*]] = %[[BLOCK]] to %c132 step %[[GRID]] {
// CHECK-NEXT: %[[ANY:.*]] = arith.addi %[[FIRST2]], %[[OWN3]]
// CHECK-NEXT: %[[SEEN2:.*]] = symm.wait %[[RELEASED]][%[[ANY]]] from %[[PEER]], %[[LEAST]]
// CHECK: symm.check %{{.*}}, peer_failed, {{.*}} peer %[[PEER]]
// CHECK: gpu.terminator
func.func @rank_major(%y: memref<256x32xbf16, #symm.space>,
    %rows: memref<64x4xi32>, %src: memref<256xi32>, %from: memref<4xi32>,
    %out: memref<64x32xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep
      {num_experts = 16 : i64}
    : (memref<256x32xbf16, #symm.space>, memref<64x4xi32>, memref<256xi32>,
       memref<4xi32>, memref<64x32xbf16>) -> ()
  return
}

// A row of 6 bytes: two at a time. Weights are read where the row lies, and
// multiply before rows are added.
// CHECK-LABEL: func.func @weighted_short_rows
// CHECK: %[[THERE:.*]] = symm.peer %{{.*}} : memref<256xf32, #symm.space>
// CHECK: memref.load %[[THERE]]
// One row is weighted as well.
// CHECK: arith.cmpi ule, %{{.*}}, %c1 :
// CHECK: %[[ONLY:.*]] = vector.load {{.*}} {alignment = 2 : i64} : memref<256x3xf16, #symm.space>, vector<1xf16>
// CHECK-NEXT: %[[WIDE:.*]] = arith.extf %[[ONLY]] : vector<1xf16> to vector<1xf32>
// CHECK: %[[PRODUCT:.*]] = arith.mulf %[[WIDE]], %{{.*}} : vector<1xf32>
// CHECK: arith.select %{{.*}}, %[[PRODUCT]], %{{.*}} : vector<1xf32>
// All four rows.
// CHECK: arith.cmpi ule, %{{.*}}, %c2 :
// CHECK: } else {
// CHECK: vector.load {{.*}} {alignment = 2 : i64} : memref<256x3xf16, #symm.space>, vector<1xf16>
// CHECK-NOT: {{arith.mulf|arith.addf}}
// CHECK: %[[JOINED:.*]] = symm.join_loads %{{.*}} with %[[LOAD1:.*]], %{{.*}}, %{{.*}} : vector<1xf16> with
// CHECK-NOT: vector.load
// CHECK: %[[WIDE0:.*]] = arith.extf %[[JOINED]] : vector<1xf16> to vector<1xf32>
// CHECK: %[[PRODUCT0:.*]] = arith.mulf %[[WIDE0]], %{{.*}} : vector<1xf32>
// CHECK: %[[SUM0:.*]] = arith.select %{{.*}}, %[[PRODUCT0]], %{{.*}} : vector<1xf32>
// CHECK: %[[WIDE1:.*]] = arith.extf %[[LOAD1]] : vector<1xf16> to vector<1xf32>
// CHECK: %[[PRODUCT1:.*]] = arith.mulf %[[WIDE1]], %{{.*}} : vector<1xf32>
// CHECK: arith.addf %[[SUM0]], %[[PRODUCT1]] : vector<1xf32>
func.func @weighted_short_rows(%y: memref<256x3xf16, #symm.space>,
    %rows: memref<64x4xi32>, %src: memref<256xi32>, %from: memref<4xi32>,
    %w: memref<256xf32, #symm.space>, %out: memref<64x3xf16>) {
  moe.combine %y, %rows, %src, %from weights(%w) outs(%out) on @ep
      {num_experts = 16 : i64}
    : (memref<256x3xf16, #symm.space>, memref<64x4xi32>, memref<256xi32>,
       memref<4xi32>, memref<256xf32, #symm.space>, memref<64x3xf16>) -> ()
  return
}

// defer_release: nobody is told that rows have been read (combine_s6). All threads of
// a block have met since they began the run, so that one counts it without a barrier.
// CHECK-LABEL: func.func @deferred
// CHECK: %[[RUNS:.*]] = symm.alloc persistent : memref<132xi64, #symm.space>
// CHECK: symm.alloc persistent : memref<4xi64, #symm.space>
// CHECK-NOT: symm.alloc
// CHECK: gpu.launch blocks(%[[BLOCK:[a-z0-9_]+]], %{{.*}}, %{{.*}}) in (%[[GRID:[a-z0-9_]+]] = %c132
// CHECK: %[[LAST:.*]] = memref.load %[[RUNS]][%[[BLOCK]]]
// CHECK: %[[EPOCH:.*]] = arith.addi %[[LAST]], %c1_i64
// CHECK: gpu.barrier
// CHECK: symm.phase "release"
// CHECK-NOT: gpu.barrier
// CHECK-NOT: symm.signal
// CHECK-NOT: symm.wait
// CHECK: scf.for %[[OWN:.*]] = %[[BLOCK]] to %c132 step %[[GRID]] {
// CHECK-NEXT: memref.store %[[EPOCH]], %[[RUNS]][%[[OWN]]]
// CHECK-NOT: gpu.barrier
// CHECK-NOT: symm.signal
// CHECK-NOT: symm.wait
// CHECK: symm.collective_end
func.func @deferred(%y: memref<256x32xbf16, #symm.space>,
    %rows: memref<64x4xi32>, %src: memref<256xi32>, %from: memref<4xi32>,
    %out: memref<64x32xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep
      {defer_release, num_experts = 16 : i64}
    : (memref<256x32xbf16, #symm.space>, memref<64x4xi32>, memref<256xi32>,
       memref<4xi32>, memref<64x32xbf16>) -> ()
  return
}
