// RUN: moe-opt %s --moe-decompose-aggregates | FileCheck %s
// RUN: moe-opt %s --moe-to-host -o /dev/null
// RUN: moe-opt %s --moe-to-cuda -o /dev/null

// CHECK-LABEL: func.func @softmax(
// CHECK-NOT:     linalg.softmax
// CHECK:         linalg.generic {{.*}}iterator_types = ["parallel", "reduction"]
// CHECK:           arith.maxnumf
// CHECK:         linalg.generic {{.*}}iterator_types = ["parallel", "parallel"]
// CHECK:           arith.subf
// CHECK:           math.exp
// CHECK:         linalg.generic {{.*}}iterator_types = ["parallel", "reduction"]
// CHECK:           arith.addf
// CHECK:         %[[OUT:.*]] = linalg.generic {{.*}}iterator_types = ["parallel", "parallel"]
// CHECK:           arith.divf
// CHECK:         return %[[OUT]]
shard.grid @ep(shape = 4)
func.func @softmax(%x: tensor<?x16xf32>) -> tensor<?x16xf32>
    attributes {moe.grid = @ep} {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x16xf32>
  %empty = tensor.empty(%n) : tensor<?x16xf32>
  %out = linalg.softmax dimension(1) ins(%x : tensor<?x16xf32>)
      outs(%empty : tensor<?x16xf32>) -> tensor<?x16xf32>
  return %out : tensor<?x16xf32>
}
