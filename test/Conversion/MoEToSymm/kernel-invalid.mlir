// RUN: not moe-opt %s -split-input-file --convert-moe-to-symm=target=tpu 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: moe-opt %s -split-input-file -verify-diagnostics --convert-moe-to-symm=target=cuda

// TARGET: error: convert-moe-to-symm expects 'target' to be host or cuda (tpu)

shard.grid @ep(shape = 4)

func.func @bulk_push(%y: memref<256x32xbf16>, %rows: memref<64x4xi32>,
    %src: memref<256xi32>, %from: memref<4xi32>, %out: memref<64x32xbf16>) {
  // expected-error @+1 {{'moe.combine' op expects transfer stores with algorithm push (bulk)}}
  moe.combine %y, %rows, %src, %from outs(%out) on @ep
      {algorithm = #moe.algorithm<push>, num_experts = 16 : i64,
       kernel = #moe.kernel<transfer = bulk>}
    : (memref<256x32xbf16>, memref<64x4xi32>, memref<256xi32>, memref<4xi32>,
       memref<64x32xbf16>) -> ()
  return
}

// -----

shard.grid @ep(shape = 4)

func.func @bulk_of_odd_rows(%x: memref<64x7xbf16>, %rows: memref<64x4xi32>,
    %recv: memref<256x7xbf16, #symm.space>) {
  // expected-error @+1 {{'moe.dispatch' op expects rows of a multiple of 16 bytes with transfer bulk ('memref<64x7xbf16>')}}
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep
      {kernel = #moe.kernel<transfer = bulk>, num_experts = 16 : i64}
    : (memref<64x7xbf16>, memref<64x4xi32>, memref<256x7xbf16, #symm.space>) -> ()
  return
}

// -----

shard.grid @ep(shape = 4)

func.func @bulk_of_blocks(%x: memref<64x8xbf16>, %n: memref<4xi32>,
    %recv: memref<256x8xbf16, #symm.space>, %counts: memref<4xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects transfer stores (bulk)}}
  moe.alltoallv %x, %n outs(%recv, %counts) on @ep
      {kernel = #moe.kernel<transfer = bulk>}
    : (memref<64x8xbf16>, memref<4xi32>, memref<256x8xbf16, #symm.space>,
       memref<4xi32>) -> ()
  return
}

// -----

shard.grid @ep(shape = 5000)

func.func @push_among_too_many(%y: memref<16x32xbf16>, %rows: memref<2x5000xi32>,
    %src: memref<16xi32>, %from: memref<5000xi32>, %out: memref<2x32xbf16>) {
  // expected-error @+1 {{'moe.combine' op expects at most 4096 ranks with target cuda (5000)}}
  moe.combine %y, %rows, %src, %from outs(%out) on @ep
      {algorithm = #moe.algorithm<push>, num_experts = 16 : i64}
    : (memref<16x32xbf16>, memref<2x5000xi32>, memref<16xi32>,
       memref<5000xi32>, memref<2x32xbf16>) -> ()
  return
}

// -----

shard.grid @ep(shape = 65536)

func.func @too_many_ranks(%x: memref<16x8xbf16>, %n: memref<65536xi32>,
    %recv: memref<16x8xbf16, #symm.space>, %counts: memref<65536xi32>) {
  // expected-error @+1 {{'moe.alltoallv' op expects at most 4096 ranks with target cuda (65536)}}
  moe.alltoallv %x, %n outs(%recv, %counts) on @ep
    : (memref<16x8xbf16>, memref<65536xi32>, memref<16x8xbf16, #symm.space>,
       memref<65536xi32>) -> ()
  return
}

// -----

shard.grid @ep(shape = 4)

func.func @bulk_expand(%x: memref<64x32xbf16>, %rows: memref<64x4xi32>,
    %idx: memref<64x4xi32>, %recv: memref<512x32xbf16, #symm.space>) {
  // expected-error @+1 {{'moe.dispatch' op expects transfer stores with algorithm expand (bulk)}}
  moe.dispatch %x reuse(%rows, %idx) outs(%recv) on @ep
      {algorithm = #moe.dispatch_algorithm<expand>, num_experts = 8 : i64,
       layout = #moe.layout<expert_major>, kernel = #moe.kernel<transfer = bulk>}
    : (memref<64x32xbf16>, memref<64x4xi32>, memref<64x4xi32>,
       memref<512x32xbf16, #symm.space>) -> ()
  return
}
