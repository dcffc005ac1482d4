// RUN: moe-opt %s --moe-split-reductions | FileCheck %s

// The innermost of the longest loops becomes parallel; its results, more than
// one thread should add up, are split again.
// CHECK-LABEL: func.func @nest(
// CHECK-SAME: %[[X:.*]]: tensor<4096x7168xf32>, %[[INIT:.*]]: tensor<f32>
// CHECK: %[[ZERO:.*]] = arith.constant {{-?0.0*e\+00}} : f32
// CHECK: %[[START:.*]] = linalg.fill ins(%{{.*}} : f32) outs(%{{.*}} : tensor<7168xf32>)
// CHECK: %[[PARTS:.*]] = linalg.generic
// CHECK-SAME: iterator_types = ["reduction", "parallel"]
// CHECK-SAME: ins(%[[X]] :
// CHECK: %[[ROWS:.*]] = tensor.expand_shape %[[PARTS]] {{.*}} : tensor<7168xf32> into tensor<64x112xf32>
// CHECK: %[[SUMS:.*]] = linalg.generic
// CHECK-SAME: iterator_types = ["reduction", "parallel"]
// CHECK-SAME: ins(%[[ROWS]]
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["reduction"]
// CHECK-SAME: ins(%[[SUMS]] : tensor<112xf32>) outs(%[[INIT]] : tensor<f32>)
func.func @nest(%x: tensor<4096x7168xf32>, %init: tensor<f32>) -> tensor<f32> {
  %0 = linalg.reduce { arith.addf } ins(%x : tensor<4096x7168xf32>)
      outs(%init : tensor<f32>) dimensions = [0, 1]
  return %0 : tensor<f32>
}

// Extents that are not known, and a result with extents of 1.
// CHECK-LABEL: func.func @dynamic(
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["reduction", "parallel"]
// CHECK: arith.maxsi
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["reduction"]
// CHECK-SAME: outs(%{{.*}} : tensor<1xi32>)
// CHECK: arith.maxsi
#all = affine_map<(i, j) -> (i, j)>
#first = affine_map<(i, j) -> (0)>
func.func @dynamic(%x: tensor<?x?xi32>, %init: tensor<1xi32>) -> tensor<1xi32> {
  %0 = linalg.generic {indexing_maps = [#all, #first], iterator_types = ["reduction", "reduction"]}
      ins(%x : tensor<?x?xi32>) outs(%init : tensor<1xi32>) {
  ^bb0(%a: i32, %b: i32):
    %m = arith.maxsi %a, %b : i32
    linalg.yield %m : i32
  } -> tensor<1xi32>
  return %0 : tensor<1xi32>
}

// A parallel loop of one iteration is none.
// CHECK-LABEL: func.func @row(
// CHECK: tensor.expand_shape {{.*}} : tensor<1x4096xf32> into tensor<1x64x64xf32>
// CHECK: iterator_types = ["parallel", "reduction", "parallel"]
func.func @row(%x: tensor<1x4096xf32>, %init: tensor<1xf32>) -> tensor<1xf32> {
  %0 = linalg.reduce { arith.addf } ins(%x : tensor<1x4096xf32>)
      outs(%init : tensor<1xf32>) dimensions = [1]
  return %0 : tensor<1xf32>
}

// Short, of an extent without divisors, not associative, or parallel as it is.
// CHECK-LABEL: func.func @stays(
// CHECK-COUNT-4: linalg.reduce
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @stays(%x: tensor<1024xf32>, %y: tensor<4099xf32>, %z: tensor<64x64xf32>,
    %init: tensor<f32>, %rows: tensor<64xf32>) -> (tensor<f32>, tensor<f32>, tensor<f32>, tensor<64xf32>) {
  %0 = linalg.reduce { arith.addf } ins(%x : tensor<1024xf32>)
      outs(%init : tensor<f32>) dimensions = [0]
  %1 = linalg.reduce { arith.addf } ins(%y : tensor<4099xf32>)
      outs(%init : tensor<f32>) dimensions = [0]
  %2 = linalg.reduce { arith.subf } ins(%z : tensor<64x64xf32>)
      outs(%init : tensor<f32>) dimensions = [0, 1]
  %3 = linalg.reduce { arith.addf } ins(%z : tensor<64x64xf32>)
      outs(%rows : tensor<64xf32>) dimensions = [1]
  return %0, %1, %2, %3 : tensor<f32>, tensor<f32>, tensor<f32>, tensor<64xf32>
}

// One loop is not split where the body looks at its index, or an operand has
// other indices: upstream's pattern would use the index of the inner loop.
// CHECK-LABEL: func.func @index(
// CHECK-NOT: expand_shape
// CHECK: iterator_types = ["reduction"]
// CHECK-NOT: linalg.generic
func.func @index(%x: tensor<4096xi32>, %init: tensor<i32>) -> tensor<i32> {
  %0 = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> ()>],
                       iterator_types = ["reduction"]}
      ins(%x : tensor<4096xi32>) outs(%init : tensor<i32>) {
  ^bb0(%a: i32, %b: i32):
    %i = linalg.index 0 : index
    %j = arith.index_cast %i : index to i32
    %p = arith.muli %a, %j : i32
    %s = arith.addi %p, %b : i32
    linalg.yield %s : i32
  } -> tensor<i32>
  return %0 : tensor<i32>
}

// CHECK-LABEL: func.func @backwards(
// CHECK-NOT: expand_shape
// CHECK: iterator_types = ["reduction"]
// CHECK-NOT: linalg.generic
func.func @backwards(%x: tensor<4096xi32>, %init: tensor<i32>) -> tensor<i32> {
  %0 = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (4095 - i)>,
                                        affine_map<(i) -> ()>],
                       iterator_types = ["reduction"]}
      ins(%x, %x : tensor<4096xi32>, tensor<4096xi32>) outs(%init : tensor<i32>) {
  ^bb0(%a: i32, %b: i32, %sum: i32):
    %p = arith.muli %a, %b : i32
    %s = arith.addi %p, %sum : i32
    linalg.yield %s : i32
  } -> tensor<i32>
  return %0 : tensor<i32>
}

// What a nest becomes is such a loop where the result has a dimension.
// CHECK-LABEL: func.func @nest_with_dimension(
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["reduction", "parallel"]
// CHECK-NOT: expand_shape
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["reduction"]
// CHECK-SAME: ins(%{{.*}} : tensor<4096xi32>) outs(%{{.*}} : tensor<1xi32>)
func.func @nest_with_dimension(%x: tensor<64x4096xi32>, %init: tensor<1xi32>) -> tensor<1xi32> {
  %0 = linalg.generic {indexing_maps = [#all, #first], iterator_types = ["reduction", "reduction"]}
      ins(%x : tensor<64x4096xi32>) outs(%init : tensor<1xi32>) {
  ^bb0(%a: i32, %b: i32):
    %s = arith.addi %a, %b : i32
    linalg.yield %s : i32
  } -> tensor<1xi32>
  return %0 : tensor<1xi32>
}
