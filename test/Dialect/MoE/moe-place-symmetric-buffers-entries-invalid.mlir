// Results that cannot stay in symmetric memory, and callers that cannot provide
// it.
//
// RUN: moe-opt %s -split-input-file -verify-diagnostics --moe-place-symmetric-buffers

// expected-error @+1 {{'func.func' op expects result 0, marked 'moe.symmetric', to be a buffer of a moe op that can stay where it is: it is not allocated in the block that returns it}}
func.func @argument(%x: memref<4xf32>) -> (memref<4xf32> {moe.symmetric}) {
  return %x : memref<4xf32>
}

// -----

// expected-error @+1 {{expects result 0, marked 'moe.symmetric', to be a buffer of a moe op that can stay where it is: it is a copy of another value (an argument, a constant, or another result)}}
func.func @copy(%x: memref<4xf32>) -> (memref<4xf32> {moe.symmetric}) {
  %0 = memref.alloc() : memref<4xf32>
  memref.copy %x, %0 : memref<4xf32> to memref<4xf32>
  return %0 : memref<4xf32>
}

// -----

// expected-error @+1 {{expects result 1, marked 'moe.symmetric', to be a buffer of a moe op that can stay where it is: no moe op uses it}}
func.func @computed(%x: f32) -> (f32, memref<4xf32> {moe.symmetric}) {
  %0 = memref.alloc() : memref<4xf32>
  %c0 = arith.constant 0 : index
  memref.store %x, %0[%c0] : memref<4xf32>
  return %x, %0 : f32, memref<4xf32>
}

// -----

shard.grid @ep(shape = 2)
// expected-error @+1 {{expects result 0, marked 'moe.symmetric', to be a buffer of a moe op that can stay where it is: it is returned twice}}
func.func @twice(%x: memref<3xf32>, %n: memref<2xi32>)
    -> (memref<6xf32> {moe.symmetric}, memref<6xf32>) {
  %0 = memref.alloc() : memref<6xf32>
  %1 = memref.alloc() : memref<2xi32>
  moe.alltoallv %x, %n outs(%0, %1) on @ep
    : (memref<3xf32>, memref<2xi32>, memref<6xf32>, memref<2xi32>) -> ()
  memref.dealloc %1 : memref<2xi32>
  return %0, %0 : memref<6xf32>, memref<6xf32>
}

// -----

shard.grid @ep(shape = 2)
// A part of the buffer leaves as well.
// expected-error @+1 {{expects result 0, marked 'moe.symmetric', to be a buffer of a moe op that can stay where it is: it leaves through 'func.return'}}
func.func @alias(%x: memref<3xf32>, %n: memref<2xi32>)
    -> (memref<6xf32> {moe.symmetric}, memref<2x3xf32>) {
  %0 = memref.alloc() : memref<6xf32>
  %1 = memref.alloc() : memref<2xi32>
  moe.alltoallv %x, %n outs(%0, %1) on @ep
    : (memref<3xf32>, memref<2xi32>, memref<6xf32>, memref<2xi32>) -> ()
  memref.dealloc %1 : memref<2xi32>
  %2 = memref.expand_shape %0 [[0, 1]] output_shape [2, 3]
    : memref<6xf32> into memref<2x3xf32>
  return %0, %2 : memref<6xf32>, memref<2x3xf32>
}

// -----

shard.grid @ep(shape = 2)
// expected-error @+1 {{expects result 0, marked 'moe.symmetric', to be a buffer of a moe op that can stay where it is: there is more than one 'func.return'}}
func.func @two_returns(%c: i1, %x: memref<3xf32>, %n: memref<2xi32>)
    -> (memref<6xf32> {moe.symmetric}) {
  %0 = memref.alloc() : memref<6xf32>
  %1 = memref.alloc() : memref<6xf32>
  cf.cond_br %c, ^bb1, ^bb2
^bb1:
  return %0 : memref<6xf32>
^bb2:
  return %1 : memref<6xf32>
}

// -----

// expected-note @+1 {{the callee is defined here}}
func.func @callee(%x: memref<4xf32> {moe.symmetric}) {
  return
}
func.func @caller(%x: memref<4xf32>) {
  // expected-error @+1 {{'func.call' op expects a callee without 'moe.symmetric'; only callers of the artifact can provide symmetric memory}}
  call @callee(%x) : (memref<4xf32>) -> ()
  return
}
