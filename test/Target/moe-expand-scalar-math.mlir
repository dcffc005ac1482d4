// RUN: moe-opt %s --moe-expand-scalar-math | FileCheck %s

// CHECK-LABEL: func.func @classes(
// CHECK-SAME: %[[X:.*]]: f16
// CHECK-DAG: arith.cmpf uno, %[[X]], %[[X]]
// CHECK-DAG: %[[SIZE:.*]] = math.absf %[[X]]
// CHECK-DAG: arith.cmpf oeq, %{{.*}}, %[[INF:.*]] : f16
// CHECK-DAG: arith.cmpf olt, %{{.*}}, %[[INF]] : f16
// The least normal number is that of the type.
// CHECK-DAG: arith.constant 6.103520e-05 : f16
// CHECK-DAG: arith.cmpf oge
func.func @classes(%x: f16) -> (i1, i1, i1, i1) {
  %0 = math.isnan %x : f16
  %1 = math.isinf %x : f16
  %2 = math.isfinite %x : f16
  %3 = math.isnormal %x : f16
  return %0, %1, %2, %3 : i1, i1, i1, i1
}

// f8E4M3FN has no infinities.
// CHECK-LABEL: func.func @no_infinity(
// CHECK: arith.constant false
func.func @no_infinity(%x: f8E4M3FN) -> i1 {
  %0 = math.isinf %x : f8E4M3FN
  return %0 : i1
}

// A square for each bit of the exponent.
// CHECK-LABEL: func.func @power(
// CHECK-DAG: %[[WIDTH:.*]] = arith.constant 16 : index
// CHECK: scf.for %{{.*}} = %{{.*}} to %[[WIDTH]]
// CHECK-COUNT-2: arith.muli
func.func @power(%x: i16, %y: i16) -> i16 {
  %0 = math.ipowi %x, %y : i16
  return %0 : i16
}

// Vectors as well.
// CHECK-LABEL: func.func @powers(
// CHECK: arith.muli %{{.*}} : vector<4xi16>
func.func @powers(%x: vector<4xi16>, %y: vector<4xi16>) -> vector<4xi16> {
  %0 = math.ipowi %x, %y : vector<4xi16>
  return %0 : vector<4xi16>
}

// What is an instruction or a function of the library stays.
// CHECK-LABEL: func.func @stays(
// CHECK: math.absi
// CHECK: math.sqrt
func.func @stays(%x: i32, %y: f32) -> (i32, f32) {
  %0 = math.absi %x : i32
  %1 = math.sqrt %y : f32
  return %0, %1 : i32, f32
}
