// `reduce` of a combine (combine_s7): printed and read again, its result in
// terms of operands, static where these are, and in a buffer.
//
// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s
// RUN: moe-opt %s --emit-bytecode | moe-opt | FileCheck %s
// RUN: moe-opt %s --canonicalize | FileCheck %s --check-prefix=CANON
// RUN: moe-opt %s --cse | FileCheck %s --check-prefix=CSE
// RUN: moe-opt %s --resolve-ranked-shaped-type-result-dims --canonicalize | FileCheck %s --check-prefix=DIMS
// RUN: moe-opt %s --one-shot-bufferize=bufferize-function-boundaries | FileCheck %s --check-prefix=BUFFER
// RUN: moe-opt %s --moe-check-routes | FileCheck %s

shard.grid @ep(shape = 4)

// A row per rank; the default is not printed. Two combines that differ in it are
// not one.
// CHECK-LABEL: func.func @rank_major
// CHECK: moe.combine {{.*}} on @ep {num_experts = 8 : i64, reduce = #moe.reduce<none>} : (tensor<64x5xbf16>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>) -> tensor<16x4x5xbf16>
// CHECK: moe.combine {{.*}} on @ep {num_experts = 8 : i64} :
// CSE-LABEL: func.func @rank_major
// CSE-COUNT-2: moe.combine
func.func @rank_major(%y: tensor<64x5xbf16>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>)
    -> (tensor<16x4x5xbf16>, tensor<16x5xbf16>) {
  %out = moe.combine %y, %rows, %src, %n on @ep {
      num_experts = 8 : i64, reduce = #moe.reduce<none>}
    : (tensor<64x5xbf16>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x4x5xbf16>
  %sum = moe.combine %y, %rows, %src, %n on @ep {
      num_experts = 8 : i64, reduce = #moe.reduce<sum>}
    : (tensor<64x5xbf16>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x5xbf16>
  return %out, %sum : tensor<16x4x5xbf16>, tensor<16x5xbf16>
}

// A row per slot.
// CHECK-LABEL: func.func @expert_major
// CHECK: moe.combine {{.*}} topk(%{{.*}}) weights(%{{.*}}) on @ep {layout = #moe.layout<expert_major>, num_experts = 8 : i64, reduce = #moe.reduce<none>} : {{.*}} -> tensor<16x3x4xf16>
func.func @expert_major(%y: tensor<64x4xf16>, %rows: tensor<16x3xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>, %idx: tensor<16x3xi64>,
    %w: tensor<64xf32>) -> tensor<16x3x4xf16> {
  %out = moe.combine %y, %rows, %src, %n topk(%idx) weights(%w) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>,
      reduce = #moe.reduce<none>}
    : (tensor<64x4xf16>, tensor<16x3xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x3xi64>, tensor<64xf32>) -> tensor<16x3x4xf16>
  return %out : tensor<16x3x4xf16>
}

// CHECK-LABEL: func.func @memrefs
// CHECK: moe.combine {{.*}} outs(%{{.*}}) on @ep {layout = #moe.layout<slab>, num_experts = 8 : i64, reduce = #moe.reduce<none>} : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>, memref<16x4x4xf32>) -> ()
func.func @memrefs(%y: memref<64x4xf32>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %out: memref<16x4x4xf32>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64,
      layout = #moe.layout<slab>, reduce = #moe.reduce<none>}
    : (memref<64x4xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x4x4xf32>) -> ()
  return
}

// CHECK-LABEL: func.func @dynamic_tokens
// DIMS-LABEL: func.func @dynamic_tokens
// DIMS-SAME: %[[ROWS:[a-z0-9_]+]]: tensor<?x4xi32>,
// DIMS-DAG: %[[C0:[a-z0-9_]+]] = arith.constant 0 : index
// DIMS-DAG: %[[C4:[a-z0-9_]+]] = arith.constant 4 : index
// DIMS-DAG: %[[C5:[a-z0-9_]+]] = arith.constant 5 : index
// DIMS: %[[T:[a-z0-9_]+]] = tensor.dim %[[ROWS]], %[[C0]]
// DIMS-NOT: moe.
// DIMS: return %[[T]], %[[C4]], %[[C5]]
// BUFFER-LABEL: func.func @dynamic_tokens
// BUFFER: %[[T:[a-z0-9_]+]] = memref.dim
// BUFFER: %[[OUT:[a-z0-9_]+]] = memref.alloc(%[[T]]) {{.*}} : memref<?x4x5xf32>
// BUFFER: moe.combine {{.*}} outs(%[[OUT]])
func.func @dynamic_tokens(%y: tensor<64x5xf32>, %rows: tensor<?x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) -> (index, index, index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %out = moe.combine %y, %rows, %src, %n on @ep {num_experts = 8 : i64,
      max_tokens = 16 : i64, reduce = #moe.reduce<none>}
    : (tensor<64x5xf32>, tensor<?x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<?x4x5xf32>
  %tokens = tensor.dim %out, %c0 : tensor<?x4x5xf32>
  %slots = tensor.dim %out, %c1 : tensor<?x4x5xf32>
  %length = tensor.dim %out, %c2 : tensor<?x4x5xf32>
  return %tokens, %slots, %length : index, index, index
}

// CANON-LABEL: func.func @static_tokens
// CANON: %[[OUT:[a-z0-9_]+]] = moe.combine {{.*}} -> tensor<16x4x5xf32>
// CANON: tensor.cast %[[OUT]] : tensor<16x4x5xf32> to tensor<?x4x5xf32>
func.func @static_tokens(%y: tensor<64x5xf32>, %rows: tensor<16x4xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>) -> tensor<?x4x5xf32> {
  %dynamic = tensor.cast %rows : tensor<16x4xi32> to tensor<?x4xi32>
  %out = moe.combine %y, %dynamic, %src, %n on @ep {num_experts = 8 : i64,
      max_tokens = 16 : i64, reduce = #moe.reduce<none>}
    : (tensor<64x5xf32>, tensor<?x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<?x4x5xf32>
  return %out : tensor<?x4x5xf32>
}

// Rows that come back are those of the same dispatch as their sum.
// CHECK-LABEL: func.func @routes
func.func @routes(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<16x4x4xf32> {
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  %out = moe.combine %r#0, %r#6, %r#3, %r#5 on @ep {num_experts = 8 : i64,
      reduce = #moe.reduce<none>}
    : (tensor<64x4xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x4x4xf32>
  return %out : tensor<16x4x4xf32>
}
