// Counts that are too many to be the values of signals: more than two for each thread of a
// block. They are put into a table on every rank, and a signal behind them publishes them.
//
// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 8)

// CHECK-LABEL: func.func @by_expert
// CHECK: %[[ME:.*]] = symm.rank
// CHECK: symm.alloc persistent : memref<4xi64, #symm.space>
// CHECK: %[[ARRIVED:.*]] = symm.alloc persistent : memref<8xi64, #symm.space>
// CHECK: symm.alloc persistent : memref<32xi64, #symm.space>
// CHECK: %[[ALL:.*]] = symm.alloc persistent : memref<8x16xi32, #symm.space>
// CHECK-NOT: symm.alloc
// CHECK: gpu.launch
// CHECK-NOT: symm.phase "ready"
// CHECK: symm.phase "exchange"
// CHECK: %[[THERE:.*]] = symm.peer %[[ALL]]
// CHECK: %[[COUNT:.*]] = arith.select %{{.*}}, %c-1_i32
// CHECK: memref.store %[[COUNT]], %[[THERE]][%[[ME]]
// CHECK: gpu.barrier
// CHECK: symm.signal %[[ARRIVED]][%[[ME]]] at %{{.*}}, %[[EPOCH:.*]] :
// CHECK: symm.wait %[[ARRIVED]][%[[R:.*]]] from %[[R]], %[[EPOCH]]
// CHECK: nvvm.barrier #nvvm.reduction<and>
// CHECK: symm.phase "place"
// CHECK: memref.load %[[ALL]]
func.func @by_expert(%x: memref<16x32xbf16>, %idx: memref<16x2xi32>, %w: memref<16x2xf32>,
    %recv: memref<256x32xbf16, #symm.space>, %weights: memref<256xf32, #symm.space>,
    %experts: memref<256xi32, #symm.space>, %source: memref<256xi32, #symm.space>,
    %to: memref<8xi32>, %from: memref<8xi32>, %row: memref<16x2xi32>,
    %offsets: memref<2xi32>, %counts: memref<2xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv, %experts, %weights, %source, %to, %from, %row, %offsets, %counts)
    on @ep {layout = #moe.layout<expert_major>, num_experts = 16 : i64,
            kernel = #moe.kernel<blocks = 4, threads = 32>}
    : (memref<16x32xbf16>, memref<16x2xi32>, memref<16x2xf32>, memref<256x32xbf16, #symm.space>,
       memref<256xi32, #symm.space>, memref<256xf32, #symm.space>, memref<256xi32, #symm.space>,
       memref<8xi32>, memref<8xi32>, memref<16x2xi32>, memref<2xi32>, memref<2xi32>) -> ()
  return
}
