// RUN: moe-opt %s --split-input-file --moe-check-routes --verify-diagnostics

// Everything agrees.
shard.grid @ep(shape = 4)
func.func @agree(%x: tensor<16x8xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> (tensor<16x8xf32>, tensor<64x8xf32>) {
  %recv, %ri, %rw, %src, %to, %from, %row = moe.dispatch %x, %idx, %w on @ep
      {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  %again = moe.dispatch %x reuse(%row) on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x4xi32>) -> (tensor<64x8xf32>)
  %out = moe.combine %recv, %row, %src, %from on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  return %out, %again : tensor<16x8xf32>, tensor<64x8xf32>
}

// -----

shard.grid @ep(shape = 4)
func.func @experts(%x: tensor<16x8xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<16x8xf32> {
  // expected-note @+1 {{the dispatch is here}}
  %recv, %ri, %rw, %src, %to, %from, %row = moe.dispatch %x, %idx, %w on @ep
      {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-error @+1 {{'moe.combine' op expects 'num_experts' (16) to be that of the dispatch of 'send_row' (8)}}
  %out = moe.combine %recv, %row, %src, %from on @ep {num_experts = 16 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}

// -----

shard.grid @ep(shape = 4)
func.func @layout(%x: tensor<16x8xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<16x8xf32> {
  // expected-note @+1 {{the dispatch is here}}
  %recv, %ri, %rw, %src, %to, %from, %row = moe.dispatch %x, %idx, %w on @ep
      {num_experts = 8 : i64, layout = #moe.layout<slab>}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-error @+1 {{'moe.combine' op expects 'layout' (rank_major) to be that of the dispatch of 'send_row' (slab)}}
  %out = moe.combine %recv, %row, %src, %from on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}

// -----

shard.grid @ep(shape = 4)
shard.grid @other(shape = 4)
func.func @grid_of_reuse(%x: tensor<16x8xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<64x8xf32> {
  // expected-note @+1 {{the dispatch is here}}
  %recv, %ri, %rw, %src, %to, %from, %row = moe.dispatch %x, %idx, %w on @ep
      {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-error @+1 {{'moe.dispatch' op expects the grid (other) to be that of the dispatch of 'send_row' (ep)}}
  %again = moe.dispatch %x reuse(%row) on @other {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x4xi32>) -> (tensor<64x8xf32>)
  return %again : tensor<64x8xf32>
}

// -----

shard.grid @ep(shape = 4)
func.func @bound(%x: tensor<?x8xf32>, %idx: tensor<?x2xi32>,
    %w: tensor<?x2xf32>) -> tensor<?x8xf32> {
  // expected-note @+1 {{the dispatch is here}}
  %recv, %ri, %rw, %src, %to, %from, %row = moe.dispatch %x, %idx, %w on @ep
      {num_experts = 8 : i64, max_tokens = 16 : i64}
    : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
  // expected-error @+1 {{'moe.combine' op expects the bound of T (32) to be that of the dispatch of 'send_row' (16)}}
  %out = moe.combine %recv, %row, %src, %from on @ep
      {num_experts = 8 : i64, max_tokens = 32 : i64}
    : (tensor<64x8xf32>, tensor<?x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<?x8xf32>
  return %out : tensor<?x8xf32>
}

// -----

// A list of rows is not where rows came from.
shard.grid @ep(shape = 4)
func.func @list_of_rows(%x: tensor<16x8xf32>, %idx: tensor<16x1xi32>,
    %w: tensor<16x1xf32>) -> tensor<16x8xf32> {
  // expected-note @+1 {{the dispatch is here}}
  %r:11 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 8 : i64, list_alignment = 1 : i64}
    : (tensor<16x8xf32>, tensor<16x1xi32>, tensor<16x1xf32>)
   -> (tensor<64x8xf32>, tensor<64x1xi32>, tensor<64x1xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2xi32>,
       tensor<2xi32>, tensor<64xi32>, tensor<64xf32>)
  // expected-error @+1 {{'moe.combine' op expects 'recv_src_idx' to be 'recv_src_idx' of a dispatch, got its 'list_rows'}}
  %out = moe.combine %r#0, %r#6, %r#9, %r#5 on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}

// -----

// Anybody may have written a buffer.
shard.grid @ep(shape = 4)
func.func @buffers(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv: memref<64x8xf32>, %ri: memref<64x2xi32>,
    %rw: memref<64x2xf32>, %src: memref<64xi32>, %to: memref<4xi32>,
    %from: memref<4xi32>, %row: memref<16x4xi32>, %out: memref<16x8xf32>) {
  moe.combine %recv, %row, %src, %from outs(%out) on @ep
      {num_experts = 4 : i64}
    : (memref<64x8xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<16x8xf32>) -> ()
  moe.dispatch %x, %idx, %w
      outs(%recv, %ri, %rw, %src, %to, %from, %row) on @ep
      {num_experts = 8 : i64}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>, memref<64x8xf32>,
       memref<64x2xi32>, memref<64x2xf32>, memref<64xi32>, memref<4xi32>,
       memref<4xi32>, memref<16x4xi32>) -> ()
  return
}

//===----------------------------------------------------------------------===//
// Operands of other dispatches: combine_c9, dispatch_c13
//===----------------------------------------------------------------------===//

// -----

shard.grid @ep(shape = 4)
func.func @other_sources(%x: tensor<16x8xf32>, %i: tensor<16x2xi32>,
    %i2: tensor<16x2xi32>, %w: tensor<16x2xf32>) -> tensor<16x8xf32> {
  // expected-note @+2 {{the dispatch of 'send_row' is here}}
  %a_recv, %a_ri, %a_rw, %a_src, %a_to, %a_from, %a_row =
    moe.dispatch %x, %i, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-note @+2 {{the dispatch of 'recv_src_idx' is here}}
  %b_recv, %b_ri, %b_rw, %b_src, %b_to, %b_from, %b_row =
    moe.dispatch %x, %i2, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-error @+1 {{'moe.combine' op expects 'recv_src_idx' to be of the dispatch of 'send_row', got that of another one}}
  %out = moe.combine %a_recv, %a_row, %b_src, %a_from on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}

// -----

shard.grid @ep(shape = 4)
func.func @other_counts(%x: tensor<16x8xf32>, %i: tensor<16x2xi32>,
    %i2: tensor<16x2xi32>, %w: tensor<16x2xf32>) -> tensor<16x8xf32> {
  // expected-note @+2 {{the dispatch of 'send_row' is here}}
  %a_recv, %a_ri, %a_rw, %a_src, %a_to, %a_from, %a_row =
    moe.dispatch %x, %i, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-note @+2 {{the dispatch of 'n_tokens_from_rank' is here}}
  %b_recv, %b_ri, %b_rw, %b_src, %b_to, %b_from, %b_row =
    moe.dispatch %x, %i2, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-error @+1 {{'moe.combine' op expects 'n_tokens_from_rank' to be of the dispatch of 'send_row', got that of another one}}
  %out = moe.combine %a_recv, %a_row, %a_src, %b_from on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}

// -----

shard.grid @ep(shape = 4)
func.func @other_rows(%x: tensor<16x8xf32>, %i: tensor<16x2xi32>,
    %i2: tensor<16x2xi32>, %w: tensor<16x2xf32>) -> tensor<16x8xf32> {
  // expected-note @+2 {{the dispatch of 'send_row' is here}}
  %a_recv, %a_ri, %a_rw, %a_src, %a_to, %a_from, %a_row =
    moe.dispatch %x, %i, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-note @+2 {{the dispatch of 'y' is here}}
  %b_recv, %b_ri, %b_rw, %b_src, %b_to, %b_from, %b_row =
    moe.dispatch %x, %i2, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-error @+1 {{'moe.combine' op expects 'y' to be of the dispatch of 'send_row', got that of another one}}
  %out = moe.combine %b_recv, %a_row, %a_src, %a_from on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}

// -----

// Of two operands of which neither is 'send_row', either.
shard.grid @ep(shape = 4)
func.func @send_row_from_outside(%x: tensor<16x8xf32>, %i: tensor<16x2xi32>,
    %i2: tensor<16x2xi32>, %w: tensor<16x2xf32>, %row: tensor<16x4xi32>)
    -> tensor<16x8xf32> {
  // expected-note @+2 {{the dispatch of 'recv_src_idx' is here}}
  %a_recv, %a_ri, %a_rw, %a_src, %a_to, %a_from, %a_row =
    moe.dispatch %x, %i, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-note @+2 {{the dispatch of 'n_tokens_from_rank' is here}}
  %b_recv, %b_ri, %b_rw, %b_src, %b_to, %b_from, %b_row =
    moe.dispatch %x, %i2, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-error @+1 {{'moe.combine' op expects 'n_tokens_from_rank' to be of the dispatch of 'recv_src_idx', got that of another one}}
  %out = moe.combine %a_recv, %row, %a_src, %b_from on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}

// -----

shard.grid @ep(shape = 4)
func.func @other_weights(%x: tensor<16x8xf32>, %i: tensor<16x1xi32>,
    %i2: tensor<16x1xi32>, %w: tensor<16x1xf32>) -> tensor<16x8xf32> {
  // expected-note @+1 {{the dispatch of 'send_row' is here}}
  %a:9 = moe.dispatch %x, %i, %w on @ep
      {num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (tensor<16x8xf32>, tensor<16x1xi32>, tensor<16x1xf32>)
   -> (tensor<64x8xf32>, tensor<64xi32>, tensor<64xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x1xi32>, tensor<2xi32>,
       tensor<2xi32>)
  // expected-note @+1 {{the dispatch of 'weights' is here}}
  %b:9 = moe.dispatch %x, %i2, %w on @ep
      {num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (tensor<16x8xf32>, tensor<16x1xi32>, tensor<16x1xf32>)
   -> (tensor<64x8xf32>, tensor<64xi32>, tensor<64xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x1xi32>, tensor<2xi32>,
       tensor<2xi32>)
  // expected-error @+1 {{'moe.combine' op expects 'weights' to be of the dispatch of 'send_row', got that of another one}}
  %out = moe.combine %a#0, %a#6, %a#3, %a#5 topk(%i) weights(%b#2) on @ep
      {num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (tensor<64x8xf32>, tensor<16x1xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x1xi32>, tensor<64xf32>) -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}

// -----

// Two results of the same type.
shard.grid @ep(shape = 4)
func.func @wrong_result(%x: tensor<16x8xf32>, %i: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<16x8xf32> {
  // expected-note @+2 {{the dispatch is here}}
  %a_recv, %a_ri, %a_rw, %a_src, %a_to, %a_from, %a_row =
    moe.dispatch %x, %i, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-error @+1 {{'moe.combine' op expects 'n_tokens_from_rank' to be 'n_tokens_from_rank' of a dispatch, got its 'n_tokens_to_rank'}}
  %out = moe.combine %a_recv, %a_row, %a_src, %a_to on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}

// -----

shard.grid @ep(shape = 2)
func.func @other_experts(%x: tensor<4x8xf32>, %i: tensor<4x2xi32>,
    %w: tensor<4x2xf32>, %i2: tensor<4x2xi32>) -> tensor<4x8xf32> {
  // expected-note @+1 {{the dispatch is here}}
  %a:9 = moe.dispatch %x, %i, %w on @ep
      {num_experts = 4 : i64, layout = #moe.layout<expert_major>}
    : (tensor<4x8xf32>, tensor<4x2xi32>, tensor<4x2xf32>)
   -> (tensor<16x8xf32>, tensor<16xi32>, tensor<16xf32>, tensor<16xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<4x2xi32>, tensor<2xi32>,
       tensor<2xi32>)
  // expected-error @+1 {{'moe.combine' op expects expert ids that are 'topk_idx' of the dispatch of 'send_row', got others}}
  %out = moe.combine %a#0, %a#6, %a#3, %a#5 topk(%i2) on @ep
      {num_experts = 4 : i64, layout = #moe.layout<expert_major>}
    : (tensor<16x8xf32>, tensor<4x2xi32>, tensor<16xi32>, tensor<2xi32>,
       tensor<4x2xi32>) -> tensor<4x8xf32>
  return %out : tensor<4x8xf32>
}

// -----

shard.grid @ep(shape = 2)
func.func @constant_experts(%x: tensor<4x8xf32>, %i: tensor<4x2xi32>,
    %w: tensor<4x2xf32>, %i2: tensor<4x2xi32>) -> tensor<4x8xf32> {
  %c = arith.constant dense<1> : tensor<4x2xi32>
  // expected-note @+1 {{the dispatch is here}}
  %a:9 = moe.dispatch %x, %i, %w on @ep
      {num_experts = 4 : i64, layout = #moe.layout<expert_major>}
    : (tensor<4x8xf32>, tensor<4x2xi32>, tensor<4x2xf32>)
   -> (tensor<16x8xf32>, tensor<16xi32>, tensor<16xf32>, tensor<16xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<4x2xi32>, tensor<2xi32>,
       tensor<2xi32>)
  // expected-error @+1 {{'moe.combine' op expects expert ids that are 'topk_idx' of the dispatch of 'send_row', got others}}
  %out = moe.combine %a#0, %a#6, %a#3, %a#5 topk(%c) on @ep
      {num_experts = 4 : i64, layout = #moe.layout<expert_major>}
    : (tensor<16x8xf32>, tensor<4x2xi32>, tensor<16xi32>, tensor<2xi32>,
       tensor<4x2xi32>) -> tensor<4x8xf32>
  return %out : tensor<4x8xf32>
}

// -----

shard.grid @ep(shape = 2)
func.func @other_experts_of_reuse(%x: tensor<4x8xf32>, %i: tensor<4x2xi32>,
    %w: tensor<4x2xf32>, %i2: tensor<4x2xi32>) -> tensor<16x8xf32> {
  // expected-note @+1 {{the dispatch is here}}
  %a:9 = moe.dispatch %x, %i, %w on @ep
      {num_experts = 4 : i64, layout = #moe.layout<expert_major>}
    : (tensor<4x8xf32>, tensor<4x2xi32>, tensor<4x2xf32>)
   -> (tensor<16x8xf32>, tensor<16xi32>, tensor<16xf32>, tensor<16xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<4x2xi32>, tensor<2xi32>,
       tensor<2xi32>)
  // expected-error @+1 {{'moe.dispatch' op expects expert ids that are 'topk_idx' of the dispatch of 'send_row', got others}}
  %out = moe.dispatch %x reuse(%a#6, %i2) on @ep
      {num_experts = 4 : i64, layout = #moe.layout<expert_major>}
    : (tensor<4x8xf32>, tensor<4x2xi32>, tensor<4x2xi32>) -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}

//===----------------------------------------------------------------------===//
// What values are followed through
//===----------------------------------------------------------------------===//

// -----

shard.grid @ep(shape = 4)
func.func @through_casts_and_branches(%x: tensor<16x8xf32>, %i: tensor<16x2xi32>,
    %i2: tensor<16x2xi32>, %w: tensor<16x2xf32>, %c: i1)
    -> tensor<16x8xf32> {
  // expected-note @+2 {{the dispatch of 'send_row' is here}}
  %a_recv, %a_ri, %a_rw, %a_src, %a_to, %a_from, %a_row =
    moe.dispatch %x, %i, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-note @+2 {{the dispatch of 'recv_src_idx' is here}}
  %b_recv, %b_ri, %b_rw, %b_src, %b_to, %b_from, %b_row =
    moe.dispatch %x, %i2, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  %dynamic = tensor.cast %b_src : tensor<64xi32> to tensor<?xi32>
  %src = scf.if %c -> tensor<64xi32> {
    %static = tensor.cast %dynamic : tensor<?xi32> to tensor<64xi32>
    scf.yield %static : tensor<64xi32>
  } else {
    scf.yield %b_src : tensor<64xi32>
  }
  // expected-error @+1 {{'moe.combine' op expects 'recv_src_idx' to be of the dispatch of 'send_row', got that of another one}}
  %out = moe.combine %a_recv, %a_row, %src, %a_from on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}

// -----

shard.grid @ep(shape = 4)
func.func @through_loops(%x: tensor<16x8xf32>, %i: tensor<16x2xi32>,
    %i2: tensor<16x2xi32>, %w: tensor<16x2xf32>, %n: index)
    -> tensor<16x8xf32> {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  // expected-note @+2 {{the dispatch of 'send_row' is here}}
  %a_recv, %a_ri, %a_rw, %a_src, %a_to, %a_from, %a_row =
    moe.dispatch %x, %i, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-note @+2 {{the dispatch of 'n_tokens_from_rank' is here}}
  %b_recv, %b_ri, %b_rw, %b_src, %b_to, %b_from, %b_row =
    moe.dispatch %x, %i2, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  %out, %rest = scf.for %k = %zero to %n step %one
      iter_args(%last = %x, %from = %b_from)
      -> (tensor<16x8xf32>, tensor<4xi32>) {
  // expected-error @+1 {{'moe.combine' op expects 'n_tokens_from_rank' to be of the dispatch of 'send_row', got that of another one}}
  %next = moe.combine %a_recv, %a_row, %a_src, %from on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
    scf.yield %next, %from : tensor<16x8xf32>, tensor<4xi32>
  }
  return %out : tensor<16x8xf32>
}

// -----

// Into a function and out of it.
shard.grid @ep(shape = 4)
func.func private @back(%y: tensor<64x8xf32>, %row: tensor<16x4xi32>,
    %src: tensor<64xi32>, %from: tensor<4xi32>) -> tensor<16x8xf32> {
  // expected-error @+1 {{'moe.combine' op expects 'n_tokens_from_rank' to be of the dispatch of 'send_row', got that of another one}}
  %out = moe.combine %y, %row, %src, %from on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}
func.func private @counts(%x: tensor<16x8xf32>, %i: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<4xi32> {
  // expected-note @+2 {{the dispatch of 'n_tokens_from_rank' is here}}
  %b_recv, %b_ri, %b_rw, %b_src, %b_to, %b_from, %b_row =
    moe.dispatch %x, %i, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return %b_from : tensor<4xi32>
}
func.func @through_calls(%x: tensor<16x8xf32>, %i: tensor<16x2xi32>,
    %i2: tensor<16x2xi32>, %w: tensor<16x2xf32>) -> tensor<16x8xf32> {
  // expected-note @+2 {{the dispatch of 'send_row' is here}}
  %a_recv, %a_ri, %a_rw, %a_src, %a_to, %a_from, %a_row =
    moe.dispatch %x, %i, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  %from = call @counts(%x, %i2, %w)
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>) -> tensor<4xi32>
  %out = call @back(%a_recv, %a_row, %a_src, %from)
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}

// -----

// Two dispatches of the same experts place their rows alike; what both branches
// give, and what is computed, is not known; other rows than data are rows too.
shard.grid @ep(shape = 4)
func.func @good(%x: tensor<16x8xf32>, %i: tensor<16x2xi32>,
    %i2: tensor<16x2xi32>, %w: tensor<16x2xf32>, %w2: tensor<16x2xf32>,
    %c: i1) -> (tensor<16x8xf32>, tensor<16x8xf32>, tensor<16x2xf32>) {
  %a_recv, %a_ri, %a_rw, %a_src, %a_to, %a_from, %a_row =
    moe.dispatch %x, %i, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  %b_recv, %b_ri, %b_rw, %b_src, %b_to, %b_from, %b_row =
    moe.dispatch %x, %i, %w2 on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  %c_recv, %c_ri, %c_rw, %c_src, %c_to, %c_from, %c_row =
    moe.dispatch %x, %i2, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  %again = moe.dispatch %x reuse(%b_row) on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x4xi32>) -> (tensor<64x8xf32>)
  %out = moe.combine %again, %a_row, %b_src, %b_from on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  %from = scf.if %c -> tensor<4xi32> {
    scf.yield %a_from : tensor<4xi32>
  } else {
    scf.yield %c_from : tensor<4xi32>
  }
  %src = arith.addi %c_src, %c_src : tensor<64xi32>
  %unknown = moe.combine %a_recv, %a_row, %src, %from on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x8xf32>
  %weights = moe.combine %a_rw, %a_row, %a_src, %a_from on @ep
      {num_experts = 8 : i64}
    : (tensor<64x2xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x2xf32>
  return %out, %unknown, %weights
    : tensor<16x8xf32>, tensor<16x8xf32>, tensor<16x2xf32>
}

// -----

// Expert ids that are computed may be equal.
shard.grid @ep(shape = 2)
func.func @computed_experts(%x: tensor<4x8xf32>, %i64: tensor<4x2xi64>,
    %w: tensor<4x2xf32>) -> tensor<4x8xf32> {
  %i = arith.trunci %i64 : tensor<4x2xi64> to tensor<4x2xi32>
  %i2 = arith.trunci %i64 : tensor<4x2xi64> to tensor<4x2xi32>
  %a:9 = moe.dispatch %x, %i, %w on @ep
      {num_experts = 4 : i64, layout = #moe.layout<expert_major>}
    : (tensor<4x8xf32>, tensor<4x2xi32>, tensor<4x2xf32>)
   -> (tensor<16x8xf32>, tensor<16xi32>, tensor<16xf32>, tensor<16xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<4x2xi32>, tensor<2xi32>,
       tensor<2xi32>)
  %out = moe.combine %a#0, %a#6, %a#3, %a#5 topk(%i2) on @ep
      {num_experts = 4 : i64, layout = #moe.layout<expert_major>}
    : (tensor<16x8xf32>, tensor<4x2xi32>, tensor<16xi32>, tensor<2xi32>,
       tensor<4x2xi32>) -> tensor<4x8xf32>
  return %out : tensor<4x8xf32>
}

// -----

// Blocks of another dispatch, and one taken for the other.
shard.grid @ep(shape = 4)
func.func @blocks(%x: tensor<16x8xf32>, %i: tensor<16x2xi32>, %j: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<16x8xf32> {
  // expected-note @+1 {{the dispatch of 'send_row' is here}}
  %a:9 = moe.dispatch %x, %i, %w on @ep {keep_blocks, num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2x4x1x2xi32>,
       tensor<4x4xi32>)
  // expected-note @+1 {{the dispatch of 'peer_rows' is here}}
  %b:9 = moe.dispatch %x, %j, %w on @ep {keep_blocks, num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2x4x1x2xi32>,
       tensor<4x4xi32>)
  // expected-error @+1 {{'moe.combine' op expects 'peer_rows' to be of the dispatch of 'send_row', got that of another one}}
  %out = moe.combine %a#0, %a#6, %a#3, %a#5 blocks(%a#7, %b#8) on @ep {num_experts = 8 : i64}
    : (tensor<64x8xf32>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<2x4x1x2xi32>, tensor<4x4xi32>) -> tensor<16x8xf32>
  return %out : tensor<16x8xf32>
}

// -----

shard.grid @ep(shape = 4)
func.func @blocks_of_reuse(%x: tensor<16x8xf32>, %i: tensor<16x2xi32>,
    %j: tensor<16x2xi32>, %w: tensor<16x2xf32>) -> tensor<64x8xf32> {
  // expected-note @+1 {{the dispatch of 'send_row' is here}}
  %a:9 = moe.dispatch %x, %i, %w on @ep {keep_blocks, num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2x4x1x2xi32>,
       tensor<4x4xi32>)
  // expected-note @+1 {{the dispatch of 'peer_blocks' is here}}
  %b:9 = moe.dispatch %x, %j, %w on @ep {keep_blocks, num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>, tensor<2x4x1x2xi32>,
       tensor<4x4xi32>)
  // expected-error @+1 {{'moe.dispatch' op expects 'peer_blocks' to be of the dispatch of 'send_row', got that of another one}}
  %0 = moe.dispatch %x reuse(%a#6) blocks(%b#7, %a#8) on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x4xi32>, tensor<2x4x1x2xi32>, tensor<4x4xi32>)
   -> tensor<64x8xf32>
  return %0 : tensor<64x8xf32>
}

// -----

// What says where rows are put is the same in a reuse (dispatch_c13).
shard.grid @ep(shape = 4)
func.func @order(%x: tensor<16x8xf32>, %idx: tensor<16x1xi32>,
    %w: tensor<16x1xf32>) -> tensor<64x8xf32> {
  // expected-note @+1 {{the dispatch is here}}
  %a:7 = moe.dispatch %x, %idx, %w on @ep
      {num_experts = 8 : i64, order = #moe.order<expert>}
    : (tensor<16x8xf32>, tensor<16x1xi32>, tensor<16x1xf32>)
   -> (tensor<64x8xf32>, tensor<64x1xi32>, tensor<64x1xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-error @+1 {{'moe.dispatch' op expects 'order' (token) to be that of the dispatch of 'send_row' (expert)}}
  %again = moe.dispatch %x reuse(%a#6) on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x4xi32>) -> (tensor<64x8xf32>)
  return %again : tensor<64x8xf32>
}

// -----

shard.grid @ep(shape = 4)
func.func @overflow(%x: tensor<16x8xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<40x8xf32> {
  // expected-note @+1 {{the dispatch is here}}
  %a:7 = moe.dispatch %x, %idx, %w on @ep
      {capacity = 40 : i64, num_experts = 8 : i64, overflow = #moe.overflow<drop>}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<40x8xf32>, tensor<40x2xi32>, tensor<40x2xf32>, tensor<40xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-error @+1 {{'moe.dispatch' op expects 'overflow' (error) to be that of the dispatch of 'send_row' (drop)}}
  %again = moe.dispatch %x reuse(%a#6) on @ep
      {capacity = 40 : i64, num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x4xi32>) -> (tensor<40x8xf32>)
  return %again : tensor<40x8xf32>
}

// -----

shard.grid @ep(shape = 4)
func.func @rows(%x: tensor<16x8xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<40x8xf32> {
  // expected-note @+1 {{the dispatch is here}}
  %a:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  // expected-error @+1 {{'moe.dispatch' op expects the number of rows (40) to be that of the dispatch of 'send_row' (64)}}
  %again = moe.dispatch %x reuse(%a#6) on @ep
      {capacity = 40 : i64, num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x4xi32>) -> (tensor<40x8xf32>)
  return %again : tensor<40x8xf32>
}

// -----

// The same capacity, once given and once by default.
shard.grid @ep(shape = 4)
func.func @default_rows(%x: tensor<16x8xf32>, %idx: tensor<16x2xi32>,
    %w: tensor<16x2xf32>) -> tensor<64x8xf32> {
  %a:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<64x8xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  %again = moe.dispatch %x reuse(%a#6) on @ep
      {capacity = 64 : i64, num_experts = 8 : i64}
    : (tensor<16x8xf32>, tensor<16x4xi32>) -> (tensor<64x8xf32>)
  return %again : tensor<64x8xf32>
}

// -----

// Padding and algorithm may differ, but not the alignment.
shard.grid @ep(shape = 2)
func.func @alignment(%x: tensor<4x8xf32>, %idx: tensor<4x2xi32>,
    %w: tensor<4x2xf32>) -> tensor<16x8xf32> {
  // expected-note @+1 {{the dispatch is here}}
  %a:9 = moe.dispatch %x, %idx, %w on @ep
      {alignment = 4 : i64, algorithm = #moe.dispatch_algorithm<expand>,
       capacity = 16 : i64, num_experts = 4 : i64, padding = #moe.padding<zero>,
       layout = #moe.layout<expert_major>}
    : (tensor<4x8xf32>, tensor<4x2xi32>, tensor<4x2xf32>)
   -> (tensor<16x8xf32>, tensor<16xi32>, tensor<16xf32>, tensor<16xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<4x2xi32>, tensor<2xi32>,
       tensor<2xi32>)
  // expected-error @+1 {{'moe.dispatch' op expects 'alignment' (1) to be that of the dispatch of 'send_row' (4)}}
  %again = moe.dispatch %x reuse(%a#6, %idx) on @ep
      {capacity = 16 : i64, num_experts = 4 : i64,
       layout = #moe.layout<expert_major>}
    : (tensor<4x8xf32>, tensor<4x2xi32>, tensor<4x2xi32>)
   -> (tensor<16x8xf32>)
  return %again : tensor<16x8xf32>
}
