// `partials` of a combine (combine_s8): printed and read again, kept in a buffer,
// and left alone by passes.
//
// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s
// RUN: moe-opt %s --emit-bytecode | moe-opt | FileCheck %s
// RUN: moe-opt %s --cse --canonicalize | FileCheck %s
// RUN: moe-opt %s --moe-check-routes | FileCheck %s
// RUN: moe-opt %s --one-shot-bufferize=bufferize-function-boundaries | FileCheck %s --check-prefix=BUFFER
// RUN: moe-opt %s --moe-plan=target=cuda | FileCheck %s --check-prefix=BUFFER

shard.grid @ep(shape = 4)

// The default is not printed. Two combines that differ in it are not one.
// CHECK-LABEL: func.func @both
// CHECK: moe.combine {{.*}} on @ep {layout = #moe.layout<expert_major>, num_experts = 8 : i64, partials = #moe.partials<element>} :
// CHECK: moe.combine {{.*}} on @ep {layout = #moe.layout<expert_major>, num_experts = 8 : i64} :
// BUFFER-LABEL: func.func @both
// BUFFER: moe.combine {{.*}}partials = #moe.partials<element>}
// BUFFER-NOT: partials
func.func @both(%y: tensor<64x4xbf16>, %rows: tensor<16x3xi32>,
    %src: tensor<64xi32>, %n: tensor<4xi32>, %idx: tensor<16x3xi64>)
    -> (tensor<16x4xbf16>, tensor<16x4xbf16>) {
  %short = moe.combine %y, %rows, %src, %n topk(%idx) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>,
      partials = #moe.partials<element>}
    : (tensor<64x4xbf16>, tensor<16x3xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x3xi64>) -> tensor<16x4xbf16>
  %exact = moe.combine %y, %rows, %src, %n topk(%idx) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>,
      partials = #moe.partials<f32>}
    : (tensor<64x4xbf16>, tensor<16x3xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x3xi64>) -> tensor<16x4xbf16>
  return %short, %exact : tensor<16x4xbf16>, tensor<16x4xbf16>
}
