// RUN: moe-opt %s --moe-call-math-functions --split-input-file --allow-unregistered-dialect | FileCheck %s
// RUN: moe-opt %s --moe-call-math-functions --split-input-file --allow-unregistered-dialect --mlir-print-debuginfo | FileCheck %s --check-prefix=LOC

// Functions of f32 are those of the library that is linked in; those of f64 are
// the C library's. Each is declared once, and depends on its operands alone.
// CHECK-LABEL: module
// CHECK-DAG:     llvm.func @moe.math.sin(f32) -> f32 attributes {memory_effects = #llvm.memory_effects<other = none{{.*}}no_unwind, passthrough = {{\[\[}}"moe-math", "sin"]], will_return}
// CHECK-DAG:     llvm.func @moe.math.c.log1p(f64) -> f64 {{.*}}passthrough = {{\[\[}}"moe-libm", "log1p"]]
// CHECK-DAG:     llvm.func @moe.math.pow(f32, f32) -> f32
// CHECK-LABEL:   func.func @called(
// CHECK-SAME:      %[[X:.*]]: f32, %[[D:.*]]: f64, %[[F:.*]]: f32)
// CHECK:           llvm.call @moe.math.sin(%[[X]]) : (f32) -> f32
// CHECK:           llvm.call @moe.math.sin(%[[F]]) : (f32) -> f32
// CHECK:           llvm.call @moe.math.pow(%[[X]], %[[F]]) : (f32, f32) -> f32
// CHECK:           llvm.call @moe.math.c.log1p(%[[D]]) : (f64) -> f64
// What is an instruction everywhere stays.
// CHECK:           math.sqrt %[[X]] : f32
// CHECK:           math.fma
// LOC: llvm.call @moe.math.sin(%{{.*}}) : (f32) -> f32 loc(#[[SINE:.*]])
// LOC: #[[SINE]] = loc("sine")
func.func @called(%x: f32, %d: f64, %f: f32) -> (f32, f32, f32, f64, f32, f32) {
  %0 = math.sin %x : f32 loc("sine")
  %1 = math.sin %f : f32
  %2 = math.powf %x, %f : f32
  %3 = math.log1p %d : f64
  %4 = math.sqrt %x : f32
  %5 = math.fma %x, %x, %x : f32
  return %0, %1, %2, %3, %4, %5 : f32, f32, f32, f64, f32, f32
}

// -----

// CHECK-LABEL: func.func @powers(
// CHECK-SAME:    %[[X:.*]]: f32, %[[I:.*]]: i8, %[[J:.*]]: index)
// CHECK:         %[[I64:.*]] = arith.extsi %[[I]] : i8 to i64
// CHECK:         llvm.call @moe.math.fpowi(%[[X]], %[[I64]]) : (f32, i64) -> f32
// CHECK:         %[[J64:.*]] = arith.index_cast %[[J]] : index to i64
// CHECK:         llvm.call @moe.math.fpowi(%[[X]], %[[J64]]) : (f32, i64) -> f32
func.func @powers(%x: f32, %i: i8, %j: index) -> (f32, f32) {
  %0 = math.fpowi %x, %i : f32, i8
  %1 = math.fpowi %x, %j : f32, index
  return %0, %1 : f32, f32
}

// -----

// The user's function of the same name keeps it.
// CHECK-LABEL: module
// CHECK:         llvm.func @moe.math.exp_0(f32) -> f32 {{.*}}"moe-math", "exp"
// CHECK:         func.func @moe.math.exp(%[[X:.*]]: f32)
// CHECK:           llvm.call @moe.math.exp_0(%[[X]])
func.func @moe.math.exp(%x: f32) -> f32 {
  %0 = math.exp %x : f32
  return %0 : f32
}

// -----

// CHECK-LABEL: func.func @vectors(
// CHECK-COUNT-4: llvm.call @moe.math.tanh(%{{.*}}) : (f32) -> f32
// CHECK-NOT:     llvm.call
// CHECK:         return %{{.*}} : vector<2x2xf32>
func.func @vectors(%x: vector<2x2xf32>) -> vector<2x2xf32> {
  %0 = math.tanh %x : vector<2x2xf32>
  return %0 : vector<2x2xf32>
}

// -----

// Kernels have declarations of their own. The remainder is exact, of f64 too.
// CHECK-LABEL: gpu.module @kernels
// CHECK-DAG:     llvm.func @moe.math.exp(f32) -> f32
// CHECK-DAG:     llvm.func @moe.math.fmod_f64(f64, f64) -> f64
// CHECK:         gpu.func @k(%[[X:.*]]: f32, %[[D:.*]]: f64)
// CHECK:           llvm.call @moe.math.exp(%[[X]])
// CHECK:           llvm.call @moe.math.fmod_f64(%[[D]], %[[D]])
// CHECK:           %[[ROOT:.*]] = math.sqrt %[[D]] : f64
// CHECK:           arith.divf %{{.*}}, %[[ROOT]] : f64
module attributes {gpu.container_module} {
  gpu.module @kernels {
    gpu.func @k(%x: f32, %d: f64) kernel {
      %0 = math.exp %x : f32
      %1 = arith.remf %d, %d : f64
      %2 = math.rsqrt %d : f64
      "test.use"(%0, %1, %2) : (f32, f64, f64) -> ()
      gpu.return
    }
  }
}
