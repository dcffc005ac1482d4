// RUN: moe-opt %s --moe-expand-math --split-input-file | FileCheck %s

// Minima and maxima of f32 and f64 know signs of zeros, and the number among a
// number and NaN, in the same way on every target.
// CHECK-LABEL: func.func @extrema(
// CHECK-SAME:    %[[A:.*]]: f32, %[[B:.*]]: f32, %[[C:.*]]: f64, %[[D:.*]]: f64)
// CHECK:         llvm.call_intrinsic "llvm.maximum"(%[[A]], %[[B]]) : (f32, f32) -> f32
// CHECK:         llvm.call_intrinsic "llvm.minimum"(%[[A]], %[[B]]) : (f32, f32) -> f32
// CHECK:         llvm.call_intrinsic "llvm.maximumnum"(%[[A]], %[[B]]) : (f32, f32) -> f32
// CHECK:         llvm.call_intrinsic "llvm.minimumnum"(%[[C]], %[[D]]) : (f64, f64) -> f64
func.func @extrema(%a: f32, %b: f32, %c: f64, %d: f64) -> (f32, f32, f32, f64) {
  %0 = arith.maximumf %a, %b : f32
  %1 = arith.minimumf %a, %b : f32
  %2 = arith.maxnumf %a, %b : f32
  %3 = arith.minnumf %c, %d : f64
  return %0, %1, %2, %3 : f32, f32, f32, f64
}

// -----

// Small floats: in f32, rounded once.
// CHECK-LABEL: func.func @small(
// CHECK-SAME:    %[[A:.*]]: bf16, %[[B:.*]]: f16, %[[C:.*]]: f16, %[[I:.*]]: i32)
// CHECK-DAG:     %[[A32:.*]] = arith.extf %[[A]] : bf16 to f32
// CHECK:         %[[FMA:.*]] = math.fma %[[A32]], %{{.*}}, %{{.*}} : f32
// CHECK:         arith.truncf %[[FMA]] : f32 to bf16
// CHECK:         %[[POWER:.*]] = math.fpowi %{{.*}}, %[[I]] : f32, i32
// CHECK:         arith.truncf %[[POWER]] : f32 to f16
// CHECK:         %[[MAX:.*]] = llvm.call_intrinsic "llvm.maximum"(%{{.*}}, %{{.*}}) : (f32, f32) -> f32
// CHECK:         arith.truncf %[[MAX]] : f32 to f16
func.func @small(%a: bf16, %b: f16, %c: f16, %i: i32) -> (bf16, f16, f16) {
  %0 = math.fma %a, %a, %a : bf16
  %1 = math.fpowi %b, %i : f16, i32
  %2 = arith.maximumf %b, %c : f16
  return %0, %1, %2 : bf16, f16, f16
}

// -----

// CHECK-LABEL: func.func @compound(
// CHECK-SAME:    %[[X:.*]]: f32, %[[LOW:.*]]: f32, %[[HIGH:.*]]: f32)
// CHECK:         %[[BELOW:.*]] = llvm.call_intrinsic "llvm.minimum"(%[[X]], %[[HIGH]])
// CHECK:         %[[CLAMPED:.*]] = llvm.call_intrinsic "llvm.maximum"(%[[BELOW]], %[[LOW]])
// CHECK:         %[[SIN:.*]] = math.sin %[[X]] : f32
// CHECK:         %[[COS:.*]] = math.cos %[[X]] : f32
// CHECK:         return %[[CLAMPED]], %[[SIN]], %[[COS]]
func.func @compound(%x: f32, %low: f32, %high: f32) -> (f32, f32, f32) {
  %0 = math.clampf %x to [%low, %high] : f32
  %1, %2 = math.sincos %x : f32
  return %0, %1, %2 : f32, f32, f32
}

// -----

// Vectors of two dimensions have no intrinsics.
// CHECK-LABEL: func.func @vectors(
// CHECK-COUNT-4: llvm.call_intrinsic "llvm.maximum"({{.*}}) : (f32, f32) -> f32
// CHECK-NOT:     call_intrinsic
func.func @vectors(%a: vector<2x2xf32>, %b: vector<2x2xf32>) -> vector<2x2xf32> {
  %0 = arith.maximumf %a, %b : vector<2x2xf32>
  return %0 : vector<2x2xf32>
}

// -----

// Tensors become loops over elements first.
// CHECK-LABEL: func.func @tensors(
// CHECK:         arith.maximumf {{.*}} : tensor<4xf32>
// CHECK:         math.fma {{.*}} : tensor<4xbf16>
func.func @tensors(%a: tensor<4xf32>, %c: tensor<4xf32>, %b: tensor<4xbf16>) -> (tensor<4xf32>, tensor<4xbf16>) {
  %0 = arith.maximumf %a, %c : tensor<4xf32>
  %1 = math.fma %b, %b, %b : tensor<4xbf16>
  return %0, %1 : tensor<4xf32>, tensor<4xbf16>
}
