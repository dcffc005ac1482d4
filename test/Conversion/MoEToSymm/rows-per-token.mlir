// What types leave open is checked when an entry runs: that there is one row for each token, and
// that a token has no more rows than it may have experts.
//
// RUN: moe-opt %s --convert-moe-to-symm | FileCheck %s
// RUN: moe-opt %s --convert-moe-to-symm=target=cuda | FileCheck %s

shard.grid @ep(shape = 2)
shard.grid @ep40(shape = 40)

// CHECK-LABEL: func.func @dispatch
// CHECK: %[[T:.*]] = memref.dim %arg0
// CHECK: symm.check %{{.*}}, invalid_argument, "number of tokens, bounded by max_tokens" expected
// CHECK: %[[IDS:.*]] = memref.dim %arg1
// CHECK-NEXT: %[[FITS:.*]] = arith.cmpi eq, %[[T]], %[[IDS]]
// CHECK: symm.check %[[FITS]], invalid_argument, "rows of topk_idx, one for each token" expected
// CHECK: symm.check %{{.*}}, invalid_argument, "rows of topk_weights, one for each token" expected
func.func @dispatch(%x: memref<?x8xi32>, %idx: memref<?x1xi32>, %w: memref<?x1xf32>,
    %recv: memref<64x8xi32, #symm.space>, %recv_idx: memref<64x1xi32, #symm.space>,
    %recv_w: memref<64x1xf32, #symm.space>, %recv_src: memref<64xi32, #symm.space>,
    %to: memref<2xi32>, %from: memref<2xi32>, %rows: memref<?x2xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv, %recv_idx, %recv_w, %recv_src, %to, %from, %rows) on @ep
      {max_tokens = 32 : i64, num_experts = 2 : i64}
    : (memref<?x8xi32>, memref<?x1xi32>, memref<?x1xf32>, memref<64x8xi32, #symm.space>,
       memref<64x1xi32, #symm.space>, memref<64x1xf32, #symm.space>,
       memref<64xi32, #symm.space>, memref<2xi32>, memref<2xi32>, memref<?x2xi32>) -> ()
  return
}

// CHECK-LABEL: func.func @combine
// CHECK: symm.check %{{.*}}, invalid_argument, "rows of out, one for each token" expected
// CHECK: symm.check %{{.*}}, invalid_count, "send_row" expected
// CHECK-NOT: "number of rows"
func.func @combine(%y: memref<64x8xi32, #symm.space>, %rows: memref<?x2xi32>,
    %src: memref<64xi32>, %from: memref<2xi32>, %out: memref<?x8xi32>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep
      {max_tokens = 32 : i64, num_experts = 2 : i64}
    : (memref<64x8xi32, #symm.space>, memref<?x2xi32>, memref<64xi32>, memref<2xi32>,
       memref<?x8xi32>) -> ()
  return
}

// CHECK-LABEL: func.func @many_ranks
// CHECK: symm.check %{{.*}}, invalid_count, "number of rows" expected
func.func @many_ranks(%y: memref<80x8xi32, #symm.space>, %rows: memref<2x40xi32>,
    %src: memref<80xi32>, %from: memref<40xi32>, %out: memref<2x8xi32>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep40 {num_experts = 80 : i64}
    : (memref<80x8xi32, #symm.space>, memref<2x40xi32>, memref<80xi32>, memref<40xi32>,
       memref<2x8xi32>) -> ()
  return
}
