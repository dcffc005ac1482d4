// RUN: moe-opt %s -split-input-file -verify-diagnostics --moe-prepare-entries

// expected-error @+1 {{'builtin.module' op expects a public function with a body as an entry}}
module {
  func.func private @helper() {
    return
  }
}

// -----

// expected-error @+1 {{'func.func' op expects argument 1 of an entry to be a ranked tensor without encoding ('index')}}
func.func @scalar(%x: tensor<f32>, %n: index) {
  return
}

// -----

// expected-error @+1 {{'func.func' op expects argument 0 of an entry to be a ranked tensor without encoding ('tensor<*xf32>')}}
func.func @unranked(%x: tensor<*xf32>) {
  return
}

// -----

// expected-error @+1 {{'func.func' op expects argument 0 of an entry to be a ranked tensor without encoding ('memref<4xf32>')}}
func.func @memref(%x: memref<4xf32>) {
  return
}

// -----

// expected-error @+1 {{'func.func' op expects result 0 of an entry to have elements of type f64, f32, f16, bf16, f8E4M3FN, f8E5M2, i64, i32, i16, i8 or i1 ('tensor<4xindex>')}}
func.func @element_type() -> tensor<4xindex> {
  %0 = arith.constant dense<0> : tensor<4xindex>
  return %0 : tensor<4xindex>
}

// -----

// expected-error @+1 {{'func.func' op expects argument 0 of an entry to have elements of type f64, f32, f16, bf16, f8E4M3FN, f8E5M2, i64, i32, i16, i8 or i1 ('tensor<4xi4>')}}
func.func @narrow(%x: tensor<4xi4>) {
  return
}

// -----

shard.grid @two(shape = 2)
shard.grid @four(shape = 4)
func.func @ranks(%x: tensor<8x4xf32>, %n: tensor<2xi32>, %m: tensor<4xi32>) {
  // expected-note @+1 {{the number of ranks comes from here}}
  %0, %1 = moe.alltoallv %x, %n on @two
    : (tensor<8x4xf32>, tensor<2xi32>) -> (tensor<8x4xf32>, tensor<2xi32>)
  // expected-error @+1 {{'moe.alltoallv' op expects a grid of 2 ranks like the rest of the module (4)}}
  %2, %3 = moe.alltoallv %x, %m on @four
    : (tensor<8x4xf32>, tensor<4xi32>) -> (tensor<8x4xf32>, tensor<4xi32>)
  return
}

// -----

// expected-note @+1 {{the number of ranks comes from here}}
shard.grid @two(shape = 2)
// expected-error @+1 {{'shard.grid' op expects a grid of 2 ranks like the rest of the module (4)}}
shard.grid @four(shape = 4)
func.func @no_collective() {
  return
}

// -----

// coll_c8
shard.grid @ep(shape = 8)
func.func @gather(%x: tensor<4xf32>) {
  %one = memref.alloc() : memref<1x8xi32>
  %all = memref.alloc() : memref<4x8xi32>
  // expected-error @+1 {{'coll.all_gather' op expects the ranks that its operands are for (4) to be those of the module's grid (8)}}
  coll.all_gather %one, %all : memref<1x8xi32> to memref<4x8xi32>
  return
}

// -----

// coll_c8
func.func @to_all(%x: tensor<4xf32>) {
  %mine = memref.alloc() : memref<4x2xi32>
  %theirs = memref.alloc() : memref<4x2xi32>
  // expected-error @+1 {{'coll.all_to_all' op expects the ranks that its operands are for (4) to be those of the module's grid (0)}}
  coll.all_to_all %mine, %theirs : memref<4x2xi32> to memref<4x2xi32>
  return
}

// -----

// coll_c8
shard.grid @ep(shape = 2)
func.func @rows(%x: tensor<4xf32>) {
  %send = memref.alloc() : memref<4xf32>
  %recv = memref.alloc() : memref<4xf32>
  %table = coll.table [0, 1, 2] : memref<3xi32>
  coll.exchange {
    // expected-error @+1 {{'coll.rows' op expects the ranks that its operands are for (3) to be those of the module's grid (2)}}
    coll.rows %send[%table, %table] to %recv[%table, %table]
      : memref<4xf32> to memref<4xf32> by memref<3xi32>
  }
  return
}
