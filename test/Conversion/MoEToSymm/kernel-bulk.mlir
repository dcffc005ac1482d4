// Rows that move by bulk copies, through stages in shared memory.
//
// RUN: moe-opt %s -split-input-file --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 2)

// Each copying subgroup has a ring of stages, and brings rows of later tokens
// while it puts the row of this one to all destinations.
// CHECK-LABEL: func.func @dispatch
// CHECK-SAME: %[[X:.*]]: memref<600x64xbf16>
// CHECK: gpu.launch
// CHECK-SAME: dynamic_shared_memory_size %c1536_i32
// CHECK-SAME: workgroup({{.*}} : memref<12xi64, #gpu.address_space<workgroup>>
// CHECK: symm.phase "put"
// CHECK: symm.stage_init %[[FULL:.*]] arrivals 1
// CHECK: gpu.barrier
// CHECK: %[[BYTES:.*]] = gpu.dynamic_shared_memory
// CHECK: %[[RING:.*]] = memref.view %[[BYTES]]
// CHECK-SAME: to memref<3x64xbf16, #gpu.address_space<workgroup>>
// CHECK: scf.for
// CHECK: symm.stage_expect %[[FULL]][%[[FIRST:.*]]], %c128
// CHECK: symm.fetch %[[X]][%{{.*}}, %c0] to %[[RING]][%{{.*}}] counted by %[[FULL]][%[[FIRST]]]
// CHECK: scf.for
// CHECK: symm.stage_wait %[[FULL]][%{{.*}}] parity
// CHECK: symm.put_each %[[RING]][%{{.*}}] to %{{.*}} lanes 2
// CHECK: symm.put_wait pending 1 read
// CHECK: symm.fetch %[[X]]
// CHECK: symm.put_wait pending 0
// CHECK-NOT: read
// CHECK: symm.phase "complete"
func.func @dispatch(%x: memref<600x64xbf16>, %idx: memref<600x2xi32>,
    %w: memref<600x2xf32>, %recv_x: memref<1200x64xbf16, #symm.space>,
    %recv_idx: memref<1200x2xi32, #symm.space>,
    %recv_w: memref<1200x2xf32, #symm.space>,
    %src: memref<1200xi32, #symm.space>, %to: memref<2xi32>,
    %from: memref<2xi32>, %rows: memref<600x2xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 16 : i64,
      kernel = #moe.kernel<threads = 128, transfer = bulk, stages = 3>}
    : (memref<600x64xbf16>, memref<600x2xi32>, memref<600x2xf32>,
       memref<1200x64xbf16, #symm.space>, memref<1200x2xi32, #symm.space>,
       memref<1200x2xf32, #symm.space>, memref<1200xi32, #symm.space>,
       memref<2xi32>, memref<2xi32>, memref<600x2xi32>) -> ()
  return
}

// One subgroup brings the rows of the next tokens, the others add.
// CHECK-LABEL: func.func @combine
// CHECK-SAME: %[[Y:.*]]: memref<1200x64xbf16, #symm.space>, %[[ROWS:.*]]: memref<600x2xi32>
// CHECK: gpu.launch
// CHECK-SAME: dynamic_shared_memory_size %c1536_i32
// CHECK: %[[SUBGROUP:.*]] = arith.divui %{{.*}}, %c32
// CHECK: %[[LANE:.*]] = arith.remui %{{.*}}, %c32
// CHECK: symm.phase "ready"
// Fifteen subgroups add, three teams of five with two stages each.
// CHECK: symm.stage_init %[[FULL:.*]] arrivals 1
// CHECK: symm.stage_init %[[EMPTY:.*]] arrivals 5
// CHECK: gpu.barrier
// CHECK: memref.view {{.*}} to memref<12x64xbf16, #gpu.address_space<workgroup>>
// CHECK: symm.wait
// CHECK: gpu.barrier
// CHECK: symm.phase "reduce"
// CHECK: %[[BRINGS:.*]] = arith.cmpi eq, %[[SUBGROUP]], %c0
// CHECK: scf.if %[[BRINGS]]
// Rows were stored by others: a fence before bulk copies read them.
// CHECK: symm.bulk_fence
// The lanes look up the rows of 16 tokens together, and those of the next 16 before
// they bring these.
// CHECK: arith.divui %[[LANE]], %c2
// CHECK: arith.remui %[[LANE]], %c2
// CHECK: memref.load %[[ROWS]]
// CHECK: nvvm.vote.sync ballot
// CHECK: scf.for %{{.*}} = %{{.*}} to %{{.*}} step %c16 iter_args(%[[ROW:[a-z0-9_]+]] = %{{[a-z0-9]+}}, %[[PEER:[a-z0-9_]+]] = %{{[a-z0-9]+}}, %[[PLACE:[a-z0-9_]+]] = %{{[a-z0-9]+}}, %[[MASK:[a-z0-9_]+]] =
// CHECK: memref.load %[[ROWS]]
// CHECK: nvvm.vote.sync ballot
// CHECK: scf.for %[[TOKEN:[a-z0-9_]+]] = %c0 to %{{.*}} iter_args(%[[SLOT:[a-z0-9_]+]] = %{{[a-z0-9]+}}, %[[ROUND:[a-z0-9_]+]] = %{{[a-z0-9]+}})
// A stage is free when it has been read in the round before.
// CHECK: arith.cmpi ne, %[[ROUND]], %c0
// CHECK: symm.stage_wait %[[EMPTY]][%[[SLOT]]] parity
// CHECK: arith.shrui %[[MASK]],
// CHECK: memref.store %{{.*}}[%[[SLOT]]] : memref<6xi32, #gpu.address_space<workgroup>>
// CHECK: symm.stage_expect %[[FULL]][%[[SLOT]]]
// CHECK: %[[THERE:.*]] = symm.peer %[[Y]] at %[[PEER]]
// CHECK: %[[FIRST:.*]] = arith.muli %[[SLOT]], %c2
// CHECK: %[[TO:.*]] = arith.addi %[[FIRST]], %[[PLACE]]
// CHECK: symm.fetch %[[THERE]][%[[ROW]], %c0] to %{{.*}}[%[[TO]]] counted by %[[FULL]][%[[SLOT]]]
// Teams take the stages in turn.
// CHECK: %[[OTHER:.*]] = arith.subi %[[SUBGROUP]], %c1
// CHECK: %[[TEAM:.*]] = arith.divui %[[OTHER]], %c5
// CHECK: scf.for %[[I:.*]] = %[[TEAM]] to %{{.*}} step %c3 {
// CHECK: %[[STAGE:.*]] = arith.remui %[[I]], %c6
// CHECK: symm.stage_wait %[[FULL]][%[[STAGE]]] parity
// CHECK: %[[COUNT:.*]] = arith.index_cast
// Both rows of a stage are loaded before either is added; one row is not added.
// CHECK: %[[IS_SUM:.*]] = arith.cmpi uge, %[[COUNT]], %c2
// CHECK: scf.if %[[IS_SUM]]
// CHECK-COUNT-2: vector.load {{.*}} : memref<12x64xbf16, #gpu.address_space<workgroup>>
// CHECK-COUNT-2: arith.addf
// CHECK: vector.store
// CHECK: } else {
// CHECK: vector.load {{.*}} : memref<12x64xbf16, #gpu.address_space<workgroup>>
// CHECK-NOT: arith.addf
// CHECK: vector.store
// CHECK: symm.stage_arrive %[[EMPTY]][%[[STAGE]]]
// CHECK: symm.phase "release"
func.func @combine(%y: memref<1200x64xbf16, #symm.space>,
    %rows: memref<600x2xi32>, %src: memref<1200xi32>, %from: memref<2xi32>,
    %out: memref<600x64xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep {num_experts = 16 : i64,
      kernel = #moe.kernel<threads = 512, transfer = bulk, stages = 6>}
    : (memref<1200x64xbf16, #symm.space>, memref<600x2xi32>, memref<1200xi32>,
       memref<2xi32>, memref<600x64xbf16>) -> ()
  return
}

// Short rows and stages to spare: the rows of three tokens are fetched together, those
// of a token into the stage that is as far from the turn's as the token from the first.
// CHECK-LABEL: func.func @combine_short_rows
// CHECK-SAME: %[[Y:.*]]: memref<1200x2048xbf16, #symm.space>
// CHECK: %[[LANE:.*]] = arith.remui %{{.*}}, %c32
// Five teams of three.
// CHECK: symm.stage_init %[[FULL:.*]] arrivals 1
// CHECK: symm.stage_init %[[EMPTY:.*]] arrivals 3
// CHECK: %[[TOKEN:.*]] = arith.divui %[[LANE]], %c2
// CHECK: %[[NUMBER:.*]] = arith.remui %[[LANE]], %c2
// CHECK: scf.for {{.*}} step %c16 iter_args(
// CHECK: scf.for %[[FIRST:[a-z0-9_]+]] = %c0 to %[[TOKENS:[a-z0-9_]+]] step %c3 iter_args(%[[SLOT:[a-z0-9_]+]] = %{{[a-z0-9]+}}, %[[ROUND:[a-z0-9_]+]] =
// CHECK: %[[LEFT:.*]] = arith.subi %[[TOKENS]], %[[FIRST]]
// CHECK: %[[COUNT:.*]] = arith.minui %[[LEFT]], %c3
// CHECK: %[[AHEAD:.*]] = arith.subi %[[TOKEN]], %[[FIRST]]
// CHECK: %[[IS_OF_GROUP:.*]] = arith.cmpi ult, %[[AHEAD]], %[[COUNT]]
// CHECK: %[[IS_LANE:.*]] = arith.cmpi eq, %[[NUMBER]], %c0
// CHECK: %[[IS_FIRST:.*]] = arith.andi %[[IS_OF_GROUP]], %[[IS_LANE]]
// CHECK: %[[FROM:.*]] = arith.addi %[[SLOT]], %[[AHEAD]]
// CHECK: %[[WRAPS:.*]] = arith.cmpi uge, %[[FROM]], %c15
// CHECK: %[[OWN:.*]] = arith.select %[[WRAPS]], %{{.*}}, %[[FROM]]
// CHECK: symm.stage_wait %[[EMPTY]][%[[OWN]]] parity
// CHECK: scf.if %[[IS_FIRST]]
// CHECK: symm.stage_expect %[[FULL]][%[[OWN]]]
// CHECK: symm.fetch %{{.*}} counted by %[[FULL]][%[[OWN]]]
// The turn goes on by as many.
// CHECK: arith.addi %[[SLOT]], %[[COUNT]]
// CHECK: symm.phase "release"
func.func @combine_short_rows(%y: memref<1200x2048xbf16, #symm.space>,
    %rows: memref<600x2xi32>, %src: memref<1200xi32>, %from: memref<2xi32>,
    %out: memref<600x2048xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep {num_experts = 16 : i64,
      kernel = #moe.kernel<threads = 512, transfer = bulk, stages = 15>}
    : (memref<1200x2048xbf16, #symm.space>, memref<600x2xi32>,
       memref<1200xi32>, memref<2xi32>, memref<600x2048xbf16>) -> ()
  return
}

// With one stage per team none could fill while a team adds: all subgroups share each.
// CHECK-LABEL: func.func @combine_few_stages
// CHECK: symm.stage_init %[[FULL:.*]] arrivals 1
// CHECK: symm.stage_init %[[EMPTY:.*]] arrivals 15
// CHECK: symm.phase "release"
func.func @combine_few_stages(%y: memref<1200x64xbf16, #symm.space>,
    %rows: memref<600x2xi32>, %src: memref<1200xi32>, %from: memref<2xi32>,
    %out: memref<600x64xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep {num_experts = 16 : i64,
      kernel = #moe.kernel<threads = 512, transfer = bulk, stages = 3>}
    : (memref<1200x64xbf16, #symm.space>, memref<600x2xi32>, memref<1200xi32>,
       memref<2xi32>, memref<600x64xbf16>) -> ()
  return
}

// -----

shard.grid @ep(shape = 33)

// A lane looks up one slot of a token: where there are more slots than lanes, rows
// do not move in bulk.
// CHECK-LABEL: func.func @many_ranks
// CHECK-NOT: dynamic_shared_memory_size
// CHECK-NOT: symm.stage
// CHECK: vector.load {{.*}} : memref<1320x64xbf16, #symm.space>
// CHECK-NOT: symm.stage
// CHECK: symm.phase "release"
func.func @many_ranks(%y: memref<1320x64xbf16, #symm.space>,
    %rows: memref<40x33xi32>, %src: memref<1320xi32>, %from: memref<33xi32>,
    %out: memref<40x64xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep {num_experts = 66 : i64,
      kernel = #moe.kernel<threads = 128, transfer = bulk, stages = 3>}
    : (memref<1320x64xbf16, #symm.space>, memref<40x33xi32>, memref<1320xi32>,
       memref<33xi32>, memref<40x64xbf16>) -> ()
  return
}

// -----

shard.grid @ep(shape = 2)

// Beside stages there is no room for the tables of 1600 experts; without them there is.
// CHECK-LABEL: func.func @many_experts
// CHECK-COUNT-3: memref.alloc() : memref<4x1600xi32>
// CHECK: gpu.launch
// CHECK-NOT: memref<1600xi32, #gpu.address_space<workgroup>>
// CHECK: symm.phase "complete"
func.func @many_experts(%x: memref<8x64xbf16>, %idx: memref<8x2xi32>,
    %w: memref<8x2xf32>, %recv_x: memref<32x64xbf16, #symm.space>,
    %recv_idx: memref<32xi32, #symm.space>,
    %recv_w: memref<32xf32, #symm.space>, %src: memref<32xi32, #symm.space>,
    %to: memref<2xi32>, %from: memref<2xi32>, %rows: memref<8x2xi32>,
    %offsets: memref<800xi32>, %group_counts: memref<800xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %group_counts)
      on @ep {num_experts = 1600 : i64, layout = #moe.layout<expert_major>,
      kernel = #moe.kernel<blocks = 4, threads = 128, transfer = bulk, stages = 3>}
    : (memref<8x64xbf16>, memref<8x2xi32>, memref<8x2xf32>,
       memref<32x64xbf16, #symm.space>, memref<32xi32, #symm.space>,
       memref<32xf32, #symm.space>, memref<32xi32, #symm.space>,
       memref<2xi32>, memref<2xi32>, memref<8x2xi32>, memref<800xi32>,
       memref<800xi32>) -> ()
  return
}
