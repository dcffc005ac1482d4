// RUN: moe-opt %s --moe-fill-splats | FileCheck %s
// The data are in neither artifact.
// RUN: moe-compile %s --target host -o %t.host.so
// RUN: moe-compile %s --target cuda -o %t.cuda.so
// RUN: %python -c "import os, sys; sizes = [os.path.getsize(path) for path in sys.argv[1:]]; print(sizes); sys.exit(max(sizes) > 200000)" %t.host.so %t.cuda.so

// CHECK-LABEL: func.func @destinations(
// CHECK-SAME:    %[[A:.*]]: tensor<512x512xf32>)
// CHECK-NOT:     dense
// CHECK:         %[[EMPTY:.*]] = tensor.empty() : tensor<512x512xf32>
// CHECK:         %[[ZERO:.*]] = arith.constant 0.000000e+00 : f32
// CHECK:         %[[FILL:.*]] = linalg.fill ins(%[[ZERO]] : f32) outs(%[[EMPTY]] : tensor<512x512xf32>)
// CHECK:         %[[Y:.*]] = linalg.matmul ins(%[[A]], %[[A]] : {{.*}}) outs(%[[FILL]] :
// CHECK:         %[[EMPTY2:.*]] = tensor.empty() : tensor<512x512xf32>
// CHECK:         %[[FILL2:.*]] = linalg.fill ins(%{{.*}} : f32) outs(%[[EMPTY2]] : tensor<512x512xf32>)
// CHECK:         linalg.matmul ins(%[[Y]], %[[A]] : {{.*}}) outs(%[[FILL2]] :
func.func @destinations(%a: tensor<512x512xf32>) -> tensor<512x512xf32> {
  %zero = arith.constant dense<0.0> : tensor<512x512xf32>
  %y = linalg.matmul ins(%a, %a : tensor<512x512xf32>, tensor<512x512xf32>)
      outs(%zero : tensor<512x512xf32>) -> tensor<512x512xf32>
  %z = linalg.matmul ins(%y, %a : tensor<512x512xf32>, tensor<512x512xf32>)
      outs(%zero : tensor<512x512xf32>) -> tensor<512x512xf32>
  return %z : tensor<512x512xf32>
}

// What is only read is filled once, before a loop that reads it.
// CHECK-LABEL: func.func @read(
// CHECK:         %[[ONES:.*]] = linalg.fill ins(%{{.*}} : bf16) outs(%{{.*}} : tensor<512x512xbf16>)
// CHECK:         scf.for
// CHECK-NOT:       linalg.fill
// CHECK:           arith.addf %{{.*}}, %[[ONES]] : tensor<512x512xbf16>
func.func @read(%a: tensor<512x512xbf16>) -> tensor<512x512xbf16> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %ones = arith.constant dense<1.0> : tensor<512x512xbf16>
  %y = scf.for %i = %c0 to %c4 step %c1 iter_args(%sum = %a) -> (tensor<512x512xbf16>) {
    %next = arith.addf %sum, %ones : tensor<512x512xbf16>
    scf.yield %next : tensor<512x512xbf16>
  }
  return %y : tensor<512x512xbf16>
}

// Small ones, and those of several values, stay as they are.
// CHECK-LABEL: func.func @small(
// CHECK:         arith.constant dense<2.000000e+00> : tensor<16384xf32>
// CHECK:         arith.constant dense<[1, 2]> : tensor<2xi64>
func.func @small() -> (tensor<16384xf32>, tensor<2xi64>) {
  %0 = arith.constant dense<2.0> : tensor<16384xf32>
  %1 = arith.constant dense<[1, 2]> : tensor<2xi64>
  return %0, %1 : tensor<16384xf32>, tensor<2xi64>
}

// A destination that is only written needs no value.
// CHECK-LABEL: func.func @overwritten(
// CHECK:         %[[ONES:.*]] = linalg.fill ins(%{{.*}} : f32) outs(%{{.*}} : tensor<512x512xf32>)
// CHECK-NOT:     linalg.fill
// CHECK:         %[[ANY:.*]] = tensor.empty() : tensor<512x512xf32>
// CHECK-NOT:     linalg.fill
// CHECK:         linalg.generic {{.*}} ins(%[[ONES]], %{{.*}}) outs(%[[ANY]] :
#id = affine_map<(i, j) -> (i, j)>
func.func @overwritten(%x: tensor<512x512xf32>) -> tensor<512x512xf32> {
  %one = arith.constant dense<1.0> : tensor<512x512xf32>
  %0 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%one, %x : tensor<512x512xf32>, tensor<512x512xf32>)
      outs(%one : tensor<512x512xf32>) {
  ^bb0(%a: f32, %b: f32, %unused: f32):
    %d = arith.subf %a, %b : f32
    linalg.yield %d : f32
  } -> tensor<512x512xf32>
  return %0 : tensor<512x512xf32>
}

// CHECK-LABEL: func.func @result(
// CHECK:         %[[FILLED:.*]] = linalg.fill ins(%{{.*}} : i1) outs(%{{.*}} : tensor<70000xi1>)
// CHECK:         return %[[FILLED]]
func.func @result() -> tensor<70000xi1> {
  %0 = arith.constant dense<true> : tensor<70000xi1>
  return %0 : tensor<70000xi1>
}
