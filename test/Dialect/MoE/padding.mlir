// `padding` of a dispatch (dispatch_s12): printed and read again, kept by every
// rewrite, and of no concern to the ops that take the results.
//
// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s
// RUN: moe-opt %s --emit-bytecode | moe-opt | FileCheck %s
// RUN: moe-opt %s --canonicalize | FileCheck %s --check-prefix=CANON
// RUN: moe-opt %s --cse | FileCheck %s --check-prefix=CSE
// RUN: moe-opt %s --one-shot-bufferize=bufferize-function-boundaries | FileCheck %s --check-prefix=BUFFER
// RUN: moe-opt %s --moe-check-routes | FileCheck %s

shard.grid @ep(shape = 4)

// The default is not printed.
// CHECK-LABEL: func.func @values
// CHECK: moe.dispatch {{.*}} on @ep {num_experts = 8 : i64, padding = #moe.padding<zero>} :
// CHECK: moe.dispatch {{.*}} on @ep {num_experts = 8 : i64} :
// Two dispatches that differ in it are not one.
// CSE-LABEL: func.func @values
// CSE-COUNT-2: moe.dispatch
// BUFFER-LABEL: func.func @values
// BUFFER: moe.dispatch {{.*}} outs({{.*}}) on @ep {num_experts = 8 : i64, padding = #moe.padding<zero>} :
func.func @values(%x: tensor<16x4xf32>, %rows: tensor<16x4xi32>)
    -> (tensor<64x4xf32>, tensor<64x4xf32>) {
  %r = moe.dispatch %x reuse(%rows) on @ep {
      num_experts = 8 : i64, padding = #moe.padding<zero>}
    : (tensor<16x4xf32>, tensor<16x4xi32>) -> tensor<64x4xf32>
  %s = moe.dispatch %x reuse(%rows) on @ep {
      num_experts = 8 : i64, padding = #moe.padding<none>}
    : (tensor<16x4xf32>, tensor<16x4xi32>) -> tensor<64x4xf32>
  return %r, %s : tensor<64x4xf32>, tensor<64x4xf32>
}

// Without its scales a dispatch still fills the other rows.
// CANON-LABEL: func.func @unused_scales
// CANON: moe.dispatch %{{[a-z0-9]+}}, %{{[a-z0-9]+}}, %{{[a-z0-9]+}} on @ep {layout = #moe.layout<slab>, num_experts = 8 : i64, padding = #moe.padding<zero>}
func.func @unused_scales(%x: tensor<16x4xf8E5M2>, %idx: tensor<16x1xi32>,
    %w: tensor<16x1xf32>, %s: tensor<16x1xf32>) -> tensor<64x4xf8E5M2> {
  %r:8 = moe.dispatch %x, %idx, %w scales(%s) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<slab>,
      padding = #moe.padding<zero>}
    : (tensor<16x4xf8E5M2>, tensor<16x1xi32>, tensor<16x1xf32>, tensor<16x1xf32>)
   -> (tensor<64x4xf8E5M2>, tensor<64x1xf32>, tensor<64x1xi32>,
       tensor<64x1xf32>, tensor<64xi32>, tensor<4xi32>, tensor<4xi32>,
       tensor<16x4xi32>)
  return %r#0 : tensor<64x4xf8E5M2>
}

// A reuse and a combine have the routes of their dispatch, whatever it pads.
// CHECK-LABEL: func.func @routes
func.func @routes(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> (tensor<64x4xf32>, tensor<16x4xf32>) {
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  %again = moe.dispatch %x reuse(%r#6) on @ep {
      num_experts = 8 : i64, padding = #moe.padding<zero>}
    : (tensor<16x4xf32>, tensor<16x4xi32>) -> tensor<64x4xf32>
  %out = moe.combine %again, %r#6, %r#3, %r#5 on @ep {num_experts = 8 : i64}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x4xf32>
  return %again, %out : tensor<64x4xf32>, tensor<16x4xf32>
}
