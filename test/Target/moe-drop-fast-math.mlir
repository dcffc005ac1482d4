// RUN: moe-opt %s --moe-drop-fast-math | FileCheck %s
// Both targets drop them before anything else may use them.
// RUN: moe-opt %S/moe-compile-math.mlir --moe-to-host -o /dev/null --dump-pass-pipeline 2>&1 | FileCheck %s --check-prefix=FIRST
// RUN: moe-opt %S/moe-compile-math.mlir --moe-to-cuda -o /dev/null --dump-pass-pipeline 2>&1 | FileCheck %s --check-prefix=FIRST
// FIRST: moe-check-entries{
// FIRST-NEXT: moe-drop-fast-math,
// FIRST-NEXT: inline

// CHECK-LABEL: func.func @loose(
// CHECK:         arith.mulf %{{.*}}, %{{.*}} : f32
// CHECK:         arith.addf %{{.*}}, %{{.*}} : f32
// CHECK:         math.exp %{{.*}} : f32
// CHECK:         arith.addi %{{.*}}, %{{.*}} overflow<nsw> : i32
// CHECK-NOT:     fastmath
func.func @loose(%a: f32, %b: f32, %i: i32) -> (f32, i32) {
  %0 = arith.mulf %a, %b fastmath<contract> : f32
  %1 = arith.addf %0, %b fastmath<reassoc,contract> : f32
  %2 = math.exp %1 fastmath<fast> : f32
  // Flags of integers are promises of the module about its values: they stay.
  %3 = arith.addi %i, %i overflow<nsw> : i32
  return %2, %3 : f32, i32
}
