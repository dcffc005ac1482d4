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

// Blocks after the one that fetches it use it: it is freed where the function ends, where it
// is there.
// CHECK-LABEL: func.func @blocks
func.func @blocks(%c: i1, %d: i1, %i: index) -> f32 {
  // CHECK-NOT: memref.dealloc
  // CHECK: cf.cond_br %{{.*}}, ^[[FETCH:bb[0-9]+]], ^[[NONE:bb[0-9]+]]
  cf.cond_br %c, ^fetch, ^none
^fetch:
  // CHECK: ^[[FETCH]]:
  // CHECK: %[[DEVICE:.*]] = memref.alloc()
  // CHECK-NOT: memref.dealloc
  // CHECK: cf.cond_br
  %k = memref.get_global @c : memref<4xf32>
  cf.cond_br %d, ^use, ^other
^use:
  // CHECK: memref.load %[[DEVICE]]
  // CHECK-NEXT: memref.dealloc %[[DEVICE]]
  // CHECK-NEXT: return
  %v = memref.load %k[%i] : memref<4xf32>
  return %v : f32
^other:
  // CHECK: memref.load %[[DEVICE]]
  // CHECK: memref.dealloc %[[DEVICE]]
  // CHECK-NEXT: return
  %w = memref.load %k[%i] : memref<4xf32>
  %u = arith.addf %w, %w : f32
  return %u : f32
^none:
  // CHECK: ^[[NONE]]:
  // CHECK-NOT: memref.dealloc
  %z = arith.constant 0.0 : f32
  return %z : f32
}
