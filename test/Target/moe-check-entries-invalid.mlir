// RUN: moe-opt %s -split-input-file -verify-diagnostics --moe-check-entries

func.func @print(%x: f32) {
  // expected-error @+1 {{'vector.print' op expects to be among the ops that an entry may contain (docs/Entries.md)}}
  vector.print %x : f32
  return
}

// -----

func.func @softmax(%x: tensor<4x16xi32>) -> tensor<4x16xi32> {
  %e = tensor.empty() : tensor<4x16xi32>
  // expected-error @+1 {{'linalg.softmax' op expects values of f64, f32, f16, bf16, f8E4M3FN or f8E5M2 in an entry for target 'host', got 'tensor<4x16xi32>'}}
  %o = linalg.softmax dimension(1) ins(%x : tensor<4x16xi32>)
      outs(%e : tensor<4x16xi32>) -> tensor<4x16xi32>
  return %o : tensor<4x16xi32>
}

// -----

func.func @wide(%x: i32) {
  // expected-error @+1 {{'arith.extsi' op expects values of f64, f32, f16, bf16, f8E4M3FN, f8E5M2, i64, i32, i16, i8, i1 or index in an entry, got 'i128'}}
  %0 = arith.extsi %x : i32 to i128
  return
}

// -----

func.func @odd(%x: i32) {
  // expected-error @+1 {{'arith.trunci' op expects values of f64, f32, f16, bf16, f8E4M3FN, f8E5M2, i64, i32, i16, i8, i1 or index in an entry, got 'i7'}}
  %0 = arith.trunci %x : i32 to i7
  return
}

// -----

// Also where only a region's argument has the type.
// expected-error @+1 {{'func.func' op expects values of f64, f32, f16, bf16, f8E4M3FN, f8E5M2, i64, i32, i16, i8, i1 or index in an entry, got 'tensor<4xcomplex<f32>>'}}
func.func private @complex(%x: tensor<4xcomplex<f32>>) {
  return
}

// -----

// expected-error @+1 {{'func.func' op expects ranked tensors and memrefs, and vectors of fixed size, in an entry, got 'tensor<*xf32>'}}
func.func private @unranked(%x: tensor<*xf32>) {
  return
}

// -----

// expected-error @+1 {{'func.func' op expects ranked tensors and memrefs, and vectors of fixed size, in an entry, got 'vector<[4]xf32>'}}
func.func private @scalable(%x: vector<[4]xf32>) {
  return
}

// -----

// expected-error @+1 {{'func.func' op expects at most 64 dimensions in an entry, got 65}}
func.func @many(%x: tensor<1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1xf32>) {
  return
}

// -----

// expected-error @+1 {{'func.func' op expects at most 17592186044416 bytes in a value of an entry, got 'tensor<2305843009213693952xf32>'}}
func.func @large(%x: tensor<2305843009213693952xf32>) {
  return
}

// -----

// Just too large, and of an extent that is not known.
// expected-error @+1 {{'func.func' op expects at most 17592186044416 bytes in a value of an entry, got 'tensor<?x17592186044417xi8>'}}
func.func @byte(%x: tensor<?x17592186044417xi8>) {
  return
}

// -----

// Each value has room, the rows of all ranks have not.
shard.grid @ep(shape = 1024)
func.func @rows(%x: tensor<?x1048576xf32>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>) {
  // expected-error @+1 {{'moe.dispatch' op expects at most 17592186044416 bytes in the rows of all ranks, got 1048576 rows of 4194304 bytes from each of 1024}}
  %0:7 = moe.dispatch %x, %i, %w on @ep {num_experts = 1024 : i64, max_tokens = 1048576 : i64, capacity = 8 : i64}
    : (tensor<?x1048576xf32>, tensor<?x1xi32>, tensor<?x1xf32>)
   -> (tensor<8x1048576xf32>, tensor<8x1xi32>, tensor<8x1xf32>, tensor<8xi32>, tensor<1024xi32>, tensor<1024xi32>, tensor<?x1024xi32>)
  return
}

// -----

// expected-note @+1 {{declared here}}
func.func private @elsewhere(tensor<4xf32>)
func.func @calls(%x: tensor<4xf32>) {
  // expected-error @+1 {{'func.call' op expects 'elsewhere' to have a body}}
  func.call @elsewhere(%x) : (tensor<4xf32>) -> ()
  return
}

// -----

module {
  // expected-error @+1 {{'builtin.module' op expects no module within the module of an entry}}
  module @inner {
  }
}

// -----

func.func private @even(%x: tensor<4xf32>) {
  func.call @odd(%x) : (tensor<4xf32>) -> ()
  return
}
// expected-error @+1 {{'func.func' op expects a function that does not call itself, directly or through others}}
func.func private @odd(%x: tensor<4xf32>) {
  func.call @even(%x) : (tensor<4xf32>) -> ()
  return
}
func.func @recursive(%x: tensor<4xf32>) {
  func.call @even(%x) : (tensor<4xf32>) -> ()
  return
}

// -----

// expected-error @+1 {{'memref.global' op expects a constant with a value; a call keeps nothing for the next one}}
memref.global "private" @mutable : memref<4xf32> = dense<0.0>

// -----

// expected-error @+1 {{'memref.global' op expects a constant with a value; a call keeps nothing for the next one}}
memref.global "private" constant @elsewhere : memref<4xf32>

// -----

func.func @upward(%x: f32) -> bf16 {
  // expected-error @+1 {{'arith.truncf' op expects rounding to_nearest_even in an entry, got upward}}
  %0 = arith.truncf %x upward : f32 to bf16
  return %0 : bf16
}

// -----

func.func @long_vector(%x: vector<4097xf32>) {
  // expected-error @-1 {{'func.func' op expects vectors of at most 4096 elements in an entry, got 'vector<4097xf32>'}}
  return
}

// -----

// expected-error @+1 {{'func.func' op expects memrefs without a memory space in an entry, got 'memref<4xf32, 3>'}}
func.func private @space(%x: memref<4xf32, 3>) {
  return
}

// -----

func.func @carried(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{'affine.for' op expects no tensors as results in an entry; use the op of scf}}
  %0 = affine.for %i = 0 to 4 iter_args(%y = %x) -> (tensor<4xf32>) {
    affine.yield %y : tensor<4xf32>
  }
  return %0 : tensor<4xf32>
}

// -----

func.func @poison() -> tensor<4xf32> {
  // expected-error @+1 {{'ub.poison' op expects no tensors as results in an entry; use tensor.empty}}
  %0 = ub.poison : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// expected-error @+1 {{'memref.global' op expects a constant with a value; a call keeps nothing for the next one}}
memref.global "private" constant @uninitialized : memref<4xf32> = uninitialized
