// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// Where no subgroup has more than a share of one token, each block counts up to two tokens
// per thread for itself and waits for no other: all ranks wait for the counts. Ten chunks
// of 32 tokens: a subgroup looks at every eighth.
// CHECK-LABEL: func.func @two_per_thread
// CHECK: gpu.launch
// CHECK-SAME: %[[MASKS:[a-z0-9_]+]] : memref<10x5xi32, #gpu.address_space<workgroup>>
// CHECK-SAME: %[[CHUNKS:[a-z0-9_]+]] : memref<11x5xi32, #gpu.address_space<workgroup>>
// CHECK: %[[SUBGROUP:.*]] = arith.divui %{{.*}}, %c32
// CHECK: %[[LANE:.*]] = arith.remui %{{.*}}, %c32
// CHECK: symm.phase "count"
// CHECK: scf.for %[[CHUNK:[a-z0-9_]+]] = %[[SUBGROUP]] to %c10 step %c8
// CHECK: memref.store %{{.*}}, %[[MASKS]][%[[CHUNK]], %c4]
// CHECK-NOT: symm.{{grid_barrier|post|collect}}
// A subgroup adds up the bits for a rank, a lane for each chunk, and the last lane stores
// the total.
// CHECK: gpu.barrier
// CHECK: scf.for %[[KEY:[a-z0-9_]+]] = %[[SUBGROUP]] to %c5 step %c8
// CHECK: %[[OWN:.*]] = arith.minui %[[LANE]], %c10
// CHECK: scf.for %[[C:[a-z0-9_]+]] = %[[OWN]] to
// CHECK: %[[MASK:.*]] = memref.load %[[MASKS]][%[[C]], %[[KEY]]]
// CHECK: math.ctpop %[[MASK]]
// CHECK: gpu.shuffle
// CHECK: %[[TOTAL:.*]] = scf.for %[[C2:[a-z0-9_]+]] = %[[OWN]] to
// CHECK: memref.store %{{.*}}, %[[CHUNKS]][%[[C2]], %[[KEY]]]
// CHECK: %[[IS_LAST:.*]] = arith.cmpi eq, %[[LANE]], %c31
// CHECK-NEXT: scf.if %[[IS_LAST]]
// CHECK-NEXT: arith.index_cast %[[TOTAL]]
// CHECK-NEXT: memref.store %{{.*}}, %[[CHUNKS]][%c10, %[[KEY]]]
// The block meets before it uses the totals.
// CHECK: symm.phase "exchange"
// CHECK: scf.if
// CHECK-NEXT: gpu.barrier
// CHECK: memref.load %[[CHUNKS]][%c10, %{{.*}}]
func.func @two_per_thread(%x: memref<320x32xbf16>, %idx: memref<320x2xi32>,
    %w: memref<320x2xf32>, %recv_x: memref<1280x32xbf16, #symm.space>,
    %recv_idx: memref<1280x2xi32, #symm.space>,
    %recv_w: memref<1280x2xf32, #symm.space>,
    %src: memref<1280xi32, #symm.space>, %to: memref<4xi32>,
    %from: memref<4xi32>, %rows: memref<320x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 16 : i64, kernel = #moe.kernel<threads = 256, team = 2>}
    : (memref<320x32xbf16>, memref<320x2xi32>, memref<320x2xf32>,
       memref<1280x32xbf16, #symm.space>, memref<1280x2xi32, #symm.space>,
       memref<1280x2xf32, #symm.space>, memref<1280xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<320x4xi32>) -> ()
  return
}

// Where no rank waits for the counts, blocks share the counting of as many tokens out.
// CHECK-LABEL: func.func @slab
// CHECK: symm.phase "count"
// CHECK: symm.post
// CHECK: symm.collect
// CHECK: symm.phase "put"
// CHECK-NOT: symm.take
func.func @slab(%x: memref<320x32xbf16>, %idx: memref<320x2xi32>,
    %w: memref<320x2xf32>, %recv_x: memref<1280x32xbf16, #symm.space>,
    %recv_idx: memref<1280x2xi32, #symm.space>,
    %recv_w: memref<1280x2xf32, #symm.space>,
    %src: memref<1280xi32, #symm.space>, %to: memref<4xi32>,
    %from: memref<4xi32>, %rows: memref<320x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 16 : i64, layout = #moe.layout<slab>,
      kernel = #moe.kernel<threads = 256>}
    : (memref<320x32xbf16>, memref<320x2xi32>, memref<320x2xf32>,
       memref<1280x32xbf16, #symm.space>, memref<1280x2xi32, #symm.space>,
       memref<1280x2xf32, #symm.space>, memref<1280xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<320x4xi32>) -> ()
  return
}

// Nor does each block count all tokens where subgroups take shares of them: the first 24
// are those that each of the subgroups of three blocks begins with, two make a row.
// CHECK-LABEL: func.func @shares
// CHECK: %[[TICKETS:.*]] = symm.alloc persistent : memref<2xi64, #symm.space>
// CHECK: gpu.launch blocks(%[[BLOCK:[a-z0-9_]+]], %{{.*}}, %{{.*}}) in (%[[GRID:[a-z0-9_]+]] = %c3
// CHECK: %[[SUBGROUP:.*]] = arith.divui %{{.*}}, %c32
// CHECK: symm.phase "count"
// CHECK: symm.post
// CHECK: symm.collect
// CHECK: symm.phase "put"
// CHECK: %[[SHARES:.*]] = arith.muli %{{.*}}, %c2
// CHECK: %[[BEFORE:.*]] = arith.muli %[[SUBGROUP]], %[[GRID]]
// CHECK: %[[FIRST:.*]] = arith.addi %[[BEFORE]], %[[BLOCK]]
// CHECK: scf.while (%[[NEXT:[a-z0-9_]+]] = %[[FIRST]])
// CHECK: arith.cmpi ult, %[[NEXT]], %[[SHARES]]
// CHECK: ^bb0(%[[SHARE:[a-z0-9_]+]]: index):
// CHECK: symm.take %[[TICKETS]]
// CHECK: %[[TOKEN:.*]] = arith.divui %[[SHARE]], %c2
// CHECK: %[[MEMBER:.*]] = arith.remui %[[SHARE]], %c2
// CHECK: symm.put_each %{{.*}}[%[[TOKEN]]] {{.*}} share %[[MEMBER]] of 2
func.func @shares(%x: memref<320x32xbf16>, %idx: memref<320x2xi32>,
    %w: memref<320x2xf32>, %recv_x: memref<1280x32xbf16, #symm.space>,
    %recv_idx: memref<1280x2xi32, #symm.space>,
    %recv_w: memref<1280x2xf32, #symm.space>,
    %src: memref<1280xi32, #symm.space>, %to: memref<4xi32>,
    %from: memref<4xi32>, %rows: memref<320x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 16 : i64,
      kernel = #moe.kernel<blocks = 3, threads = 256, team = 2>}
    : (memref<320x32xbf16>, memref<320x2xi32>, memref<320x2xf32>,
       memref<1280x32xbf16, #symm.space>, memref<1280x2xi32, #symm.space>,
       memref<1280x2xf32, #symm.space>, memref<1280xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<320x4xi32>) -> ()
  return
}
