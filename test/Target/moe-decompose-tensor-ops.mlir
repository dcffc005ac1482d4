// RUN: moe-opt %s --moe-decompose-tensor-ops | FileCheck %s
// RUN: moe-opt %s --moe-decompose-tensor-ops --mlir-print-debuginfo | FileCheck %s --check-prefix=LOC

// LOC: #[[LOC:.*]] = loc("{{.*}}moe-decompose-tensor-ops.mlir":[[#@LINE+18]]:8)
// LOC: } -> tensor<?x2x?xf32> loc(#[[LOC]])

// The index of a gathered dimension is an element, the others those of the
// result.
// CHECK-LABEL: func.func @gather(
// CHECK-SAME: %[[X:.*]]: tensor<?x?xf32>, %[[IDS:.*]]: tensor<?x2x1xi32>
// CHECK-DAG: %[[N:.*]] = tensor.dim %[[IDS]], %c0
// CHECK-DAG: %[[W:.*]] = tensor.dim %[[X]], %c1
// CHECK: linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "parallel"]
// CHECK-DAG: %[[I:.*]] = linalg.index 0
// CHECK-DAG: %[[J:.*]] = linalg.index 1
// CHECK-DAG: %[[K:.*]] = linalg.index 2
// CHECK: %[[ID:.*]] = tensor.extract %[[IDS]][%[[I]], %[[J]], %c0{{.*}}]
// CHECK: %[[AT:.*]] = arith.index_cast %[[ID]] : i32 to index
// CHECK: %[[V:.*]] = tensor.extract %[[X]][%[[AT]], %[[K]]]
// CHECK: linalg.yield %[[V]]
func.func @gather(%x: tensor<?x?xf32>, %ids: tensor<?x2x1xi32>) -> tensor<?x2x?xf32> {
  %0 = tensor.gather %x[%ids] gather_dims([0])
    : (tensor<?x?xf32>, tensor<?x2x1xi32>) -> tensor<?x2x?xf32>
  return %0 : tensor<?x2x?xf32>
}

// Elements past the end of the source are padding.
// CHECK-LABEL: func.func @pack(
// CHECK-SAME: %[[X:.*]]: tensor<?x8xf32>, %[[OUT:.*]]: tensor<?x2x4x3xf32>, %[[P:.*]]: f32
// CHECK: linalg.generic {{.*}} outs(%[[OUT]]
// CHECK: %[[IN:.*]] = arith.cmpi ult
// CHECK: %[[R:.*]] = scf.if
// CHECK: tensor.extract %[[X]]
// CHECK: } else {
// CHECK: scf.yield %[[P]]
// CHECK: linalg.yield %[[R]]
func.func @pack(%x: tensor<?x8xf32>, %out: tensor<?x2x4x3xf32>, %p: f32) -> tensor<?x2x4x3xf32> {
  %0 = linalg.pack %x padding_value(%p : f32) inner_dims_pos = [1, 0] inner_tiles = [4, 3] into %out
    : tensor<?x8xf32> -> tensor<?x2x4x3xf32>
  return %0 : tensor<?x2x4x3xf32>
}

// CHECK-LABEL: func.func @unpack(
// CHECK-SAME: %[[X:.*]]: tensor<2x3x4xf32>
// CHECK: arith.divui
// CHECK: arith.remui
// CHECK: tensor.extract %[[X]]
func.func @unpack(%x: tensor<2x3x4xf32>, %out: tensor<2x12xf32>) -> tensor<2x12xf32> {
  %0 = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [4] into %out
    : tensor<2x3x4xf32> -> tensor<2x12xf32>
  return %0 : tensor<2x12xf32>
}

// CHECK-LABEL: func.func @bitcast(
// CHECK: arith.bitcast %{{.*}} : f32 to i32
func.func @bitcast(%x: tensor<?xf32>) -> tensor<?xi32> {
  %0 = tensor.bitcast %x : tensor<?xf32> to tensor<?xi32>
  return %0 : tensor<?xi32>
}

// CHECK-LABEL: func.func @concat(
// CHECK: tensor.insert_slice
// CHECK: tensor.insert_slice
func.func @concat(%x: tensor<2xf32>, %y: tensor<3xf32>) -> tensor<5xf32> {
  %0 = tensor.concat dim(0) %x, %y : (tensor<2xf32>, tensor<3xf32>) -> tensor<5xf32>
  return %0 : tensor<5xf32>
}

// What has a bufferization stays.
// CHECK-LABEL: func.func @stays(
// CHECK: tensor.extract_slice
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @stays(%x: tensor<8xf32>) -> tensor<2xf32> {
  %0 = tensor.extract_slice %x[1] [2] [1] : tensor<8xf32> to tensor<2xf32>
  return %0 : tensor<2xf32>
}
