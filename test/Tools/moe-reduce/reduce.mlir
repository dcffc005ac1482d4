// Everything that the failure does not need goes: functions, then ops.

// RUN: moe-reduce %s -reduction-tree='traversal-mode=0 test=%S/Inputs/drops-rows.sh test-arg=%moe_bin/moe-opt' \
// RUN:   | FileCheck %s

// CHECK-NOT:   func.func @unrelated
// CHECK:       shard.grid @ep
// CHECK-LABEL: func.func @culprit
// CHECK-NOT:     arith.addf
// CHECK:         moe.alltoallv
// CHECK-NEXT:    bufferization.materialize_in_destination
// CHECK-NEXT:    return

func.func @unrelated(%a: f32, %b: f32) -> f32 {
  %0 = arith.addf %a, %b : f32
  return %0 : f32
}

shard.grid @ep(shape = 2)

func.func @culprit(%send: tensor<6x4xf32>, %counts: tensor<2xi32>,
                   %y: tensor<12x4xf32>, %out: memref<12x4xf32>) {
  %sum = arith.addf %y, %y : tensor<12x4xf32>
  bufferization.materialize_in_destination %sum in writable %out
      : (tensor<12x4xf32>, memref<12x4xf32>) -> ()
  %recv, %n = moe.alltoallv %send, %counts on @ep
      {overflow = #moe.overflow<drop>}
      : (tensor<6x4xf32>, tensor<2xi32>)
     -> (tensor<12x4xf32>, tensor<2xi32>)
  bufferization.materialize_in_destination %recv in writable %out
      : (tensor<12x4xf32>, memref<12x4xf32>) -> ()
  return
}
