// Every op of a lowering has the location of the op that was lowered. A loop or
// branch shows it after its closing brace. Nothing else is left over.
//
// RUN: moe-opt %s --convert-moe-to-symm --mlir-print-debuginfo \
// RUN:   --mlir-print-local-scope -o %t
// RUN: FileCheck %s --input-file=%t
// RUN: sed -n '/symm.collective_begin/,/symm.collective_end/p' %t \
// RUN:   | grep -v 'loc("layer.mlir":7:3)$' | not grep -v '{$'

shard.grid @ep(shape = 4)

// CHECK-COUNT-6: symm.collective_end loc("layer.mlir":7:3)
func.func @dispatch(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<128x8xf32, #symm.space>,
    %recv_idx: memref<128xi32, #symm.space>,
    %recv_w: memref<128xf32, #symm.space>, %src: memref<128xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x2xi32>,
    %offsets: memref<3xi32>, %group_counts: memref<3xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %group_counts)
      on @ep {num_experts = 9 : i64, layout = #moe.layout<expert_major>,
      alignment = 4 : i64}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>,
       memref<128x8xf32, #symm.space>, memref<128xi32, #symm.space>,
       memref<128xf32, #symm.space>, memref<128xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x2xi32>, memref<3xi32>,
       memref<3xi32>) -> () loc("layer.mlir":7:3)
  return
}

func.func @slab(%x: memref<?x8xf8E5M2>, %idx: memref<?x2xi32>,
    %w: memref<?x2xf32>, %s: memref<?x2xf32>,
    %recv_x: memref<32x8xf8E5M2, #symm.space>,
    %recv_s: memref<32x2xf32, #symm.space>,
    %recv_idx: memref<32x2xi32, #symm.space>,
    %recv_w: memref<32x2xf32, #symm.space>, %src: memref<32xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<?x4xi32>) {
  moe.dispatch %x, %idx, %w scales(%s) outs(%recv_x, %recv_s, %recv_idx,
      %recv_w, %src, %to, %from, %rows)
      on @ep {num_experts = 8 : i64, layout = #moe.layout<slab>,
      max_tokens = 8 : i64}
    : (memref<?x8xf8E5M2>, memref<?x2xi32>, memref<?x2xf32>, memref<?x2xf32>,
       memref<32x8xf8E5M2, #symm.space>, memref<32x2xf32, #symm.space>,
       memref<32x2xi32, #symm.space>, memref<32x2xf32, #symm.space>,
       memref<32xi32, #symm.space>, memref<4xi32>, memref<4xi32>,
       memref<?x4xi32>) -> () loc("layer.mlir":7:3)
  return
}

func.func @reuse(%x: memref<16x8xf32>, %rows: memref<16x4xi32>,
    %recv_x: memref<64x8xf32, #symm.space>) {
  moe.dispatch %x reuse(%rows) outs(%recv_x)
      on @ep {num_experts = 8 : i64}
    : (memref<16x8xf32>, memref<16x4xi32>, memref<64x8xf32, #symm.space>) -> () loc("layer.mlir":7:3)
  return
}

func.func @pull(%y: memref<64x8xbf16, #symm.space>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %out: memref<16x8xbf16>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 8 : i64,
      algorithm = #moe.algorithm<pull>}
    : (memref<64x8xbf16, #symm.space>, memref<16x4xi32>, memref<64xi32>,
       memref<4xi32>, memref<16x8xbf16>) -> () loc("layer.mlir":7:3)
  return
}

func.func @push(%y: memref<64x8xf32>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %n: memref<4xi32>, %w: memref<64xf32>,
    %out: memref<16x8xf32>) {
  moe.combine %y, %rows, %src, %n weights(%w) outs(%out) on @ep {
      num_experts = 8 : i64, algorithm = #moe.algorithm<push>}
    : (memref<64x8xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<64xf32>, memref<16x8xf32>) -> () loc("layer.mlir":7:3)
  return
}

func.func @alltoallv(%send: memref<16x8xf32>, %counts: memref<4xi32>,
    %recv: memref<64x8xf32, #symm.space>, %recv_counts: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %recv_counts) on @ep {
      overflow = #moe.overflow<drop>}
    : (memref<16x8xf32>, memref<4xi32>, memref<64x8xf32, #symm.space>,
       memref<4xi32>) -> () loc("layer.mlir":7:3)
  return
}
