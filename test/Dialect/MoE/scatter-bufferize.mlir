// RUN: moe-opt %s --one-shot-bufferize=bufferize-function-boundaries | FileCheck %s

// Elements are stored in parallel, in place where that is allowed.
// CHECK-LABEL: func.func @scatter(
// CHECK-SAME: %[[X:.*]]: memref<?x?xf32, {{.*}}>, %[[INTO:.*]]: memref<?x?xf32, {{.*}}>, %[[IDS:.*]]: memref<?x1xi32, {{.*}}>
// CHECK: scf.parallel (%[[I:.*]], %[[J:.*]]) = (%c0, %c0)
// CHECK-DAG: %[[V:.*]] = memref.load %[[X]][%[[I]], %[[J]]]
// CHECK-DAG: %[[ID:.*]] = memref.load %[[IDS]][%[[I]], %c0{{.*}}]
// CHECK: %[[AT:.*]] = arith.index_cast %[[ID]] : i32 to index
// CHECK: memref.store %[[V]], %[[INTO]][%[[AT]], %[[J]]]
// CHECK: return %[[INTO]]
func.func @scatter(%x: tensor<?x?xf32>, %into: tensor<?x?xf32>, %ids: tensor<?x1xi32>) -> tensor<?x?xf32> {
  %0 = tensor.scatter %x into %into[%ids] scatter_dims([0]) unique
    : (tensor<?x?xf32>, tensor<?x?xf32>, tensor<?x1xi32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// What is read afterwards is not overwritten.
// CHECK-LABEL: func.func @both(
// CHECK: %[[COPY:.*]] = memref.alloc
// CHECK: memref.copy %{{.*}}, %[[COPY]]
// CHECK: memref.store %{{.*}}, %[[COPY]]
func.func @both(%x: tensor<2x4xf32>, %into: tensor<8x4xf32>, %ids: tensor<2x1xindex>)
    -> (tensor<8x4xf32>, tensor<8x4xf32>) {
  %0 = tensor.scatter %x into %into[%ids] scatter_dims([0]) unique
    : (tensor<2x4xf32>, tensor<8x4xf32>, tensor<2x1xindex>) -> tensor<8x4xf32>
  return %0, %into : tensor<8x4xf32>, tensor<8x4xf32>
}
