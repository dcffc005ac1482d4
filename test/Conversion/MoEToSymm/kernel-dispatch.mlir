// RUN: moe-opt %s --moe-plan="target=cuda blocks=24 threads=256 transfer=stores team=1" \
// RUN:   --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s
// RUN: moe-opt %s --moe-plan="target=cuda blocks=24 threads=32 transfer=stores" \
// RUN:   --convert-moe-to-symm=target=cuda --canonicalize \
// RUN:   | FileCheck %s --check-prefix=MANY
// RUN: moe-opt %s --moe-plan="target=cuda blocks=32 threads=256 transfer=stores team=4" \
// RUN:   --convert-moe-to-symm=target=cuda --canonicalize \
// RUN:   | FileCheck %s --check-prefix=TEAM

shard.grid @ep(shape = 4)

// One kernel. What it needs is allocated before it: a count of runs per block, a
// flag per rank and one per block of each rank, and one for each count of each
// rank, which keep their contents.
// CHECK-LABEL: func.func @rank_major
// CHECK-SAME: %[[X:.*]]: memref<64x32xbf16>, %[[IDX:.*]]: memref<64x2xi32>
// CHECK: symm.collective_begin "moe.dispatch" site 0
// CHECK: %[[ME:.*]] = symm.rank
// CHECK: %[[RUNS:.*]] = symm.alloc persistent : memref<24xi64, #symm.space>
// CHECK: %[[ARRIVED:.*]] = symm.alloc persistent : memref<4xi64, #symm.space>
// CHECK: %[[DONE:.*]] = symm.alloc persistent : memref<96xi64, #symm.space>
// CHECK: %[[COUNTS:.*]] = symm.alloc persistent : memref<16xi64, #symm.space>
// CHECK-NOT: symm.alloc
// CHECK: gpu.launch blocks(%[[BLOCK:[a-z0-9_]+]], %{{.*}}, %{{.*}}) in (%[[GRID:[a-z0-9_]+]] = %c24
// CHECK-SAME: threads(%[[THREAD:[a-z0-9_]+]], %{{.*}}, %{{.*}}) in (%{{.*}} = %c256
// CHECK-SAME: workgroup(%[[STATUS:[a-z0-9_]+]] : memref<1xi64, #gpu.address_space<workgroup>>
// CHECK-SAME: %[[MASKS:[a-z0-9_]+]] : memref<2x5xi32, #gpu.address_space<workgroup>>
// CHECK-SAME: %[[CHUNKS:[a-z0-9_]+]] : memref<3x5xi32, #gpu.address_space<workgroup>>
// CHECK-SAME: %[[ALL:[a-z0-9_]+]] : memref<4x4xi32, #gpu.address_space<workgroup>>
// CHECK: %[[SUBGROUP:.*]] = arith.divui %[[THREAD]], %c32
// A block has its own count.
// CHECK: %[[LAST:.*]] = memref.load %[[RUNS]][%[[BLOCK]]]
// CHECK: %[[EPOCH:.*]] = arith.addi %[[LAST]], %c1_i64
// Nobody's rows depend on more than that this rank has begun.
// CHECK: symm.phase "ready"
// CHECK: symm.signal %[[ARRIVED]][%[[ME]]] at %{{.*}}, %[[EPOCH]] relaxed
// Every block counts all tokens: a subgroup takes 32 of them, a token per lane, and
// votes tell which have a row on a rank. A failed check does not end a kernel: the id is
// replaced, and the token is one of those with errors.
// CHECK: symm.phase "count"
// CHECK: scf.for %[[CHUNK:[a-z0-9_]+]] = %[[SUBGROUP]] to %c2 step %c8
// CHECK: memref.load %[[IDX]][%[[TOKEN:.*]], %c0]
// CHECK: memref.load %[[IDX]][%[[TOKEN]], %c1]
// CHECK: %[[OK:.*]] = arith.andi
// CHECK: arith.select %[[OK]], %{{.*}}, %c-1_i32
// CHECK: symm.check %[[FINE:.*]], invalid_expert
// CHECK: scf.yield %{{.*}}, %{{.*}}, %[[FINE]] : index, index, i1
// CHECK: %[[BAD:.*]] = nvvm.vote.sync ballot
// CHECK: scf.for %[[TO:[a-z0-9_]+]] = %c0 to %c4
// CHECK: %[[VOTE:.*]] = nvvm.vote.sync ballot
// CHECK: memref.store %[[VOTE]], %[[MASKS]][%[[CHUNK]], %[[TO]]]
// CHECK: memref.store %[[BAD]], %[[MASKS]][%[[CHUNK]], %c4]
// Then each chunk learns of the rows of those before it, and of the tokens with errors.
// CHECK: gpu.barrier
// CHECK: scf.for %[[RANK:[a-z0-9_]+]] = %[[THREAD]] to %c5
// CHECK: %[[MASK:.*]] = memref.load %[[MASKS]][%[[C:.*]], %[[RANK]]]
// CHECK: memref.store %{{.*}}, %[[CHUNKS]][%[[C]], %[[RANK]]]
// CHECK: math.ctpop %[[MASK]]
// CHECK: memref.store %{{.*}}, %[[CHUNKS]][%c2, %[[RANK]]]
// CHECK-NOT: symm.{{grid_barrier|post|failed}}
// One block sends its counts, each as the value of a signal, below the epoch; a rank with
// an error sends a number that is no count.
// CHECK: symm.phase "exchange"
// CHECK: gpu.barrier
// CHECK: %[[BAD_TOKENS:.*]] = memref.load %[[CHUNKS]][%c2, %c4]
// CHECK: %[[NUM_BAD:.*]] = arith.index_cast %[[BAD_TOKENS]]
// CHECK: %[[FAILED:.*]] = arith.cmpi ne, %[[NUM_BAD]], %c0 :
// CHECK: %[[MINE:.*]] = arith.muli %[[ME]], %c4
// CHECK: %[[PEER:.*]] = arith.divui %{{.*}}, %c4
// CHECK: %[[COUNT:.*]] = arith.select %[[FAILED]], %c127_i64
// CHECK: %[[WORD:.*]] = arith.addi %[[MINE]]
// CHECK: %[[BASE:.*]] = arith.shli %[[EPOCH]], %c7_i64
// CHECK: %[[VALUE:.*]] = arith.addi %[[BASE]], %[[COUNT]]
// CHECK: symm.signal %[[COUNTS]][%[[WORD]]] at %[[PEER]], %[[VALUE]] relaxed
// CHECK: %[[SEEN:.*]] = symm.wait %[[ARRIVED]][%[[R:.*]]] from %[[R]], %[[EPOCH]]
// CHECK-NEXT: arith.cmpi uge, %[[SEEN]], %[[EPOCH]]
// Each block waits for all counts, and writes them down for its threads.
// CHECK: %[[HAVE:.*]] = scf.for %[[W:[a-z0-9_]+]] = %[[THREAD]] to %c16 step %c256
// CHECK: %[[OF:.*]] = arith.divui %[[W]], %c4
// CHECK: %[[FOR:.*]] = arith.remui %[[W]], %c4
// CHECK: %[[GOT:.*]] = symm.wait %[[COUNTS]][%[[W]]] from %[[OF]]
// CHECK: arith.cmpi ule, %{{.*}}, %c64_i64
// CHECK: %[[ROWS:.*]] = arith.select %{{.*}}, %{{.*}}, %c-1_i32
// CHECK: memref.store %[[ROWS]], %[[ALL]][%[[OF]], %[[FOR]]]
// A block puts no row when a rank has not come in time.
// CHECK: %[[ALL_THERE:.*]] = nvvm.barrier #nvvm.reduction<and> %{{.*}} -> i32
// CHECK-NEXT: %[[ARE_THERE:.*]] = arith.cmpi ne, %[[ALL_THERE]], %c0_i32
// CHECK: memref.store %c1_i64, %[[STATUS]][%c0]
// CHECK: arith.select %[[ARE_THERE]], %{{.*}}, %{{.*}} : index
// CHECK: symm.phase "place"
// CHECK: symm.check %{{.*}}, peer_failed
// CHECK: symm.check %{{.*}}, capacity_exceeded
// One subgroup per token; the row is read once for all ranks. Experts are loaded
// before it, so that the loads are in flight together; the lanes store those of a row
// together. Which row a token has is the number of bits before its own.
// CHECK: symm.phase "put"
// CHECK-NOT: symm.take
// CHECK: memref.load %[[IDX]]
// CHECK: %[[CHUNK_OF:.*]] = arith.divui %[[OWN_TOKEN:.*]], %c32
// CHECK-NEXT: %[[TOKENS:.*]] = memref.load %[[MASKS]][%[[CHUNK_OF]], %[[SLOT:.*]]]
// CHECK-NEXT: %[[IN_CHUNK:.*]] = arith.remui %[[OWN_TOKEN]], %c32
// CHECK-NEXT: %[[PLACE:.*]] = arith.index_cast %[[IN_CHUNK]]
// CHECK-NEXT: %[[BIT:.*]] = arith.shli %c1_i32, %[[PLACE]]
// CHECK-NEXT: %[[OWN_BIT:.*]] = arith.andi %[[TOKENS]], %[[BIT]]
// CHECK-NEXT: arith.cmpi ne, %[[OWN_BIT]], %c0_i32
// CHECK-NEXT: %[[LOWER:.*]] = arith.subi %[[BIT]], %c1_i32
// CHECK-NEXT: %[[BEFORE:.*]] = arith.andi %[[TOKENS]], %[[LOWER]]
// CHECK-NEXT: memref.load %[[CHUNKS]][%[[CHUNK_OF]], %[[SLOT]]]
// CHECK: math.ctpop %[[BEFORE]]
// CHECK: symm.put_each %[[X]][%{{.*}}] to %{{.*}} lanes 4
// CHECK: gpu.shuffle
// CHECK: symm.peer
// A block that is done meets, and signals its own words on every rank: twice the epoch,
// and one more after an error. A smaller grid than planned may run: then a block has
// several.
// CHECK: symm.phase "complete"
// CHECK-NEXT: gpu.barrier
// CHECK: %[[TWICE:.*]] = arith.muli %[[EPOCH]], %c2_i64
// CHECK-NEXT: %[[ERRORS:.*]] = memref.load %[[STATUS]][%c0]
// CHECK-NEXT: %[[VALUE:.*]] = arith.addi %[[TWICE]], %[[ERRORS]]
// CHECK-NEXT: scf.for %{{.*}} = %[[THREAD]] to %c4
// CHECK: %[[FIRST:.*]] = arith.muli %[[ME]], %c24
// CHECK-NEXT: scf.for %[[OWN:.*]] = %[[BLOCK]] to %c24 step %[[GRID]] {
// CHECK-NEXT: %[[WORD:.*]] = arith.addi %[[FIRST]], %[[OWN]]
// CHECK-NEXT: symm.signal %[[DONE]][%[[WORD]]] at %{{.*}}, %[[VALUE]]
// One of its threads counts the run.
// CHECK: %[[IS_THREAD:.*]] = arith.cmpi eq, %[[THREAD]], %c0
// CHECK-NEXT: scf.if %[[IS_THREAD]]
// CHECK-NEXT: scf.for %[[OWN2:.*]] = %[[BLOCK]] to %c24 step %[[GRID]] {
// CHECK-NEXT: memref.store %[[EPOCH]], %[[RUNS]][%[[OWN2]]]
// The block waits for the words with its numbers from all ranks.
// CHECK: %[[LEAST:.*]] = arith.muli %[[EPOCH]], %c2_i64
// CHECK-NEXT: scf.for %[[NEAR:.*]] = %[[THREAD]] to %c4 step
// CHECK-NEXT: %[[TURNED:.*]] = arith.addi %{{.*}}, %[[NEAR]]
// CHECK-NEXT: %[[PEER:.*]] = arith.remui %[[TURNED]], %c4
// CHECK-NEXT: %[[FIRST2:.*]] = arith.muli %[[PEER]], %c24
// CHECK-NEXT: scf.for %[[OWN3:.*]] = %[[BLOCK]] to %c24 step %[[GRID]] {
// CHECK-NEXT: %[[ANY:.*]] = arith.addi %[[FIRST2]], %[[OWN3]]
// CHECK-NEXT: %[[SEEN2:.*]] = symm.wait %[[DONE]][%[[ANY]]] from %[[PEER]], %[[LEAST]]
// CHECK-NEXT: %[[REST:.*]] = arith.subi %[[SEEN2]], %[[LEAST]]
// CHECK-NEXT: %[[IS_FINE:.*]] = arith.cmpi ne, %[[REST]], %c1_i64
// CHECK-NEXT: symm.check %[[IS_FINE]], peer_failed, {{.*}} peer %[[PEER]]
// CHECK-NOT: symm.{{signal|wait|check}}
// CHECK: gpu.terminator
// CHECK: symm.collective_end

// More tokens than threads: blocks share the chunks out and post what they find, a word
// for each key and chunk. The last key has the tokens with errors.
// MANY-LABEL: func.func @rank_major
// MANY: symm.alloc persistent : memref<24xi64, #symm.space>
// MANY: symm.alloc persistent : memref<4xi64, #symm.space>
// MANY: symm.alloc persistent : memref<96xi64, #symm.space>
// MANY: %[[TICKETS:.*]] = symm.alloc persistent : memref<2xi64, #symm.space>
// MANY: %[[POSTED:.*]] = symm.alloc persistent : memref<10xi64, #symm.space>
// MANY-NOT: memref.alloc
// MANY: gpu.launch blocks(%[[BLOCK:[a-z0-9_]+]], %{{.*}}, %{{.*}}) in (%[[GRID:[a-z0-9_]+]] = %c24
// MANY-SAME: threads(%[[THREAD:[a-z0-9_]+]],
// MANY-SAME: %[[MASKS:[a-z0-9_]+]] : memref<2x5xi32, #gpu.address_space<workgroup>>
// MANY-SAME: %[[CHUNKS:[a-z0-9_]+]] : memref<3x5xi32, #gpu.address_space<workgroup>>
// MANY: %[[SUBGROUP:.*]] = arith.divui %{{.*}}, %c32
// MANY: %[[LANE:.*]] = arith.remui %{{.*}}, %c32
// MANY: %[[EPOCH:.*]] = arith.addi %{{.*}}, %c1_i64
// MANY: symm.phase "count"
// MANY: %[[BEFORE:.*]] = arith.muli %[[SUBGROUP]], %[[GRID]]
// MANY: %[[OWN:.*]] = arith.addi %[[BLOCK]], %[[BEFORE]]
// MANY: scf.for %[[CHUNK:[a-z0-9_]+]] = %[[OWN]] to %c2 step %[[GRID]]
// MANY: %[[BAD:.*]] = nvvm.vote.sync ballot
// MANY: scf.for %[[TO:[a-z0-9_]+]] = %c0 to %c4
// MANY: %[[VOTE:.*]] = nvvm.vote.sync ballot
// MANY: %[[ROW:.*]] = arith.muli %[[TO]], %c2
// MANY: %[[WORD:.*]] = arith.addi %[[ROW]], %[[CHUNK]]
// MANY: symm.post %[[VOTE]] to %[[POSTED]][%[[WORD]]] in %[[EPOCH]]
// MANY: symm.post %[[BAD]] to %[[POSTED]][%{{.*}}] in %[[EPOCH]]
// Every block collects all words, a thread each, and meets by itself. It puts no row when
// one has not come.
// MANY: %[[COME:.*]] = scf.for %[[WORD:[a-z0-9_]+]] = %[[THREAD]] to %c10 step %c32 iter_args(%[[SO_FAR:[a-z0-9_]+]] = %true)
// MANY: %[[VALUE:.*]], %[[IS_POSTED:.*]] = symm.collect %[[POSTED]][%[[WORD]]] in %[[EPOCH]]
// MANY-NEXT: %[[OF:.*]] = arith.divui %[[WORD]], %c2
// MANY-NEXT: %[[AT:.*]] = arith.remui %[[WORD]], %c2
// MANY-NEXT: memref.store %[[VALUE]], %[[MASKS]][%[[AT]], %[[OF]]]
// MANY-NEXT: arith.andi %[[SO_FAR]], %[[IS_POSTED]]
// MANY: %[[HAS_COME:.*]] = arith.extui %[[COME]]
// MANY-NEXT: %[[HAVE_COME:.*]] = nvvm.barrier #nvvm.reduction<and> %[[HAS_COME]] -> i32
// MANY-NEXT: %[[MET:.*]] = arith.cmpi ne, %[[HAVE_COME]], %c0_i32
// MANY: %[[LEFT:.*]] = arith.select %[[MET]], %c64, %c0
// It adds up the bits of the chunks before each one, a lane per chunk; the last lane has
// the total.
// MANY: scf.for %[[KEY:[a-z0-9_]+]] = %[[SUBGROUP]] to %c5
// MANY-NEXT: %[[OWN_CHUNK:.*]] = arith.minui %[[LANE]], %c2
// MANY-NEXT: %[[NEXT_CHUNK:.*]] = arith.addi %[[OWN_CHUNK]], %c1
// MANY-NEXT: %[[OWN_END:.*]] = arith.minui %[[NEXT_CHUNK]], %c2
// MANY-NEXT: scf.for %[[C:[a-z0-9_]+]] = %[[OWN_CHUNK]] to %[[OWN_END]]
// MANY-NEXT: memref.load %[[MASKS]][%[[C]], %[[KEY]]]
// MANY-COUNT-5: gpu.shuffle idx
// MANY: %[[TOTAL:.*]] = scf.for %[[C2:[a-z0-9_]+]] = %[[OWN_CHUNK]] to %[[OWN_END]]
// MANY: memref.store %{{.*}}, %[[CHUNKS]][%[[C2]], %[[KEY]]]
// MANY: memref.load %[[MASKS]][%[[C2]], %[[KEY]]]
// MANY: %[[IS_LAST:.*]] = arith.cmpi eq, %[[LANE]], %c31
// MANY-NEXT: scf.if %[[IS_LAST]]
// MANY-NEXT: arith.index_cast %[[TOTAL]]
// MANY-NEXT: memref.store %{{.*}}, %[[CHUNKS]][%c2, %[[KEY]]]
// MANY-NOT: symm.grid_barrier
// MANY: symm.phase "exchange"
// MANY-NOT: symm.failed
// MANY: gpu.barrier
// MANY: gpu.barrier
// MANY: %[[BAD_TOKENS:.*]] = memref.load %[[CHUNKS]][%c2, %c4]
// MANY: %[[NUM_BAD:.*]] = arith.index_cast %[[BAD_TOKENS]]
// MANY: %[[HAS_BAD:.*]] = arith.cmpi ne, %[[NUM_BAD]], %c0 :
// MANY: %[[NOT_MET:.*]] = arith.cmpi eq, %[[MET]], %false
// MANY: %[[FAILED:.*]] = arith.ori %[[HAS_BAD]], %[[NOT_MET]]
// MANY: arith.select %[[FAILED]], %c127_i64
// Each subgroup begins with a token of its own and then takes what is left. It asks
// for the next one before it copies; no token is left after an error.
// MANY: %[[LEFT2:.*]] = arith.select %{{.*}}, %[[LEFT]], %c0 :
// MANY: symm.phase "place"
// MANY: %[[TOKENS:.*]] = arith.select %{{.*}}, %[[LEFT2]], %c0 :
// MANY: symm.phase "put"
// MANY-NEXT: %[[BEFORE:.*]] = arith.muli %[[SUBGROUP]], %[[GRID]]
// MANY-NEXT: %[[FIRST:.*]] = arith.addi %[[BEFORE]], %[[BLOCK]]
// MANY-NEXT: scf.while (%[[NEXT:[a-z0-9_]+]] = %[[FIRST]]) : (index) -> index {
// MANY-NEXT: %[[IS_TOKEN:.*]] = arith.cmpi ult, %[[NEXT]], %[[TOKENS]]
// MANY-NEXT: scf.condition(%[[IS_TOKEN]]) %[[NEXT]]
// MANY: ^bb0(%[[TOKEN:[a-z0-9_]+]]: index):
// MANY: %[[IS_LANE:.*]] = arith.cmpi eq, %[[LANE]], %c0
// MANY-NEXT: %[[TICKET:.*]] = scf.if %[[IS_LANE]]
// MANY: %[[PARITY:.*]] = arith.andi %[[EPOCH]], %c1_i64
// MANY-NEXT: %[[WORD:.*]] = arith.index_cast %[[PARITY]]
// MANY-NEXT: symm.take %[[TICKETS]][%[[WORD]]]
// MANY: %[[CHUNK_OF:.*]] = arith.divui %[[TOKEN]], %c32
// MANY: memref.load %[[MASKS]][%[[CHUNK_OF]],
// MANY: memref.load %[[CHUNKS]][%[[CHUNK_OF]],
// MANY: symm.put_each %{{.*}}[%[[TOKEN]]]
// MANY: arith.index_cast %[[TICKET]]
// MANY: %[[TAKEN:.*]], %{{.*}} = gpu.shuffle idx %{{.*}}, %c0_i32
// MANY: %[[NUMBER_TAKEN:.*]] = arith.index_cast %[[TAKEN]]
// MANY-NEXT: %[[AFTER:.*]] = arith.addi %[[GRID]], %[[NUMBER_TAKEN]]
// MANY-NEXT: scf.yield %[[AFTER]]
// The first block resets the counter of the next run.
// MANY: symm.phase "complete"
// MANY: symm.signal
// MANY: %[[NEXT_PARITY:.*]] = arith.andi %{{.*}}, %c1_i64
// MANY: %[[NEXT_WORD:.*]] = arith.index_cast %[[NEXT_PARITY]]
// MANY: memref.store %c0_i64, %[[TICKETS]][%[[NEXT_WORD]]]
// MANY: symm.wait

// A team shares each row; its last member writes what goes with it. Each has one share
// at most, and does not ask for more.
// TEAM-LABEL: func.func @rank_major
// TEAM: symm.phase "put"
// TEAM-NOT: symm.take
// TEAM: %[[LAST:.*]] = arith.cmpi eq, %[[MEMBER:.*]], %c3
// TEAM: scf.if %[[LAST]]
// TEAM: symm.put_each {{.*}} share %[[MEMBER]] of 4
// TEAM: scf.if %[[LAST]]
// TEAM: gpu.shuffle
// TEAM-NOT: symm.take
func.func @rank_major(%x: memref<64x32xbf16>, %idx: memref<64x2xi32>,
    %w: memref<64x2xf32>, %recv_x: memref<256x32xbf16, #symm.space>,
    %recv_idx: memref<256x2xi32, #symm.space>,
    %recv_w: memref<256x2xf32, #symm.space>,
    %src: memref<256xi32, #symm.space>, %to: memref<4xi32>,
    %from: memref<4xi32>, %rows: memref<64x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 16 : i64}
    : (memref<64x32xbf16>, memref<64x2xi32>, memref<64x2xf32>,
       memref<256x32xbf16, #symm.space>, memref<256x2xi32, #symm.space>,
       memref<256x2xf32, #symm.space>, memref<256xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<64x4xi32>) -> ()
  return
}

// A slab needs no counts of others to put rows: ranks say that they are ready, and
// send the counts as flags that nobody waits for before the end. There is no phase to
// place rows either.
// CHECK-LABEL: func.func @slab
// CHECK: %[[ME:.*]] = symm.rank
// CHECK: %[[RUNS:.*]] = symm.alloc persistent : memref<24xi64, #symm.space>
// CHECK: %[[READY:.*]] = symm.alloc persistent : memref<4xi64, #symm.space>
// CHECK: %[[DONE:.*]] = symm.alloc persistent : memref<96xi64, #symm.space>
// CHECK: %[[COUNTS:.*]] = symm.alloc persistent : memref<4xi64, #symm.space>
// CHECK: gpu.launch blocks(%[[BLOCK:[a-z0-9_]+]],
// CHECK-SAME: %[[CHUNKS:[a-z0-9_]+]] : memref<3x5xi32, #gpu.address_space<workgroup>>
// CHECK: %[[LAST:.*]] = memref.load %[[RUNS]][%[[BLOCK]]]
// CHECK: %[[EPOCH:.*]] = arith.addi %[[LAST]], %c1_i64
// Lanes of the last subgroup signal, in the first block, and wait, in all. There is
// nothing to publish.
// CHECK: symm.phase "ready"
// CHECK: %[[IS_BLOCK:.*]] = arith.cmpi eq, %[[BLOCK]], %c0
// CHECK-NEXT: scf.if %[[IS_BLOCK]]
// CHECK-NEXT: %[[SENDS:.*]] = arith.cmpi eq, %{{.*}}, %c7
// CHECK-NEXT: scf.if %[[SENDS]]
// CHECK: symm.signal %[[READY]][%[[ME]]] at %{{.*}}, %[[EPOCH]] relaxed
// CHECK: %[[IS_SUBGROUP:.*]] = arith.cmpi eq, %{{.*}}, %c7
// CHECK-NEXT: scf.if %[[IS_SUBGROUP]]
// CHECK: %{{.*}} = symm.wait %[[READY]][%[[R:.*]]] from %[[R]], %[[EPOCH]]
// CHECK: symm.phase "count"
// CHECK: memref.store %{{.*}}, %[[CHUNKS]][%c2, %{{.*}}]
// CHECK: symm.phase "exchange"
// CHECK-NOT: symm.{{wait|failed}}
// CHECK: nvvm.barrier
// The epoch lies above seven bits: a count, or all ones after an error.
// CHECK: %[[IS_BLOCK2:.*]] = arith.cmpi eq, %[[BLOCK]], %c0
// CHECK-NEXT: scf.if %[[IS_BLOCK2]]
// CHECK: %[[BAD_TOKENS:.*]] = memref.load %[[CHUNKS]][%c2, %c4]
// CHECK: %[[NUM_BAD:.*]] = arith.index_cast %[[BAD_TOKENS]]
// CHECK: %[[FAILED:.*]] = arith.cmpi ne, %[[NUM_BAD]], %c0 :
// CHECK: memref.load %[[CHUNKS]][%c2, %[[PEER:.*]]]
// CHECK: %[[COUNT:.*]] = arith.select %[[FAILED]], %c127_i64, %{{.*}} : i64
// CHECK: %[[SHIFTED:.*]] = arith.shli %[[EPOCH]], %c7_i64
// CHECK: %[[VALUE:.*]] = arith.addi %[[SHIFTED]], %[[COUNT]]
// CHECK: symm.signal %[[COUNTS]][%[[ME]]] at %[[PEER]], %[[VALUE]] relaxed
// CHECK-NOT: symm.phase "place"
// CHECK: symm.phase "put"
// CHECK: arith.muli %[[ME]], %c64
// CHECK: symm.put_each
// CHECK: symm.phase "complete"
// CHECK-NEXT: gpu.barrier
// CHECK: symm.signal %[[DONE]]
// CHECK: memref.store %[[EPOCH]], %[[RUNS]]
// CHECK: %[[IS_BLOCK3:.*]] = arith.cmpi eq, %[[BLOCK]], %c0
// CHECK-NEXT: scf.if %[[IS_BLOCK3]]
// CHECK-NEXT: %[[RECEIVES:.*]] = arith.cmpi eq, %{{.*}}, %c7
// CHECK-NEXT: scf.if %[[RECEIVES]]
// CHECK: %[[LEAST:.*]] = arith.shli %[[EPOCH]], %c7_i64
// CHECK: %[[SEEN:.*]] = symm.wait %[[COUNTS]][%[[FROM:.*]]] from %[[FROM]], %[[LEAST]]
// CHECK: %[[ROWS:.*]] = arith.subi %[[SEEN]], %{{.*}} : i64
// CHECK: %[[IS_COUNT:.*]] = arith.cmpi ne, %[[ROWS]], %c127_i64
// CHECK: symm.check %[[IS_COUNT]], peer_failed, {{.*}} peer %[[FROM]]
// CHECK: memref.store %{{.*}}[%[[FROM]]] : memref<4xi32>
// CHECK: symm.wait %[[DONE]]
// CHECK: gpu.terminator

// With many tokens each block collects the masks of all chunks: a rank's part of the slab
// starts where it always does.
// MANY-LABEL: func.func @slab
// MANY: %[[ME:.*]] = symm.rank
// MANY: symm.alloc persistent : memref<24xi64, #symm.space>
// MANY: %[[READY:.*]] = symm.alloc persistent : memref<4xi64, #symm.space>
// MANY: %[[DONE:.*]] = symm.alloc persistent : memref<96xi64, #symm.space>
// MANY: %[[TICKETS:.*]] = symm.alloc persistent : memref<2xi64, #symm.space>
// MANY: %[[POSTED:.*]] = symm.alloc persistent : memref<10xi64, #symm.space>
// MANY: %[[COUNTS:.*]] = symm.alloc persistent : memref<4xi64, #symm.space>
// MANY: gpu.launch
// MANY-SAME: %[[MASKS:[a-z0-9_]+]] : memref<2x5xi32, #gpu.address_space<workgroup>>
// MANY-SAME: %[[CHUNKS:[a-z0-9_]+]] : memref<3x5xi32, #gpu.address_space<workgroup>>
// MANY: symm.phase "ready"
// MANY: symm.signal %[[READY]]{{.*}} relaxed
// MANY-NOT: symm.wait
// MANY: symm.phase "count"
// MANY: symm.post %{{.*}} to %[[POSTED]][
// A subgroup that waits for ranks has posted its masks: other blocks do not wait for it.
// MANY: symm.phase "ready"
// MANY: symm.wait %[[READY]]
// MANY: symm.phase "count"
// MANY: symm.collect %[[POSTED]][
// MANY: memref.load %[[MASKS]][
// MANY: memref.store %{{.*}}, %[[CHUNKS]][
// MANY-NOT: symm.{{grid_barrier|failed}}
// MANY: symm.phase "exchange"
// MANY: nvvm.barrier
// MANY: memref.load %[[CHUNKS]][%c2, %c4]
// MANY: symm.signal %[[COUNTS]]{{.*}} relaxed
// MANY-NOT: symm.phase "place"
// MANY: symm.phase "put"
// MANY: scf.while
// MANY: symm.take %[[TICKETS]]
// MANY: arith.muli %[[ME]], %c64
// MANY: symm.put_each
// MANY: symm.phase "complete"
// MANY: symm.signal %[[DONE]]
// MANY: memref.store %c0_i64, %[[TICKETS]][
// MANY: symm.wait %[[COUNTS]]
// MANY: symm.check %{{.*}}, peer_failed
// MANY: symm.wait %[[DONE]]
func.func @slab(%x: memref<64x32xbf16>, %idx: memref<64x2xi32>,
    %w: memref<64x2xf32>, %recv_x: memref<256x32xbf16, #symm.space>,
    %recv_idx: memref<256x2xi32, #symm.space>,
    %recv_w: memref<256x2xf32, #symm.space>,
    %src: memref<256xi32, #symm.space>, %to: memref<4xi32>,
    %from: memref<4xi32>, %rows: memref<64x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 16 : i64, layout = #moe.layout<slab>}
    : (memref<64x32xbf16>, memref<64x2xi32>, memref<64x2xf32>,
       memref<256x32xbf16, #symm.space>, memref<256x2xi32, #symm.space>,
       memref<256x2xf32, #symm.space>, memref<256xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<64x4xi32>) -> ()
  return
}

// Keys are experts, and tokens more than a block has threads: nine counts per rank. A
// thread sums up the rows of lower ranks for an expert, a subgroup adds those of lower
// blocks, and one lays out the groups of a rank, a lane for each: they take up multiples
// of the alignment, and what is needed ends where the last one with rows does. One lane
// per top-k slot when rows are put.
// CHECK-LABEL: func.func @expert_major
// CHECK: symm.alloc persistent : memref<36xi64, #symm.space>
// CHECK: gpu.launch
// CHECK-SAME: threads(%[[THREAD:[a-z0-9_]+]],
// CHECK-SAME: %[[START:[a-z0-9_]+]] : memref<9xi32, {{.*}}>, %{{[a-z0-9_]+}} : memref<4x9xi32, {{.*}}>, %[[NEEDED:[a-z0-9_]+]] : memref<4xi32, {{.*}}>, %[[GROUPS:[a-z0-9_]+]] : memref<9xi32, {{.*}}>, %[[ROWS:[a-z0-9_]+]] : memref<9xi32,
// CHECK: symm.phase "count"
// CHECK: symm.grid_barrier
// CHECK: symm.phase "place"
// CHECK: scf.for %[[EXPERT:[a-z0-9_]+]] = %[[THREAD]] to %c9 step %c32
// CHECK: memref.store %{{.*}}, %[[ROWS]][%[[EXPERT]]]
// CHECK: memref.store %{{.*}}, %[[START]][%[[EXPERT]]]
// CHECK: gpu.barrier
// CHECK: gpu.subgroup_reduce add
// CHECK: memref.store %{{.*}}, %[[START]]
// CHECK: gpu.barrier
// CHECK: scf.for %{{.*}} to %{{.*}} step %c32 iter_args(%[[END:[a-z0-9_]+]] = %c0, %[[USED:[a-z0-9_]+]] = %c0)
// CHECK: %[[ROOM:.*]] = arith.muli %{{.*}}, %c16
// CHECK: %[[GROUP:.*]] = arith.addi %[[END]], %
// CHECK: memref.store %{{.*}}, %[[GROUPS]]
// CHECK: nvvm.vote.sync ballot
// CHECK: %[[ZEROS:.*]] = math.ctlz
// CHECK-NEXT: arith.subi %c31_i32, %[[ZEROS]]
// CHECK: gpu.shuffle
// CHECK: memref.store %{{.*}}, %[[NEEDED]]
// CHECK: symm.phase "put"
// CHECK: arith.maxsi
// CHECK: symm.put_each {{.*}} lanes 3
func.func @expert_major(%x: memref<40x8xf32>, %idx: memref<40x3xi32>,
    %w: memref<40x3xf32>, %recv_x: memref<480x8xf32, #symm.space>,
    %recv_idx: memref<480xi32, #symm.space>,
    %recv_w: memref<480xf32, #symm.space>, %src: memref<480xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<40x3xi32>,
    %offsets: memref<3xi32>, %group_counts: memref<3xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %group_counts)
      on @ep {num_experts = 9 : i64, layout = #moe.layout<expert_major>,
      alignment = 16 : i64, kernel = #moe.kernel<blocks = 24, threads = 32>}
    : (memref<40x8xf32>, memref<40x3xi32>, memref<40x3xf32>,
       memref<480x8xf32, #symm.space>, memref<480xi32, #symm.space>,
       memref<480xf32, #symm.space>, memref<480xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<40x3xi32>, memref<3xi32>,
       memref<3xi32>) -> ()
  return
}

// reuse counts nothing. A block with an error says so at the end: its flags have twice
// the epoch, and one more.
// CHECK-LABEL: func.func @reuse
// CHECK: symm.alloc persistent : memref<24xi64, #symm.space>
// CHECK: %[[READY:.*]] = symm.alloc persistent : memref<4xi64, #symm.space>
// CHECK: %[[DONE:.*]] = symm.alloc persistent : memref<96xi64, #symm.space>
// CHECK-NOT: symm.alloc
// CHECK: gpu.launch
// CHECK-SAME: workgroup(%[[STATUS:[a-z0-9_]+]] : memref<1xi64, #gpu.address_space<workgroup>>
// CHECK: %[[EPOCH:.*]] = arith.addi %{{.*}}, %c1_i64
// CHECK: memref.store %c0_i64, %[[STATUS]][
// CHECK: symm.phase "ready"
// CHECK: symm.signal %[[READY]]{{.*}} relaxed
// CHECK: symm.wait %[[READY]]
// CHECK: nvvm.barrier
// CHECK-NOT: symm.grid_barrier
// CHECK: symm.phase "put"
// CHECK-NOT: symm.take
// CHECK: symm.check %[[FINE:.*]], invalid_count, "send_row"
// CHECK: %[[WRONG:.*]] = arith.cmpi eq, %[[FINE]], %false
// CHECK-NEXT: scf.if %[[WRONG]]
// CHECK-NEXT: memref.store %c1_i64, %[[STATUS]][
// CHECK: symm.put_each
// CHECK: symm.phase "complete"
// CHECK-NEXT: gpu.barrier
// CHECK: %[[TWICE:.*]] = arith.muli %[[EPOCH]], %c2_i64
// CHECK: %[[ERRORS:.*]] = memref.load %[[STATUS]]
// CHECK: %[[VALUE:.*]] = arith.addi %[[TWICE]], %[[ERRORS]]
// CHECK: symm.signal %[[DONE]][%{{.*}}] at %{{.*}}, %[[VALUE]] : memref
// CHECK: %[[LEAST:.*]] = arith.muli %[[EPOCH]], %c2_i64
// CHECK: %[[SEEN:.*]] = symm.wait %[[DONE]][%{{.*}}] from %[[PEER:.*]], %[[LEAST]]
// CHECK: %[[REST:.*]] = arith.subi %[[SEEN]], %
// CHECK: %[[IS_FINE:.*]] = arith.cmpi ne, %[[REST]], %c1_i64
// CHECK: symm.check %[[IS_FINE]], peer_failed, {{.*}} peer %[[PEER]]
// CHECK-NOT: symm.{{signal|wait}}
// CHECK: gpu.terminator

// It shares out more tokens than there are subgroups.
// MANY-LABEL: func.func @reuse
// MANY: %[[TICKETS:.*]] = symm.alloc persistent : memref<2xi64, #symm.space>
// MANY: gpu.launch blocks(%[[BLOCK:[a-z0-9_]+]], %{{.*}}, %{{.*}}) in (%[[GRID:[a-z0-9_]+]] = %c24
// MANY: %[[SUBGROUP:.*]] = arith.divui %{{.*}}, %c32
// MANY: symm.phase "put"
// MANY: %[[BEFORE:.*]] = arith.muli %[[SUBGROUP]], %[[GRID]]
// MANY: %[[FIRST:.*]] = arith.addi %[[BEFORE]], %[[BLOCK]]
// MANY: scf.while (%{{.*}} = %[[FIRST]])
// MANY: symm.take %[[TICKETS]]
// MANY: symm.check %{{.*}}, invalid_count, "send_row"
// MANY: symm.put_each
// MANY: %[[NEXT:.*]] = arith.addi %[[GRID]], %
// MANY-NEXT: scf.yield %[[NEXT]]
// MANY: symm.phase "complete"
// MANY: memref.store %c0_i64, %[[TICKETS]][
func.func @reuse(%x: memref<64x32xbf16>, %rows: memref<64x4xi32>,
    %recv_x: memref<256x32xbf16, #symm.space>) {
  moe.dispatch %x reuse(%rows) outs(%recv_x) on @ep {num_experts = 16 : i64}
    : (memref<64x32xbf16>, memref<64x4xi32>,
       memref<256x32xbf16, #symm.space>) -> ()
  return
}
