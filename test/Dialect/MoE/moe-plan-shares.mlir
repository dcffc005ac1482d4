// In how many shares moe-plan divides the rows of a dispatch with many tokens. A share has
// 1792 bytes at least; 384 subgroups or more together have 576 KiB in flight, to all ranks.
// A subgroup holds 4096 bytes at a time.
//
// RUN: moe-opt %s --moe-plan="target=cuda" | FileCheck %s --check-prefixes=CHECK,ALL
// RUN: moe-opt %s --moe-plan="target=cuda blocks=24" | FileCheck %s --check-prefixes=CHECK,B24
// RUN: moe-opt %s --moe-plan="target=cuda blocks=16" | FileCheck %s --check-prefixes=CHECK,B16

shard.grid @ep(shape = 2)

// CHECK-LABEL: func.func @bytes_14336(
// ALL: kernel = #moe.kernel<team = 8>
// B24: kernel = #moe.kernel<blocks = 24, team = 8>
// B16: kernel = #moe.kernel<blocks = 16>
func.func @bytes_14336(%x: memref<4096x7168xbf16>, %rows: memref<4096x2xi32>, %recv: memref<8192x7168xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 64 : i64}
    : (memref<4096x7168xbf16>, memref<4096x2xi32>, memref<8192x7168xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @bytes_8192(
// ALL: kernel = #moe.kernel<team = 4>
// B24: kernel = #moe.kernel<blocks = 24, team = 4>
func.func @bytes_8192(%x: memref<4096x4096xbf16>, %rows: memref<4096x2xi32>, %recv: memref<8192x4096xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 64 : i64}
    : (memref<4096x4096xbf16>, memref<4096x2xi32>, memref<8192x4096xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @bytes_4096(
// ALL: kernel = #moe.kernel<team = 2>
// B24: kernel = #moe.kernel<blocks = 24, team = 2>
func.func @bytes_4096(%x: memref<4096x2048xbf16>, %rows: memref<4096x2xi32>, %recv: memref<8192x2048xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 64 : i64}
    : (memref<4096x2048xbf16>, memref<4096x2xi32>, memref<8192x2048xbf16>) -> ()
  return
}

// Rows that are shorter than the smallest share stay whole.
// CHECK-LABEL: func.func @bytes_3072(
// ALL: kernel = #moe.kernel<>
// B24: kernel = #moe.kernel<blocks = 24>
func.func @bytes_3072(%x: memref<4096x1536xbf16>, %rows: memref<4096x2xi32>, %recv: memref<8192x1536xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 64 : i64}
    : (memref<4096x1536xbf16>, memref<4096x2xi32>, memref<8192x1536xbf16>) -> ()
  return
}

// One expert per token: half of the rows leave. Four shares of 2560 bytes on 24 blocks are
// 480 KiB to the other rank, and on all enough.
// CHECK-LABEL: func.func @one_expert(
// ALL: kernel = #moe.kernel<team = 4>
// B24: kernel = #moe.kernel<blocks = 24>
func.func @one_expert(%x: tensor<4096x5120xbf16>, %idx: tensor<4096x1xi32>, %w: tensor<4096x1xf32>) -> tensor<8192x5120xbf16> {
  %recv, %ri, %rw, %src, %to, %from, %rows = moe.dispatch %x, %idx, %w on @ep {num_experts = 16 : i64}
    : (tensor<4096x5120xbf16>, tensor<4096x1xi32>, tensor<4096x1xf32>)
   -> (tensor<8192x5120xbf16>, tensor<8192x1xi32>, tensor<8192x1xf32>, tensor<8192xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<4096x2xi32>)
  return %recv : tensor<8192x5120xbf16>
}

// Rows ordered by expert have shares from two tokens per subgroup on, where blocks are
// few; 1000 tokens on 24 blocks are that.
// CHECK-LABEL: func.func @by_expert(
// ALL: kernel = #moe.kernel<blocks = 125, team = 2>
// B24: kernel = #moe.kernel<blocks = 24, team = 8>
func.func @by_expert(%x: tensor<1000x7168xbf16>, %idx: tensor<1000x8xi32>, %w: tensor<1000x8xf32>) -> tensor<16000x7168xbf16> {
  %recv, %ri, %rw, %src, %to, %from, %rows, %offsets, %counts = moe.dispatch %x, %idx, %w
      on @ep {num_experts = 256 : i64, layout = #moe.layout<expert_major>}
    : (tensor<1000x7168xbf16>, tensor<1000x8xi32>, tensor<1000x8xf32>)
   -> (tensor<16000x7168xbf16>, tensor<16000xi32>, tensor<16000xf32>, tensor<16000xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<1000x8xi32>, tensor<128xi32>, tensor<128xi32>)
  return %recv : tensor<16000x7168xbf16>
}

// Bits for 16 experts and 1000 tokens fit shared memory: each block knows its own tokens.
// RUN: moe-opt %s --moe-plan="target=cuda blocks=12 threads=1024" | FileCheck %s --check-prefix=MARKS
// MARKS-LABEL: func.func @by_few_experts(
// MARKS: kernel = #moe.kernel<blocks = 12, threads = 1024>
// RUN: moe-opt %s --moe-plan="target=cuda blocks=24" | FileCheck %s --check-prefix=NOMARKS
// NOMARKS-LABEL: func.func @by_few_experts(
// NOMARKS: kernel = #moe.kernel<blocks = 24, team = 8>
func.func @by_few_experts(%x: tensor<1000x7168xbf16>, %idx: tensor<1000x8xi32>, %w: tensor<1000x8xf32>) -> tensor<16000x7168xbf16> {
  %recv, %ri, %rw, %src, %to, %from, %rows, %offsets, %counts = moe.dispatch %x, %idx, %w
      on @ep {num_experts = 16 : i64, layout = #moe.layout<expert_major>}
    : (tensor<1000x7168xbf16>, tensor<1000x8xi32>, tensor<1000x8xf32>)
   -> (tensor<16000x7168xbf16>, tensor<16000xi32>, tensor<16000xf32>, tensor<16000xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<1000x8xi32>, tensor<8xi32>, tensor<8xi32>)
  return %recv : tensor<16000x7168xbf16>
}
