// RUN: moe-opt %s --pass-pipeline="builtin.module(func.func(moe-copy-constants-to-device))" | FileCheck %s

memref.global "private" constant @c : memref<4xf32> = dense<2.0>
// CHECK-LABEL: func.func @constant
func.func @constant(%i: index) -> f32 {
  // CHECK: %[[HOST:.*]] = memref.get_global @c
  // CHECK: %[[DEVICE:.*]] = memref.alloc() : memref<4xf32>
  // CHECK: memref.copy %[[HOST]], %[[DEVICE]]
  %c = memref.get_global @c : memref<4xf32>
  // CHECK: memref.load %[[DEVICE]]
  %v = memref.load %c[%i] : memref<4xf32>
  // CHECK: memref.dealloc %[[DEVICE]]
  // CHECK-NEXT: return
  return %v : f32
}
