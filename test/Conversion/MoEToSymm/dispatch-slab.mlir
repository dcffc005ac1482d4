// Every sender has rows of its own on every rank: no counts before the rows.
//
// RUN: moe-opt %s --convert-moe-to-symm | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @slab
// CHECK-SAME: %[[FROM:[a-z0-9]+]]: memref<4xi32>, %[[ROWS:[a-z0-9]+]]: memref<?x4xi32>)
// CHECK: %[[ME:[-a-z0-9_]+]] = symm.rank
// CHECK: symm.phase "route"
// CHECK: symm.phase "count"
// CHECK: %[[COUNTS:[-a-z0-9_]+]] = memref.alloc() : memref<1x4xi32>
// CHECK-NOT: symm.phase "exchange"

// CHECK: symm.phase "ready"
// CHECK: %[[EPOCH:[-a-z0-9_]+]] = symm.next_epoch
// CHECK: symm.barrier %{{.*}}, %[[EPOCH]] : memref<4xi64, #symm.space>
// The rows of this rank start at me * T_max, everywhere (dispatch_s5).
// CHECK: %[[START:[-a-z0-9_]+]] = memref.alloc() : memref<4xi32>
// CHECK: %[[SLAB:[-a-z0-9_]+]] = arith.muli %[[ME]], %c16{{(_[0-9]+)?}}
// CHECK: arith.index_cast %[[SLAB]]
// CHECK: memref.store %{{.*}}, %[[START]]
// CHECK-NOT: capacity_exceeded
// CHECK-NOT: symm.wait

// CHECK: symm.phase "put"
// CHECK: symm.put %{{.*}}[%{{.*}}] to %{{.*}}[%{{.*}}] at %{{.*}} : memref<?x8xf32> to memref<64x8xf32, #symm.space>

// The counts travel with the last signal.
// CHECK: symm.phase "complete"
// CHECK: %[[DONE:[-a-z0-9_]+]] = symm.alloc persistent : memref<4xi64, #symm.space>
// CHECK: %[[RECEIVED:[-a-z0-9_]+]] = symm.alloc : memref<4xi32, #symm.space>
// CHECK: %[[THERE:[-a-z0-9_]+]] = symm.peer %[[RECEIVED]] at %[[PEER:[-a-z0-9_]+]] :
// CHECK: memref.load %[[COUNTS]][%{{.*}}, %[[PEER]]]
// CHECK: memref.store %{{.*}}, %[[THERE]][%[[ME]]]
// CHECK: symm.signal %[[DONE]][%[[ME]]] at %[[PEER]], %[[EPOCH]]
// CHECK: symm.wait %[[DONE]]
// CHECK: memref.load %[[RECEIVED]]
// CHECK: memref.store %{{.*}}, %[[FROM]]
// CHECK: symm.free %[[RECEIVED]]
// CHECK: symm.collective_end
func.func @slab(%x: memref<?x8xf32>, %idx: memref<?x2xi32>, %w: memref<?x2xf32>,
    %recv_x: memref<64x8xf32, #symm.space>,
    %recv_idx: memref<64x2xi32, #symm.space>,
    %recv_w: memref<64x2xf32, #symm.space>, %src: memref<64xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<?x4xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows)
      on @ep {num_experts = 8 : i64, layout = #moe.layout<slab>,
      max_tokens = 16 : i64}
    : (memref<?x8xf32>, memref<?x2xi32>, memref<?x2xf32>,
       memref<64x8xf32, #symm.space>, memref<64x2xi32, #symm.space>,
       memref<64x2xf32, #symm.space>, memref<64xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<?x4xi32>) -> ()
  return
}
