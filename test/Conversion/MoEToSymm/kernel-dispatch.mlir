// RUN: moe-opt %s --moe-plan="target=cuda blocks=24 threads=256 transfer=stores team=1" \
// RUN:   --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s
// RUN: moe-opt %s --moe-plan="target=cuda blocks=24 threads=32 transfer=stores" \
// RUN:   --convert-moe-to-symm=target=cuda --canonicalize \
// RUN:   | FileCheck %s --check-prefix=MANY
// RUN: moe-opt %s --moe-plan="target=cuda blocks=24 threads=256 transfer=stores team=4" \
// RUN:   --convert-moe-to-symm=target=cuda --canonicalize \
// RUN:   | FileCheck %s --check-prefix=TEAM

shard.grid @ep(shape = 4)

// One kernel. What it needs is allocated before it: flags, counters and the
// matrix of counts, which keep their contents.
// CHECK-LABEL: func.func @rank_major
// CHECK-SAME: %[[X:.*]]: memref<64x32xbf16>, %[[IDX:.*]]: memref<64x2xi32>
// CHECK: symm.collective_begin "moe.dispatch" site 0
// CHECK: %[[ME:.*]] = symm.rank
// CHECK: %[[ALL:.*]] = symm.alloc persistent : memref<4x4xi32, #symm.space>
// CHECK: gpu.launch blocks(%{{.*}}, %{{.*}}, %{{.*}}) in (%{{.*}} = %c24
// CHECK-SAME: threads(%[[THREAD:[a-z0-9_]+]], %{{.*}}, %{{.*}}) in (%{{.*}} = %c256
// CHECK-SAME: %[[NUMBER:[a-z0-9_]+]] : memref<64x4xi32, #gpu.address_space<workgroup>>
// Every block counts all tokens, one thread each; votes number the rows. A failed
// check does not end a kernel: the id is replaced.
// CHECK: symm.phase "count"
// CHECK: memref.load %[[IDX]][%[[THREAD]]
// CHECK: symm.check %[[OK:.*]], invalid_expert
// CHECK: arith.select %[[OK]]
// CHECK: nvvm.vote.sync ballot
// CHECK: math.ctpop
// CHECK: memref.store %{{.*}}, %[[NUMBER]][
// CHECK-NOT: symm.grid_barrier
// One block sends; a rank with an error sends -1.
// CHECK: symm.phase "exchange"
// CHECK: symm.failed
// CHECK: gpu.barrier
// CHECK: %[[FAILED:.*]] = arith.cmpi slt
// CHECK: %[[THERE:.*]] = symm.peer %[[ALL]]
// CHECK: %[[COUNT:.*]] = arith.select %[[FAILED]], %c-1_i32
// CHECK: memref.store %[[COUNT]], %[[THERE]][%[[ME]]
// CHECK: gpu.barrier
// CHECK: symm.signal %[[ARRIVED:.*]][%[[ME]]]
// CHECK: symm.wait %[[ARRIVED]]
// CHECK: symm.phase "place"
// CHECK: symm.check %{{.*}}, peer_failed
// CHECK: symm.check %{{.*}}, capacity_exceeded
// One subgroup per token; the row is read once for all ranks. The lanes store the
// experts of a row together.
// CHECK: symm.phase "put"
// CHECK: symm.put_each %[[X]][%{{.*}}] to %{{.*}} lanes 4
// CHECK: gpu.shuffle
// CHECK: symm.peer
// The last block to arrive completes.
// CHECK: symm.phase "complete"
// CHECK: %[[LAST:.*]] = symm.grid_arrive
// CHECK: scf.if %[[LAST]]
// CHECK: symm.signal %[[DONE:.*]][%[[ME]]]
// CHECK: symm.wait %[[DONE]]
// CHECK: gpu.terminator
// CHECK: symm.collective_end

// More tokens than threads: a block counts its own, and blocks meet once.
// MANY-LABEL: func.func @rank_major
// MANY: %[[BLOCK_COUNTS:.*]] = memref.alloc() : memref<4x24xi32>
// MANY: gpu.launch blocks(%[[BLOCK:[a-z0-9_]+]],
// MANY: symm.phase "count"
// MANY: nvvm.vote.sync ballot
// MANY: memref.store %{{.*}}, %[[BLOCK_COUNTS]][%{{.*}}, %[[BLOCK]]]
// MANY: symm.grid_barrier
// MANY: symm.phase "exchange"
// MANY: memref.load %[[BLOCK_COUNTS]]
// MANY: gpu.subgroup_reduce add
// MANY: symm.phase "put"

// A team shares each row; its first member writes what goes with it.
// TEAM-LABEL: func.func @rank_major
// TEAM: symm.phase "put"
// TEAM: %[[FIRST:.*]] = arith.cmpi eq, %[[MEMBER:.*]], %c0
// TEAM: scf.if %[[FIRST]]
// TEAM: symm.put_each {{.*}} share %[[MEMBER]] of 4
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

// A slab needs no counts of others: ranks say that they are ready while they
// count, and the counts travel with the rows.
// CHECK-LABEL: func.func @slab
// CHECK: %[[COUNTS:.*]] = symm.alloc persistent : memref<4xi32, #symm.space>
// CHECK: gpu.launch
// CHECK: symm.phase "ready"
// CHECK: symm.signal
// CHECK: symm.phase "count"
// CHECK: symm.phase "exchange"
// CHECK-NOT: symm.signal
// CHECK: symm.wait
// CHECK: symm.phase "place"
// CHECK: %[[THERE:.*]] = symm.peer %[[COUNTS]]
// CHECK: memref.store %{{.*}}, %[[THERE]]
// CHECK: symm.phase "put"
// CHECK: symm.put_each
// CHECK: symm.grid_arrive
// CHECK: symm.signal
// CHECK: symm.wait
// CHECK: memref.load %[[COUNTS]]
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

// Keys are experts: nine counts per rank, groups laid out by one thread per
// rank, and one lane per top-k slot when rows are put.
// CHECK-LABEL: func.func @expert_major
// CHECK: symm.alloc persistent : memref<4x9xi32, #symm.space>
// CHECK: gpu.launch
// CHECK: symm.phase "count"
// CHECK: symm.grid_barrier
// CHECK: symm.phase "place"
// CHECK: arith.ceildivui
// CHECK: symm.phase "put"
// CHECK: arith.maxsi
// CHECK: symm.put_each {{.*}} lanes 3
func.func @expert_major(%x: memref<16x8xf32>, %idx: memref<16x3xi32>,
    %w: memref<16x3xf32>, %recv_x: memref<192x8xf32, #symm.space>,
    %recv_idx: memref<192xi32, #symm.space>,
    %recv_w: memref<192xf32, #symm.space>, %src: memref<192xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x3xi32>,
    %offsets: memref<3xi32>, %group_counts: memref<3xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %group_counts)
      on @ep {num_experts = 9 : i64, layout = #moe.layout<expert_major>,
      alignment = 16 : i64}
    : (memref<16x8xf32>, memref<16x3xi32>, memref<16x3xf32>,
       memref<192x8xf32, #symm.space>, memref<192xi32, #symm.space>,
       memref<192xf32, #symm.space>, memref<192xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x3xi32>, memref<3xi32>,
       memref<3xi32>) -> ()
  return
}

// reuse counts nothing.
// CHECK-LABEL: func.func @reuse
// CHECK: gpu.launch
// CHECK: symm.phase "ready"
// CHECK: symm.signal
// CHECK: symm.wait
// CHECK-NOT: symm.grid_barrier
// CHECK: symm.phase "put"
// CHECK: symm.check %{{.*}}, invalid_count, "send_row"
// CHECK: symm.put_each
// CHECK: symm.grid_arrive
func.func @reuse(%x: memref<64x32xbf16>, %rows: memref<64x4xi32>,
    %recv_x: memref<256x32xbf16, #symm.space>) {
  moe.dispatch %x reuse(%rows) outs(%recv_x) on @ep {num_experts = 16 : i64}
    : (memref<64x32xbf16>, memref<64x4xi32>,
       memref<256x32xbf16, #symm.space>) -> ()
  return
}
