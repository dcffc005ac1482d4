// RUN: moe-opt %s -split-input-file -verify-diagnostics --moe-check-order

// Iterations that may run at the same time, on one rank so and on another so.
shard.grid @ep(shape = 2)
func.func @at_once(%send: tensor<4x4xf32>, %counts: tensor<2xi32>, %n: index) -> tensor<4x4xf32> {
  %e = tensor.empty() : tensor<4x4xf32>
  // expected-note @+1 {{is within 'scf.forall'}}
  %0 = scf.forall (%i) in (%n) shared_outs(%out = %e) -> (tensor<4x4xf32>) {
    // expected-error @+1 {{'moe.alltoallv' op expects to be in a function, or in loops and branches that run in order}}
    %recv, %counted = moe.alltoallv %send, %counts on @ep
        : (tensor<4x4xf32>, tensor<2xi32>) -> (tensor<4x4xf32>, tensor<2xi32>)
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %recv into %out[0, 0] [4, 4] [1, 1]
          : tensor<4x4xf32> into tensor<4x4xf32>
    }
  }
  return %0 : tensor<4x4xf32>
}

// -----

// Through functions, too; the call is what the reader must move.
shard.grid @ep(shape = 2)
func.func private @exchange(%send: tensor<4x4xf32>, %counts: tensor<2xi32>) -> tensor<4x4xf32> {
  // expected-note @+1 {{calls 'moe.alltoallv'}}
  %recv, %counted = moe.alltoallv %send, %counts on @ep
      : (tensor<4x4xf32>, tensor<2xi32>) -> (tensor<4x4xf32>, tensor<2xi32>)
  return %recv : tensor<4x4xf32>
}
func.func private @through(%send: tensor<4x4xf32>, %counts: tensor<2xi32>) -> tensor<4x4xf32> {
  %recv = func.call @exchange(%send, %counts) : (tensor<4x4xf32>, tensor<2xi32>) -> tensor<4x4xf32>
  return %recv : tensor<4x4xf32>
}
func.func @called(%send: tensor<4x4xf32>, %counts: tensor<2xi32>) -> tensor<8xf32> {
  %c0 = arith.constant 0 : index
  // expected-note @+1 {{is within 'tensor.generate'}}
  %0 = tensor.generate {
  ^bb0(%i: index):
    // expected-error @+1 {{'func.call' op expects to be in a function, or in loops and branches that run in order}}
    %recv = func.call @through(%send, %counts) : (tensor<4x4xf32>, tensor<2xi32>) -> tensor<4x4xf32>
    %x = tensor.extract %recv[%c0, %c0] : tensor<4x4xf32>
    tensor.yield %x : f32
  } : tensor<8xf32>
  return %0 : tensor<8xf32>
}

// -----

// In order: nested loops and branches.
shard.grid @ep(shape = 2)
func.func private @exchange(%send: tensor<4x4xf32>, %counts: tensor<2xi32>) -> tensor<4x4xf32> {
  %recv, %counted = moe.alltoallv %send, %counts on @ep
      : (tensor<4x4xf32>, tensor<2xi32>) -> (tensor<4x4xf32>, tensor<2xi32>)
  return %recv : tensor<4x4xf32>
}
func.func @in_order(%send: tensor<4x4xf32>, %counts: tensor<2xi32>, %n: index, %c: i1) -> tensor<4x4xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %0 = scf.for %i = %c0 to %n step %c1 iter_args(%x = %send) -> (tensor<4x4xf32>) {
    %y = scf.if %c -> (tensor<4x4xf32>) {
      %recv = func.call @exchange(%x, %counts) : (tensor<4x4xf32>, tensor<2xi32>) -> tensor<4x4xf32>
      scf.yield %recv : tensor<4x4xf32>
    } else {
      scf.yield %x : tensor<4x4xf32>
    }
    scf.yield %y : tensor<4x4xf32>
  }
  return %0 : tensor<4x4xf32>
}
