// In how many shares moe-plan divides the rows of a dispatch with many tokens. A share has
// 1792 bytes at least; all subgroups together have 672 KiB in flight, or each no less than
// with whole rows. In blocks of 512 threads a subgroup holds 4096 bytes, in those of 1024
// it holds 3584.
//
// RUN: moe-opt %s --moe-plan="target=cuda" | FileCheck %s --check-prefixes=CHECK,ALL
// RUN: moe-opt %s --moe-plan="target=cuda blocks=24" | FileCheck %s --check-prefixes=CHECK,B24
// RUN: moe-opt %s --moe-plan="target=cuda blocks=16" | FileCheck %s --check-prefixes=CHECK,B16
// RUN: moe-opt %s --moe-plan="target=cuda blocks=8" | FileCheck %s --check-prefixes=CHECK,B8

shard.grid @ep(shape = 2)

// Eight of 1792 bytes on 24 blocks are 672 KiB in flight, and on 16 less: there four of
// 3584 have as much in flight as whole rows, which take seven loads of 512 at a time.
// CHECK-LABEL: func.func @bytes_14336(
// ALL: kernel = #moe.kernel<team = 8>
// B24: kernel = #moe.kernel<blocks = 24, team = 8>
// B16: kernel = #moe.kernel<blocks = 16, team = 4>
// B8: kernel = #moe.kernel<blocks = 8, threads = 1024, team = 4>
func.func @bytes_14336(%x: memref<4096x7168xbf16>, %rows: memref<4096x2xi32>, %recv: memref<8192x7168xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 64 : i64}
    : (memref<4096x7168xbf16>, memref<4096x2xi32>, memref<8192x7168xbf16>) -> ()
  return
}

// Two of 4096 bytes are what a subgroup holds. With 1024 threads that is more than it
// holds, and the rest of a share takes as long.
// CHECK-LABEL: func.func @bytes_8192(
// ALL: kernel = #moe.kernel<team = 4>
// B24: kernel = #moe.kernel<blocks = 24, team = 4>
// B16: kernel = #moe.kernel<blocks = 16, team = 2>
// B8: kernel = #moe.kernel<blocks = 8, threads = 1024>
func.func @bytes_8192(%x: memref<4096x4096xbf16>, %rows: memref<4096x2xi32>, %recv: memref<8192x4096xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 64 : i64}
    : (memref<4096x4096xbf16>, memref<4096x2xi32>, memref<8192x4096xbf16>) -> ()
  return
}

// CHECK-LABEL: func.func @bytes_4096(
// ALL: kernel = #moe.kernel<team = 2>
// B24: kernel = #moe.kernel<blocks = 24, team = 2>
// B16: kernel = #moe.kernel<blocks = 16>
// B8: kernel = #moe.kernel<blocks = 8, threads = 1024, team = 2>
func.func @bytes_4096(%x: memref<4096x2048xbf16>, %rows: memref<4096x2xi32>, %recv: memref<8192x2048xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 64 : i64}
    : (memref<4096x2048xbf16>, memref<4096x2xi32>, memref<8192x2048xbf16>) -> ()
  return
}

// Rows that are shorter than the smallest share stay whole.
// CHECK-LABEL: func.func @bytes_3072(
// ALL: kernel = #moe.kernel<>
// B24: kernel = #moe.kernel<blocks = 24>
// B16: kernel = #moe.kernel<blocks = 16>
// B8: kernel = #moe.kernel<blocks = 8, threads = 1024>
func.func @bytes_3072(%x: memref<4096x1536xbf16>, %rows: memref<4096x2xi32>, %recv: memref<8192x1536xbf16>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 64 : i64}
    : (memref<4096x1536xbf16>, memref<4096x2xi32>, memref<8192x1536xbf16>) -> ()
  return
}

// Rows ordered by expert have shares from two tokens per subgroup on, where blocks are
// few; 1000 tokens on 24 blocks are that.
// CHECK-LABEL: func.func @by_expert(
// ALL: kernel = #moe.kernel<blocks = 125, team = 2>
// B24: kernel = #moe.kernel<blocks = 24, team = 8>
// B16: kernel = #moe.kernel<blocks = 16, team = 4>
// On eight, of 1024 threads, each block knows its own tokens only.
// B8: kernel = #moe.kernel<blocks = 8, threads = 1024>
func.func @by_expert(%x: tensor<1000x7168xbf16>, %idx: tensor<1000x8xi32>, %w: tensor<1000x8xf32>) -> tensor<16000x7168xbf16> {
  %recv, %ri, %rw, %src, %to, %from, %rows, %offsets, %counts = moe.dispatch %x, %idx, %w
      on @ep {num_experts = 256 : i64, layout = #moe.layout<expert_major>}
    : (tensor<1000x7168xbf16>, tensor<1000x8xi32>, tensor<1000x8xf32>)
   -> (tensor<16000x7168xbf16>, tensor<16000xi32>, tensor<16000xf32>, tensor<16000xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<1000x8xi32>, tensor<128xi32>, tensor<128xi32>)
  return %recv : tensor<16000x7168xbf16>
}
