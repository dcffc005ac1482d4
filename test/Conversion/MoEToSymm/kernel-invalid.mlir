// RUN: not moe-opt %s --convert-moe-to-symm=target=tpu 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not moe-opt %s --convert-moe-to-symm="target=cuda threads=100" 2>&1 | FileCheck %s --check-prefix=THREADS
// RUN: not moe-opt %s --convert-moe-to-symm="target=cuda blocks=0" 2>&1 | FileCheck %s --check-prefix=BLOCKS
// RUN: not moe-opt %s --convert-moe-to-symm="target=cuda" 2>&1 | FileCheck %s --check-prefix=PUSH

// TARGET: error: convert-moe-to-symm expects 'target' to be host or cuda (tpu)
// THREADS: error: convert-moe-to-symm expects 'threads' to be a multiple of 32 up to 1024 (100)
// BLOCKS: error: convert-moe-to-symm expects 'blocks' of at least 1 (0)

shard.grid @ep(shape = 4)

func.func @push(%y: memref<256x32xbf16>, %rows: memref<64x4xi32>,
    %src: memref<256xi32>, %from: memref<4xi32>, %out: memref<64x32xbf16>) {
  // PUSH: error: 'moe.combine' op expects algorithm pull with target cuda (push)
  moe.combine %y, %rows, %src, %from outs(%out) on @ep
      {algorithm = #moe.algorithm<push>, num_experts = 16 : i64}
    : (memref<256x32xbf16>, memref<64x4xi32>, memref<256xi32>, memref<4xi32>,
       memref<64x32xbf16>) -> ()
  return
}
