// The stock mlir-opt, which knows neither dialect nor pass of this project,
// loads them from the plugin.

// RUN: not mlir-opt %s 2>&1 | FileCheck %s --check-prefix=WITHOUT
// RUN: mlir-opt %s --load-dialect-plugin=%moe_lib/MoEPlugin.so \
// RUN:   --split-input-file --verify-diagnostics | FileCheck %s
// RUN: mlir-opt %s --load-dialect-plugin=%moe_lib/MoEPlugin.so \
// RUN:   --split-input-file --verify-diagnostics --verify-roundtrip -o /dev/null

// WITHOUT: Dialect `moe' not found for custom op 'moe.alltoallv'

// CHECK-LABEL: func.func @exchange
// CHECK: moe.alltoallv %{{.*}}, %{{.*}} on @ep
shard.grid @ep(shape = 2)
func.func @exchange(%send: tensor<6x4xf32>, %counts: tensor<2xi32>)
    -> (tensor<12x4xf32>, tensor<2xi32>) {
  %recv, %n = moe.alltoallv %send, %counts on @ep
      : (tensor<6x4xf32>, tensor<2xi32>)
     -> (tensor<12x4xf32>, tensor<2xi32>)
  return %recv, %n : tensor<12x4xf32>, tensor<2xi32>
}

// CHECK-LABEL: func.func @buffers
// CHECK: symm.alloc persistent : memref<4xi64, #symm.space>
func.func @buffers() {
  %flags = symm.alloc persistent : memref<4xi64, #symm.space>
  return
}

// -----

// The verifiers run in mlir-opt, too.
func.func @wrong_grid(%send: tensor<6x4xf32>, %counts: tensor<2xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op}}
  %recv, %n = moe.alltoallv %send, %counts on @nowhere
      : (tensor<6x4xf32>, tensor<2xi32>)
     -> (tensor<12x4xf32>, tensor<2xi32>)
  return
}
