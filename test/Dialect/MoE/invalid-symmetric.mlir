// Where `moe.symmetric` may stand: symmetric_c1.
//
// RUN: moe-opt %s -split-input-file -verify-diagnostics

// What is allowed, on tensors and on memrefs.
func.func @good(%x: tensor<4x2xf32> {moe.symmetric}, %y: tensor<?xf32>)
    -> (tensor<?xf32>, tensor<4x2xf32> {moe.symmetric}) {
  return %y, %x : tensor<?xf32>, tensor<4x2xf32>
}
func.func @good_memref(%x: memref<4x2xf32> {moe.symmetric})
    -> (memref<4x2xf32> {moe.symmetric}) {
  return %x : memref<4x2xf32>
}

// -----

// expected-error @+1 {{'func.func' op expects 'moe.symmetric' on arguments and results only}}
func.func @on_function() attributes {moe.symmetric} {
  return
}

// -----

func.func @on_op(%x: tensor<4xf32>) {
  // expected-error @+1 {{'arith.negf' op expects 'moe.symmetric' on arguments and results only}}
  %0 = arith.negf %x {moe.symmetric} : tensor<4xf32>
  return
}

// -----

// expected-error @+1 {{'func.func' op expects 'moe.symmetric' on argument 1 to be a unit attribute (true)}}
func.func @no_unit(%x: tensor<4xf32>, %y: tensor<4xf32> {moe.symmetric = true}) {
  return
}

// -----

// expected-error @+1 {{'func.func' op expects 'moe.symmetric' on argument 0 of a public 'func.func' only}}
func.func private @private(%x: tensor<4xf32> {moe.symmetric}) {
  return
}

// -----

// expected-error @+1 {{'llvm.func' op expects 'moe.symmetric' on argument 0 of a public 'func.func' only}}
llvm.func @other_function(%x: !llvm.ptr {moe.symmetric}) {
  llvm.return
}

// -----

// expected-error @+1 {{'func.func' op expects 'moe.symmetric' on argument 0 to be of a ranked tensor or memref of static shape ('tensor<?x4xf32>')}}
func.func @dynamic(%x: tensor<?x4xf32> {moe.symmetric}) {
  return
}

// -----

// expected-error @+1 {{'func.func' op expects 'moe.symmetric' on argument 0 to be of a ranked tensor or memref of static shape ('index')}}
func.func @scalar(%x: index {moe.symmetric}) {
  return
}

// -----

// expected-error @+1 {{'func.func' op expects 'moe.symmetric' on result 1 to be of a ranked tensor or memref of static shape ('tensor<*xf32>')}}
func.func @unranked_result(%x: tensor<*xf32>) -> (tensor<*xf32>, tensor<*xf32> {moe.symmetric}) {
  return %x, %x : tensor<*xf32>, tensor<*xf32>
}
