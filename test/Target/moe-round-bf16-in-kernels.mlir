// RUN: moe-opt %s --moe-round-bf16-in-kernels --split-input-file | FileCheck %s

// CHECK-LABEL: func.func @kernel
// CHECK-SAME: %[[X:[a-z0-9]+]]: f32, %[[V:[a-z0-9]+]]: vector<8xf32>, %[[P:[a-z0-9]+]]: vector<2xf32>
func.func @kernel(%x: f32, %v: vector<8xf32>, %p: vector<2xf32>, %a: memref<bf16>,
                  %b: memref<1xvector<8xbf16>>, %c: memref<1xvector<2xbf16>>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // CHECK: gpu.launch
  gpu.launch blocks(%i, %j, %k) in (%l = %c1, %m = %c1, %n = %c1)
      threads(%o, %q, %r) in (%s = %c1, %t = %c1, %u = %c1) {
    // CHECK: %[[SCALAR:.*]] = llvm.call_intrinsic "llvm.nvvm.f2bf16.rn"(%[[X]]) : (f32) -> bf16
    // CHECK: memref.store %[[SCALAR]]
    %0 = arith.truncf %x : f32 to bf16
    memref.store %0, %a[] : memref<bf16>
    // Four words; the intrinsic takes the upper half first.
    // CHECK: %[[WORDS:.*]] = arith.constant dense<0> : vector<4xi32>
    // CHECK: %[[LOW:.*]] = vector.extract %[[V]][0]
    // CHECK: %[[HIGH:.*]] = vector.extract %[[V]][1]
    // CHECK: %[[PAIR:.*]] = llvm.call_intrinsic "llvm.nvvm.ff2bf16x2.rn"(%[[HIGH]], %[[LOW]]) : (f32, f32) -> vector<2xbf16>
    // CHECK: %[[BITS:.*]] = vector.bitcast %[[PAIR]] : vector<2xbf16> to vector<1xi32>
    // CHECK: %[[WORD:.*]] = vector.extract %[[BITS]][0]
    // CHECK: %[[ONE:.*]] = vector.insert %[[WORD]], %[[WORDS]] [0]
    // CHECK-COUNT-2: llvm.call_intrinsic "llvm.nvvm.ff2bf16x2.rn"
    // CHECK: %[[LOW3:.*]] = vector.extract %[[V]][6]
    // CHECK: %[[HIGH3:.*]] = vector.extract %[[V]][7]
    // CHECK: llvm.call_intrinsic "llvm.nvvm.ff2bf16x2.rn"(%[[HIGH3]], %[[LOW3]])
    // CHECK: %[[ALL:.*]] = vector.insert %{{.*}}, %{{.*}} [3]
    // CHECK: %[[ROUNDED:.*]] = vector.bitcast %[[ALL]] : vector<4xi32> to vector<8xbf16>
    // CHECK: memref.store %[[ROUNDED]]
    %1 = arith.truncf %v : vector<8xf32> to vector<8xbf16>
    memref.store %1, %b[%c0] : memref<1xvector<8xbf16>>
    // Rounding to nearest may be asked for.
    // CHECK: llvm.call_intrinsic "llvm.nvvm.ff2bf16x2.rn"
    %2 = arith.truncf %p to_nearest_even : vector<2xf32> to vector<2xbf16>
    memref.store %2, %c[%c0] : memref<1xvector<2xbf16>>
    // CHECK-NOT: arith.truncf
    // CHECK: gpu.terminator
    gpu.terminator
  }
  return
}

// -----

// No pairs, another rounding, or other types: left to arith-expand.
// CHECK-LABEL: func.func @others
func.func @others(%v: vector<3xf32>, %w: vector<2x2xf32>, %x: f32, %y: f64,
                  %a: memref<1xvector<3xbf16>>, %b: memref<1xvector<2x2xbf16>>,
                  %c: memref<2xbf16>, %d: memref<f16>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // CHECK-NOT: llvm.call_intrinsic
  gpu.launch blocks(%i, %j, %k) in (%l = %c1, %m = %c1, %n = %c1)
      threads(%o, %q, %r) in (%s = %c1, %t = %c1, %u = %c1) {
    // CHECK: arith.truncf %{{.*}} : vector<3xf32> to vector<3xbf16>
    %0 = arith.truncf %v : vector<3xf32> to vector<3xbf16>
    memref.store %0, %a[%c0] : memref<1xvector<3xbf16>>
    // CHECK: arith.truncf %{{.*}} : vector<2x2xf32> to vector<2x2xbf16>
    %1 = arith.truncf %w : vector<2x2xf32> to vector<2x2xbf16>
    memref.store %1, %b[%c0] : memref<1xvector<2x2xbf16>>
    // CHECK: arith.truncf %{{.*}} toward_zero : f32 to bf16
    %2 = arith.truncf %x toward_zero : f32 to bf16
    memref.store %2, %c[%c0] : memref<2xbf16>
    // CHECK: arith.truncf %{{.*}} : f64 to bf16
    %3 = arith.truncf %y : f64 to bf16
    memref.store %3, %c[%c1] : memref<2xbf16>
    // CHECK: arith.truncf %{{.*}} : f32 to f16
    %4 = arith.truncf %x : f32 to f16
    memref.store %4, %d[] : memref<f16>
    gpu.terminator
  }
  // CHECK-NOT: llvm.call_intrinsic
  return
}

// -----

// Code of the host.
// CHECK-LABEL: func.func @host
func.func @host(%x: f32, %v: vector<8xf32>) -> (bf16, vector<8xbf16>) {
  // CHECK: arith.truncf %{{.*}} : f32 to bf16
  %0 = arith.truncf %x : f32 to bf16
  // CHECK: arith.truncf %{{.*}} : vector<8xf32> to vector<8xbf16>
  %1 = arith.truncf %v : vector<8xf32> to vector<8xbf16>
  // CHECK-NOT: llvm.call_intrinsic
  return %0, %1 : bf16, vector<8xbf16>
}
