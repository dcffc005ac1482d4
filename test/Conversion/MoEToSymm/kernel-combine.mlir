// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// Sixteen bytes per lane, all rows loaded before the first addition.
// CHECK-LABEL: func.func @rank_major
// CHECK-SAME: %[[Y:.*]]: memref<256x32xbf16, #symm.space>
// CHECK: symm.collective_begin "moe.combine" site 0
// CHECK: gpu.launch
// CHECK: symm.phase "ready"
// CHECK: symm.signal
// Where rows lie is looked up before the wait; one lane waits for each rank.
// CHECK: symm.phase "reduce"
// CHECK: symm.check %{{.*}}, invalid_count, "send_row"
// CHECK: nvvm.vote.sync ballot
// CHECK: gpu.shuffle idx
// CHECK: symm.phase "ready"
// CHECK: symm.wait %{{.*}} from
// CHECK: nvvm.bar.warp.sync
// CHECK: symm.phase "reduce"
// CHECK-COUNT-4: vector.load %{{.*}} {alignment = 16 : i64} : memref<256x32xbf16, #symm.space>, vector<8xbf16>
// CHECK: arith.addf {{.*}} : vector<8xf32>
// CHECK: arith.truncf {{.*}} : vector<8xf32> to vector<8xbf16>
// CHECK: vector.store
// CHECK: symm.phase "release"
// CHECK: symm.grid_arrive {{.*}} local
// CHECK: symm.signal
// CHECK: symm.wait
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
// CHECK: vector.load {{.*}} {alignment = 2 : i64} : memref<256x3xf16, #symm.space>, vector<1xf16>
// CHECK: arith.mulf {{.*}} : vector<1xf32>
// CHECK: arith.addf {{.*}} : vector<1xf32>
func.func @weighted_short_rows(%y: memref<256x3xf16, #symm.space>,
    %rows: memref<64x4xi32>, %src: memref<256xi32>, %from: memref<4xi32>,
    %w: memref<256xf32, #symm.space>, %out: memref<64x3xf16>) {
  moe.combine %y, %rows, %src, %from weights(%w) outs(%out) on @ep
      {num_experts = 16 : i64}
    : (memref<256x3xf16, #symm.space>, memref<64x4xi32>, memref<256xi32>,
       memref<4xi32>, memref<256xf32, #symm.space>, memref<64x3xf16>) -> ()
  return
}

// defer_release: nobody is told that rows have been read (combine_s6).
// CHECK-LABEL: func.func @deferred
// CHECK: symm.phase "release"
// CHECK: symm.grid_arrive
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
