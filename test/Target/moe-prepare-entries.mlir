// RUN: moe-opt %s -split-input-file --moe-prepare-entries | FileCheck %s

// CHECK: module attributes {moe.ranks = 0 : i64}
// CHECK-LABEL: func.func @entry(
// CHECK-SAME: %{{.*}}: tensor<?x4xf8E4M3FN> {bufferization.writable = false}
// CHECK-SAME: %{{.*}}: tensor<i1> {bufferization.writable = false})
// CHECK-SAME: attributes {moe.entry = (tensor<?x4xf8E4M3FN>, tensor<i1>) -> tensor<i1>}
func.func @entry(%x: tensor<?x4xf8E4M3FN>, %y: tensor<i1>) -> tensor<i1> {
  return %y : tensor<i1>
}
// What is marked symmetric is noted as such.
// CHECK-LABEL: func.func @symmetric(
// CHECK-SAME: attributes {moe.entry = (tensor<f32>, tensor<2xi8, #symm.space>) -> (tensor<f32>, tensor<2xi8, #symm.space>)}
func.func @symmetric(%x: tensor<f32>, %y: tensor<2xi8> {moe.symmetric})
    -> (tensor<f32>, tensor<2xi8> {moe.symmetric}) {
  return %x, %y : tensor<f32>, tensor<2xi8>
}
// Not an entry: anything goes.
// CHECK-LABEL: func.func private @helper(%{{.*}}: index) -> index {
func.func private @helper(%x: index) -> index {
  return %x : index
}

// -----

// CHECK: module attributes {moe.ranks = 4 : i64}
// A grid that nothing uses does not count.
shard.grid @other(shape = 2)
shard.grid @ep(shape = 4)
// CHECK-LABEL: func.func @ranks(
func.func @ranks(%x: tensor<8x4xf32>, %n: tensor<4xi32>) -> tensor<8x4xf32> {
  %0, %1 = moe.alltoallv %x, %n on @ep
    : (tensor<8x4xf32>, tensor<4xi32>) -> (tensor<8x4xf32>, tensor<4xi32>)
  return %0 : tensor<8x4xf32>
}

// -----

// A module written at the symm level names its ranks by the grid alone; its
// buffers are not bufferization's to free.
// CHECK: module attributes {moe.ranks = 3 : i64}
shard.grid @ep(shape = 3)
shard.grid @plane(shape = 3x2)
// CHECK-LABEL: func.func @symm(
func.func @symm() {
  // CHECK: symm.alloc {bufferization.manual_deallocation}
  %0 = symm.alloc : memref<4xi64, #symm.space>
  // CHECK: symm.free %{{.*}} {bufferization.manual_deallocation}
  symm.free %0 : memref<4xi64, #symm.space>
  return
}

// -----

// So does one written with messages, which are for as many ranks (coll_c8).
// CHECK: module attributes {moe.ranks = 4 : i64}
shard.grid @ep(shape = 4)
// CHECK-LABEL: func.func @coll(
func.func @coll(%x: tensor<4xf32>) {
  %one = memref.alloc() : memref<2x8xi32>
  %all = memref.alloc() : memref<8x8xi32>
  coll.all_gather %one, %all : memref<2x8xi32> to memref<8x8xi32>
  return
}
