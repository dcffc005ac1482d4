// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// Many tokens whose rows are numbered by block: blocks tell each other where their rows
// start, in memory, and meet once more. Then any subgroup can take any token; the block
// that has counted it is found by division.
// CHECK-LABEL: func.func @shared_starts
// CHECK: symm.alloc persistent : memref<2xi64, #symm.space>
// CHECK: %[[START:.*]] = memref.alloc() : memref<3x9xi32>
// CHECK: gpu.launch blocks(%[[BLOCK:[a-z0-9_]+]], %{{.*}}, %{{.*}}) in (%[[GRID:[a-z0-9_]+]] = %c3
// CHECK: symm.phase "count"
// CHECK: %[[MET:.*]] = symm.grid_barrier %[[COUNTER:[a-z0-9_]+]] : {{.*}} -> i1
// CHECK: symm.phase "place"
// CHECK: memref.store %{{.*}}, %[[START]][%[[BLOCK]], %{{.*}}]
// CHECK: symm.grid_barrier %[[COUNTER]] : {{.*}} -> i1
// CHECK: symm.phase "put"
// CHECK: scf.while (%[[NEXT:[a-z0-9_]+]] =
// CHECK: ^bb0(%[[TOKEN:[a-z0-9_]+]]: index):
// CHECK: symm.take
// CHECK: %[[AFTER:.*]] = arith.addi %[[TOKEN]], %c1
// CHECK-NEXT: %[[PRODUCT:.*]] = arith.muli %[[AFTER]], %[[GRID]]
// CHECK-NEXT: %[[LAST:.*]] = arith.subi %[[PRODUCT]], %c1
// CHECK-NEXT: %[[OWNER:.*]] = arith.divui %[[LAST]], %c96
// CHECK-NEXT: memref.load %[[START]][%[[OWNER]], %{{.*}}]
// CHECK: symm.put_each {{.*}} lanes 3
func.func @shared_starts(%x: memref<96x8xf32>, %idx: memref<96x3xi32>,
    %w: memref<96x3xf32>, %recv_x: memref<1152x8xf32, #symm.space>,
    %recv_idx: memref<1152xi32, #symm.space>,
    %recv_w: memref<1152xf32, #symm.space>, %src: memref<1152xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<96x3xi32>,
    %offsets: memref<3xi32>, %group_counts: memref<3xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %group_counts)
      on @ep {num_experts = 9 : i64, layout = #moe.layout<expert_major>,
      kernel = #moe.kernel<blocks = 3, threads = 64>}
    : (memref<96x8xf32>, memref<96x3xi32>, memref<96x3xf32>,
       memref<1152x8xf32, #symm.space>, memref<1152xi32, #symm.space>,
       memref<1152xf32, #symm.space>, memref<1152xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<96x3xi32>, memref<3xi32>,
       memref<3xi32>) -> ()
  return
}
