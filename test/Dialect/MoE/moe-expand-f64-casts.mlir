// RUN: moe-opt %s --moe-expand-f64-casts --split-input-file | FileCheck %s

// To odd: of the neighbours in f32 the one towards zero, with its last bit set.
// CHECK-LABEL: func.func @truncf
// CHECK-SAME: (%[[X:[a-z0-9_]+]]: f64) -> bf16
// CHECK: %[[NEAR:.*]] = arith.truncf %[[X]] : f64 to f32
// CHECK: %[[BACK:.*]] = arith.extf %[[NEAR]] : f32 to f64
// CHECK: %[[IS_AWAY:.*]] = arith.cmpi ugt
// CHECK: %[[IS_INEXACT:.*]] = arith.cmpf one, %[[BACK]], %[[X]]
// CHECK: %[[BITS:.*]] = arith.bitcast %[[NEAR]] : f32 to i32
// CHECK: %[[LESS:.*]] = arith.subi %[[BITS]],
// CHECK: %[[DOWN:.*]] = arith.select %[[IS_AWAY]], %[[LESS]], %[[BITS]]
// CHECK: %[[ODD:.*]] = arith.ori %[[DOWN]],
// CHECK: %[[CHOSEN:.*]] = arith.select %[[IS_INEXACT]], %[[ODD]], %[[BITS]]
// CHECK: %[[MIDDLE:.*]] = arith.bitcast %[[CHOSEN]] : i32 to f32
// CHECK: arith.truncf %[[MIDDLE]] : f32 to bf16
func.func @truncf(%x: f64) -> bf16 {
  %0 = arith.truncf %x : f64 to bf16
  return %0 : bf16
}

// -----

// CHECK-LABEL: func.func @vector
// CHECK: arith.truncf %{{.*}} : vector<4xf64> to vector<4xf32>
// CHECK: arith.truncf %{{.*}} : vector<4xf32> to vector<4xf8E5M2>
// CHECK-NOT: vector<4xf64> to vector<4xf8E5M2>
func.func @vector(%x: vector<4xf64>) -> vector<4xf8E5M2> {
  %0 = arith.truncf %x : vector<4xf64> to vector<4xf8E5M2>
  return %0 : vector<4xf8E5M2>
}

// -----

// The bits of bf16 are the upper ones of f32.
// CHECK-LABEL: func.func @extf
// CHECK-SAME: (%[[X:[a-z0-9_]+]]: bf16) -> f64
// CHECK: %[[SIXTEEN:.*]] = arith.constant 16 : i32
// CHECK: %[[HALF:.*]] = arith.bitcast %[[X]] : bf16 to i16
// CHECK: %[[LOW:.*]] = arith.extui %[[HALF]] : i16 to i32
// CHECK: %[[BITS:.*]] = arith.shli %[[LOW]], %[[SIXTEEN]]
// CHECK: %[[MIDDLE:.*]] = arith.bitcast %[[BITS]] : i32 to f32
// CHECK: arith.extf %[[MIDDLE]] : f32 to f64
func.func @extf(%x: bf16) -> f64 {
  %0 = arith.extf %x : bf16 to f64
  return %0 : f64
}

// -----

// Those that all targets have, and other directions of rounding, stay.
// CHECK-LABEL: func.func @others
// CHECK-NEXT: arith.extf %{{.*}} : f16 to f64
// CHECK-NEXT: arith.truncf %{{.*}} : f64 to f32
// CHECK-NEXT: arith.extf %{{.*}} : bf16 to f32
// CHECK-NEXT: arith.truncf %{{.*}} downward : f64 to f16
// CHECK-NEXT: return
func.func @others(%h: f16, %x: f64, %b: bf16) -> (f64, f32, f32, f16) {
  %0 = arith.extf %h : f16 to f64
  %1 = arith.truncf %x : f64 to f32
  %2 = arith.extf %b : bf16 to f32
  %3 = arith.truncf %x downward : f64 to f16
  return %0, %1, %2, %3 : f64, f32, f32, f16
}
