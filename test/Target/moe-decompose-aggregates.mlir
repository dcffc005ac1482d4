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

// Of small floats in f32: a sum of 512 equal columns in bf16 would end at 256.
// CHECK-LABEL: func.func @small(
// CHECK-SAME:    %[[X:.*]]: tensor<?x16xbf16>
// CHECK-NOT:     linalg.softmax
// CHECK:         linalg.generic {{.*}} ins(%[[X]] : tensor<?x16xbf16>) outs(%{{.*}} : tensor<?x16xf32>)
// CHECK:           arith.extf %{{.*}} : bf16 to f32
// CHECK:           arith.maxnumf %{{.*}}, %{{.*}} : f32
// CHECK:           math.exp %{{.*}} : f32
// CHECK:           arith.addf %{{.*}}, %{{.*}} : f32
// CHECK:           %[[QUOTIENT:.*]] = arith.divf %{{.*}}, %{{.*}} : f32
// CHECK:           linalg.yield %[[QUOTIENT]] : f32
// CHECK:         %[[OUT:.*]] = linalg.generic {{.*}} outs(%{{.*}} : tensor<?x16xbf16>)
// CHECK:           arith.truncf %{{.*}} : f32 to bf16
// CHECK:         return %[[OUT]]
func.func @small(%x: tensor<?x16xbf16>) -> tensor<?x16xbf16>
    attributes {moe.grid = @ep} {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x16xbf16>
  %empty = tensor.empty(%n) : tensor<?x16xbf16>
  %out = linalg.softmax dimension(1) ins(%x : tensor<?x16xbf16>)
      outs(%empty : tensor<?x16xbf16>) -> tensor<?x16xbf16>
  return %out : tensor<?x16xbf16>
}
