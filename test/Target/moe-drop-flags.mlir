// RUN: moe-opt %s --moe-drop-flags | FileCheck %s --implicit-check-not=fastmath --implicit-check-not=overflow --implicit-check-not=exact --implicit-check-not=to_nearest_even
// Both targets drop them before anything else may use them.
// RUN: moe-opt %S/moe-compile-math.mlir --moe-to-host -o /dev/null --dump-pass-pipeline 2>&1 | FileCheck %s --check-prefix=FIRST
// RUN: moe-opt %S/moe-compile-math.mlir --moe-to-cuda -o /dev/null --dump-pass-pipeline 2>&1 | FileCheck %s --check-prefix=FIRST
// FIRST: moe-check-entries{
// FIRST-NEXT: moe-check-order,
// FIRST-NEXT: moe-drop-flags,
// FIRST-NEXT: inline

// CHECK-LABEL: func.func @loose(
// CHECK:         arith.mulf %{{.*}}, %{{.*}} : f32
// CHECK:         arith.addf %{{.*}}, %{{.*}} : f32
// CHECK:         math.exp %{{.*}} : f32
func.func @loose(%a: f32, %b: f32) -> f32 {
  %0 = arith.mulf %a, %b fastmath<contract> : f32
  %1 = arith.addf %0, %b fastmath<reassoc,contract> : f32
  %2 = math.exp %1 fastmath<fast> : f32
  return %2 : f32
}

// Integers wrap around, and a quotient is rounded, whatever the module promises.
// CHECK-LABEL: func.func @promises(
// CHECK:         arith.addi %{{.*}}, %{{.*}} : i32
// CHECK:         arith.shli %{{.*}}, %{{.*}} : i32
// CHECK:         arith.trunci %{{.*}} : i32 to i8
// CHECK:         arith.divsi %{{.*}}, %{{.*}} : i32
// CHECK:         arith.divui %{{.*}}, %{{.*}} : i32
// CHECK:         arith.shrsi %{{.*}}, %{{.*}} : i32
// CHECK:         arith.shrui %{{.*}}, %{{.*}} : i32
func.func @promises(%i: i32, %j: i32) -> (i32, i32, i8, i32, i32, i32, i32) {
  %0 = arith.addi %i, %j overflow<nsw> : i32
  %1 = arith.shli %i, %j overflow<nsw, nuw> : i32
  %2 = arith.trunci %i overflow<nuw> : i32 to i8
  %3 = arith.divsi %i, %j exact : i32
  %4 = arith.divui %i, %j exact : i32
  %5 = arith.shrsi %i, %j exact : i32
  %6 = arith.shrui %i, %j exact : i32
  return %0, %1, %2, %3, %4, %5, %6 : i32, i32, i8, i32, i32, i32, i32
}

// CHECK-LABEL: func.func @usual_rounding(
// CHECK:         arith.truncf %{{.*}} : f32 to bf16
func.func @usual_rounding(%x: f32) -> bf16 {
  %0 = arith.truncf %x to_nearest_even : f32 to bf16
  return %0 : bf16
}
