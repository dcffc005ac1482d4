// Rows that cross to a rank once, and are copied there to their other places.
// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize --cse | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @expand
// A word and a list for each share of each rank's tokens.
// CHECK: %[[WORDS:.*]] = symm.alloc persistent : memref<1280xi64, #symm.space>
// CHECK: %[[LISTS:.*]] = symm.alloc : memref<1280x3xi32, #symm.space>
// CHECK: %[[TICKETS:.*]] = symm.alloc persistent : memref<2xi64, #symm.space>
// CHECK: gpu.launch blocks(%{{.*}}, %{{.*}}, %{{.*}}) in (%[[GRID:[a-z0-9_]+]] = %c3
// CHECK: %[[EPOCH:.*]] = arith.addi %{{.*}}, %c1_i64 : i64
// Any block finds the rows of any token.
// CHECK: symm.phase "place"
// CHECK: symm.grid_barrier
// Two of four subgroups put.
// CHECK: symm.phase "put"
// CHECK: %[[PUTS:.*]] = arith.cmpi ult, %{{.*}}, %c2 : index
// CHECK: scf.if %[[PUTS]]
// CHECK: arith.muli %[[GRID]], %c2
// CHECK: scf.while
// CHECK: %[[FOUND:.*]]:2 = scf.if
// The other rank of a lane's row; how many lower lanes have rows there, and how many have.
// CHECK: %[[HERE:.*]] = arith.cmpi ne, %[[FOUND]]#1, %me
// CHECK: %[[ELSEWHERE:.*]] = arith.andi %{{.*}}, %[[HERE]]
// CHECK: %[[RANK:.*]] = arith.select %[[ELSEWHERE]], %[[FOUND]]#1, %c-1
// CHECK: %[[COUNTS:.*]]:2 = scf.for %{{.*}} = %c0 to %c3
// CHECK: gpu.shuffle
// This rank's own rows, and the first one of each other rank.
// CHECK: %[[LATER:.*]] = arith.cmpi ne, %[[COUNTS]]#0, %c0
// CHECK-NEXT: %[[COPIED:.*]] = arith.andi %[[ELSEWHERE]], %[[LATER]]
// CHECK-NEXT: %[[TO:.*]] = arith.select %[[COPIED]], %c-1, %[[FOUND]]#0
// CHECK-NEXT: symm.put_each %{{.*}}[%{{.*}}] to %[[RECV:[a-z0-9_]+]][%[[TO]]] at %[[FOUND]]#1
// Where there are several, the list has all of them.
// CHECK: arith.cmpi ugt, %[[COUNTS]]#1, %c1
// CHECK: scf.if
// CHECK-NEXT: %[[THERE:.*]] = symm.peer %[[LISTS]] at %[[RANK]]
// CHECK: memref.store %{{.*}}, %[[THERE]][%[[SHARE:.*]], %[[COUNTS]]#0]
// CHECK: nvvm.bar.warp.sync
// Each other rank learns how many there are for it.
// CHECK: %[[ROWS:.*]] = scf.for
// CHECK: arith.cmpi ne, %[[PEER:.*]], %me
// CHECK: scf.if
// CHECK-NEXT: %[[HIGH:.*]] = arith.shli %[[EPOCH]], %c2_i64
// CHECK-NEXT: %[[LOW:.*]] = arith.index_cast %[[ROWS]]
// CHECK-NEXT: %[[VALUE:.*]] = arith.addi %[[HIGH]], %[[LOW]]
// CHECK-NEXT: symm.signal %[[WORDS]][%[[SHARE]]] at %[[PEER]], %[[VALUE]]
// All subgroups take shares that are left, in the order of tokens.
// CHECK: symm.phase "expand"
// CHECK: symm.take %[[TICKETS]]
// CHECK: scf.while
// CHECK: symm.take %[[TICKETS]]
// CHECK: %[[LEAST:.*]] = arith.shli %[[EPOCH]], %c2_i64
// CHECK: %[[SEEN:.*]] = symm.wait %[[WORDS]][%{{.*}}] from %{{.*}}, %[[LEAST]]
// CHECK: arith.subi %[[SEEN]], %[[LEAST]]
// CHECK: nvvm.bar.warp.sync
// CHECK: nvvm.vote.sync
// CHECK: scf.for
// CHECK: memref.load %[[LISTS]]
// CHECK: symm.check {{.*}}, invalid_count, "row to expand" expected %c1919_i64
// CHECK: symm.put_each %[[RECV]][%{{.*}}] to %[[RECV]][%{{.*}}] at %me rotated %c0 lanes 3 share %{{.*}} of 2 coherent
// CHECK: symm.phase "complete"
// CHECK: memref.store %c0_i64, %[[TICKETS]]
func.func @expand(%x: memref<160x8xf32>, %idx: memref<160x3xi32>,
    %w: memref<160x3xf32>, %recv_x: memref<1920x8xf32, #symm.space>,
    %recv_idx: memref<1920xi32, #symm.space>,
    %recv_w: memref<1920xf32, #symm.space>, %src: memref<1920xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<160x3xi32>,
    %offsets: memref<3xi32>, %group_counts: memref<3xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %group_counts)
      on @ep {num_experts = 9 : i64, layout = #moe.layout<expert_major>,
      algorithm = #moe.dispatch_algorithm<expand>,
      kernel = #moe.kernel<blocks = 3, threads = 128, team = 2>}
    : (memref<160x8xf32>, memref<160x3xi32>, memref<160x3xf32>,
       memref<1920x8xf32, #symm.space>, memref<1920xi32, #symm.space>,
       memref<1920xf32, #symm.space>, memref<1920xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<160x3xi32>, memref<3xi32>,
       memref<3xi32>) -> ()
  return
}

// Bits for experts number the rows: each block puts a range of the tokens, and they come
// in the order of blocks, then of the tokens of each.
// CHECK-LABEL: func.func @by_block
// CHECK: gpu.launch blocks(%{{.*}}, %{{.*}}, %{{.*}}) in (%[[GRID:[a-z0-9_]+]] = %c2
// CHECK: symm.mark
// CHECK: symm.phase "expand"
// CHECK: arith.ceildivui %c96, %[[GRID]]
// CHECK: scf.while
// CHECK: arith.remui %{{.*}}, %[[GRID]]
// CHECK: symm.wait
func.func @by_block(%x: memref<96x8xf32>, %idx: memref<96x3xi32>,
    %w: memref<96x3xf32>, %recv_x: memref<1152x8xf32, #symm.space>,
    %recv_idx: memref<1152xi32, #symm.space>,
    %recv_w: memref<1152xf32, #symm.space>, %src: memref<1152xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<96x3xi32>,
    %offsets: memref<3xi32>, %group_counts: memref<3xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %group_counts)
      on @ep {num_experts = 9 : i64, layout = #moe.layout<expert_major>,
      algorithm = #moe.dispatch_algorithm<expand>,
      kernel = #moe.kernel<blocks = 2, threads = 128>}
    : (memref<96x8xf32>, memref<96x3xi32>, memref<96x3xf32>,
       memref<1152x8xf32, #symm.space>, memref<1152xi32, #symm.space>,
       memref<1152xf32, #symm.space>, memref<1152xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<96x3xi32>, memref<3xi32>,
       memref<3xi32>) -> ()
  return
}

// Few tokens, whose number each rank tells the others: all subgroups put, and then begin
// with a share of their own.
// CHECK-LABEL: func.func @few_tokens_of_reuse
// CHECK: symm.alloc persistent : memref<32xi64, #symm.space>
// CHECK: symm.alloc : memref<32x3xi32, #symm.space>
// CHECK: %[[SIZES:.*]] = symm.alloc persistent : memref<4xi64, #symm.space>
// CHECK: symm.phase "ready"
// CHECK: %[[EPOCHS:.*]] = arith.shli %{{.*}}, %c4_i64
// CHECK: %[[SIZE:.*]] = arith.addi %[[EPOCHS]]
// CHECK: symm.signal %[[SIZES]][%me] at %{{.*}}, %[[SIZE]] relaxed
// CHECK: %[[SEEN:.*]] = symm.wait %[[SIZES]]
// CHECK: memref.store %{{.*}}, %[[TOKENS:[a-z0-9_]+]][%{{.*}}] : memref<4xi32, #gpu.address_space<workgroup>>
// CHECK: nvvm.barrier #nvvm.reduction<and>
// CHECK: symm.phase "expand"
// CHECK: scf.for
// CHECK: memref.load %[[TOKENS]]
// CHECK: arith.maxsi
// CHECK-NOT: symm.take
// CHECK: scf.while
// Nothing comes of tokens that a rank has not.
// CHECK: memref.load %[[TOKENS]]
// CHECK: symm.wait
// CHECK: symm.put_each {{.*}} coherent : memref<96x8xf8E4M3FN
// CHECK: symm.put_each {{.*}} coherent : memref<96x1xf32
func.func @few_tokens_of_reuse(%x: memref<?x8xf8E4M3FN>, %s: memref<?x1xf32>,
    %rows: memref<?x3xi32>, %idx: memref<?x3xi32>,
    %recv_x: memref<96x8xf8E4M3FN, #symm.space>,
    %recv_s: memref<96x1xf32, #symm.space>) {
  moe.dispatch %x scales(%s) reuse(%rows, %idx) outs(%recv_x, %recv_s)
      on @ep {num_experts = 9 : i64, max_tokens = 8 : i64,
      layout = #moe.layout<expert_major>,
      algorithm = #moe.dispatch_algorithm<expand>,
      kernel = #moe.kernel<blocks = 2, threads = 128>}
    : (memref<?x8xf8E4M3FN>, memref<?x1xf32>, memref<?x3xi32>,
       memref<?x3xi32>, memref<96x8xf8E4M3FN, #symm.space>,
       memref<96x1xf32, #symm.space>) -> ()
  return
}

// One rank has nothing to expand.
shard.grid @one(shape = 1)
// CHECK-LABEL: func.func @alone
// CHECK-NOT: symm.phase "expand"
// CHECK: return
func.func @alone(%x: memref<16x8xf32>, %rows: memref<16x3xi32>,
    %idx: memref<16x3xi32>, %recv_x: memref<48x8xf32, #symm.space>) {
  moe.dispatch %x reuse(%rows, %idx) outs(%recv_x) on @one
      {num_experts = 9 : i64, layout = #moe.layout<expert_major>,
       algorithm = #moe.dispatch_algorithm<expand>}
    : (memref<16x8xf32>, memref<16x3xi32>, memref<16x3xi32>,
       memref<48x8xf32, #symm.space>) -> ()
  return
}

// The subgroups of a team divide a row by its alignment, which has to be that of the
// received rows: those that may begin anywhere are copied first.
// CHECK-LABEL: func.func @anywhere
// CHECK-SAME: (%[[X:[a-z0-9_]+]]: memref<16x8xf32, strided
// CHECK: %[[ALIGNED:.*]] = memref.alloc() {{.*}}: memref<16x8xf32>
// CHECK: memref.copy %[[X]], %[[ALIGNED]]
// CHECK: symm.put_each %[[ALIGNED]]
func.func @anywhere(%x: memref<16x8xf32, strided<[8, 1], offset: ?>>,
    %rows: memref<16x3xi32>, %idx: memref<16x3xi32>,
    %recv_x: memref<192x8xf32, #symm.space>) {
  moe.dispatch %x reuse(%rows, %idx) outs(%recv_x) on @ep
      {num_experts = 12 : i64, layout = #moe.layout<expert_major>,
       algorithm = #moe.dispatch_algorithm<expand>}
    : (memref<16x8xf32, strided<[8, 1], offset: ?>>, memref<16x3xi32>,
       memref<16x3xi32>, memref<192x8xf32, #symm.space>) -> ()
  return
}
