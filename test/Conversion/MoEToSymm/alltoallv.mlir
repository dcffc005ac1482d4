// The phases of an alltoallv: count, exchange, place, put, complete.
//
// RUN: moe-opt %s --convert-moe-to-symm | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @alltoallv
// CHECK-SAME: (%[[SEND:[-a-z0-9_]+]]: memref<16x8xf32>, %[[COUNTS:[-a-z0-9_]+]]: memref<4xi32>, %[[RECV:[-a-z0-9_]+]]: memref<64x8xf32, #symm.space>, %[[RECV_COUNTS:[-a-z0-9_]+]]: memref<4xi32>)
// CHECK: symm.collective_begin "moe.alltoallv" site 0
// CHECK: %[[ME:[-a-z0-9_]+]] = symm.rank
// No count is negative or more than what is left of `send` (alltoallv_s4).
// CHECK: symm.phase "count"
// CHECK: %[[MINE:[-a-z0-9_]+]] = memref.alloc() : memref<1x4xi32>
// CHECK: memref.load %[[COUNTS]][%[[PEER:[-a-z0-9_]+]]]
// CHECK: arith.cmpi sge
// CHECK: arith.cmpi sle
// CHECK: symm.check %{{.*}}, invalid_count, "sum of send_counts up to this peer's, bounded by the rows of send" expected %{{.*}} seen %{{.*}} peer %[[PEER]]
// CHECK: memref.store %{{.*}}, %[[MINE]]

// CHECK: symm.phase "exchange"
// CHECK: %[[ALL:[-a-z0-9_]+]] = symm.alloc persistent : memref<4x4xi32, #symm.space>
// CHECK: symm.put %[[MINE]][%{{.*}}] to %[[ALL]][%[[ME]]]
// CHECK: symm.signal
// CHECK: symm.wait

// Blocks of lower senders come first (alltoallv_s1, alltoallv_s2, alltoallv_s5).
// CHECK: symm.phase "place"
// CHECK: %[[START:[-a-z0-9_]+]] = memref.alloc() : memref<4xi64>
// CHECK: %[[SUMS:[-a-z0-9_]+]]:2 = scf.for
// CHECK:   arith.cmpi ult, %{{.*}}, %[[ME]]
// CHECK: symm.check %{{.*}}, capacity_exceeded, "rows received, bounded by the capacity" expected
// CHECK: memref.store %{{.*}}, %[[START]]
// CHECK: memref.load %[[ALL]][%[[SENDER:[-a-z0-9_]+]], %[[ME]]]
// CHECK: memref.store %{{.*}}, %[[RECV_COUNTS]][%[[SENDER]]]

// One put per peer (alltoallv_s3: how many rows it moves is read there and then).
// CHECK: symm.phase "put"
// CHECK: %[[STEP:[-a-z0-9_]+]] = arith.addi %[[ME]], %{{.*}}
// CHECK: %[[PEER:[-a-z0-9_]+]] = arith.remui %[[STEP]], %{{.*}}
// CHECK: %[[FROM:[-a-z0-9_]+]] = scf.for
// CHECK: %[[TO32:[-a-z0-9_]+]] = memref.load %[[START]][%[[PEER]]]
// CHECK: %[[TO:[-a-z0-9_]+]] = arith.index_cast %[[TO32]]
// CHECK: %[[N32:[-a-z0-9_]+]] = memref.load %[[MINE]][%{{.*}}, %[[PEER]]]
// CHECK: %[[N:[-a-z0-9_]+]] = arith.index_cast %[[N32]]
// CHECK: symm.put %[[SEND]][%[[FROM]]] to %[[RECV]][%[[TO]]] at %[[PEER]] count %[[N]] : memref<16x8xf32> to memref<64x8xf32, #symm.space>

// CHECK: symm.phase "complete"
// CHECK: symm.signal
// CHECK: symm.wait
// CHECK: symm.collective_end
func.func @alltoallv(%send: memref<16x8xf32>, %counts: memref<4xi32>,
    %recv: memref<64x8xf32, #symm.space>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
    : (memref<16x8xf32>, memref<4xi32>, memref<64x8xf32, #symm.space>,
       memref<4xi32>) -> ()
  return
}

// What lies past the capacity is left out (alltoallv_s5).
// CHECK-LABEL: func.func @drop
// CHECK-NOT: capacity_exceeded
// CHECK: symm.phase "put"
// CHECK: %[[TO:[-a-z0-9_]+]] = arith.minui
// CHECK: %[[LEFT:[-a-z0-9_]+]] = arith.subi %{{.*}}, %[[TO]]
// CHECK: %[[N:[-a-z0-9_]+]] = arith.minui %{{.*}}, %[[LEFT]]
// CHECK: symm.put %{{.*}} to %{{.*}}[%[[TO]]] at %{{.*}} count %[[N]]
func.func @drop(%send: memref<16x8xf32>, %counts: memref<4xi32>,
    %recv: memref<5x8xf32, #symm.space>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep {
      overflow = #moe.overflow<drop>}
    : (memref<16x8xf32>, memref<4xi32>, memref<5x8xf32, #symm.space>,
       memref<4xi32>) -> ()
  return
}

// Rows of one element, a number of them that is known at run time.
// CHECK-LABEL: func.func @dynamic_rank_1
// CHECK: memref.dim %[[SEND:[-a-z0-9_]+]],
// CHECK: symm.put %[[SEND]][%{{.*}}] to %{{.*}} count %{{.*}} : memref<?xf32> to memref<9xf32, #symm.space>
func.func @dynamic_rank_1(%send: memref<?xf32>, %counts: memref<4xi32>,
    %recv: memref<9xf32, #symm.space>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
    : (memref<?xf32>, memref<4xi32>, memref<9xf32, #symm.space>,
       memref<4xi32>) -> ()
  return
}

// CHECK-LABEL: func.func @strided
// CHECK: %[[COPY:[-a-z0-9_]+]] = memref.alloc() : memref<16x8xf32>
// CHECK: memref.copy %{{.*}}, %[[COPY]]
// CHECK: symm.put %[[COPY]][
// CHECK: memref.dealloc %[[COPY]]
func.func @strided(%send: memref<16x8xf32, strided<[9, 1]>>,
    %counts: memref<4xi32>, %recv: memref<64x8xf32, #symm.space>,
    %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep
    : (memref<16x8xf32, strided<[9, 1]>>, memref<4xi32>,
       memref<64x8xf32, #symm.space>, memref<4xi32>) -> ()
  return
}
