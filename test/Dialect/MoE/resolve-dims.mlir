// Extents of results in terms of operands.
//
// RUN: moe-opt %s --resolve-ranked-shaped-type-result-dims --canonicalize \
// RUN:   | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @dispatch
// CHECK-SAME: (%[[X:[a-z0-9_]+]]: tensor<?x4xf32>,
// CHECK-DAG: %[[C0:[a-z0-9_]+]] = arith.constant 0 : index
// CHECK-DAG: %[[C4:[a-z0-9_]+]] = arith.constant 4 : index
// CHECK-DAG: %[[C32:[a-z0-9_]+]] = arith.constant 32 : index
// CHECK: %[[T:[a-z0-9_]+]] = tensor.dim %[[X]], %[[C0]]
// CHECK-NOT: moe.
// CHECK: return %[[C32]], %[[T]], %[[C4]]
func.func @dispatch(%x: tensor<?x4xf32>, %idx: tensor<?x2xi32>,
                    %w: tensor<?x2xf32>) -> (index, index, index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r:7 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 8 : i64, max_tokens = 8 : i64}
    : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
   -> (tensor<32x4xf32>, tensor<32x2xi32>, tensor<32x2xf32>, tensor<32xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
  %rows = tensor.dim %r#0, %c0 : tensor<32x4xf32>
  %tokens = tensor.dim %r#6, %c0 : tensor<?x4xi32>
  %ranks = tensor.dim %r#6, %c1 : tensor<?x4xi32>
  return %rows, %tokens, %ranks : index, index, index
}

// CHECK-LABEL: func.func @combine
// CHECK-SAME: %[[ROWS:[a-z0-9_]+]]: tensor<?x4xi32>,
// CHECK-DAG: %[[C0:[a-z0-9_]+]] = arith.constant 0 : index
// CHECK-DAG: %[[C5:[a-z0-9_]+]] = arith.constant 5 : index
// CHECK: %[[T:[a-z0-9_]+]] = tensor.dim %[[ROWS]], %[[C0]]
// CHECK-NOT: moe.
// CHECK: return %[[T]], %[[C5]]
func.func @combine(%y: tensor<64x5xf32>, %rows: tensor<?x4xi32>,
                   %src: tensor<64xi32>, %n: tensor<4xi32>)
    -> (index, index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %out = moe.combine %y, %rows, %src, %n on @ep {
      num_experts = 8 : i64, max_tokens = 16 : i64}
    : (tensor<64x5xf32>, tensor<?x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<?x5xf32>
  %tokens = tensor.dim %out, %c0 : tensor<?x5xf32>
  %length = tensor.dim %out, %c1 : tensor<?x5xf32>
  return %tokens, %length : index, index
}

// The rows received are a choice of the program, whatever `send` is.
// CHECK-LABEL: func.func @alltoallv
// CHECK: %[[C9:[a-z0-9_]+]] = arith.constant 9 : index
// CHECK-NOT: moe.
// CHECK: return %[[C9]]
func.func @alltoallv(%send: tensor<?x4xf32>, %counts: tensor<4xi32>) -> index {
  %c0 = arith.constant 0 : index
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<?x4xf32>, tensor<4xi32>) -> (tensor<9x4xf32>, tensor<4xi32>)
  %rows = tensor.dim %r#0, %c0 : tensor<9x4xf32>
  return %rows : index
}
