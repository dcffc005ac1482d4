// The MoE layer of OLMoE-1B-7B: 64 experts, top 8, hidden size 2048,
// expert width 1024, on 4 ranks of 1024 tokens each.
//
// Groups follow each other without padding.
//
// Written by generate.py; edit that.

#row_k = affine_map<(m, k, n) -> (m, k)>
#k_col = affine_map<(m, k, n) -> (k, n)>
#row_col = affine_map<(m, k, n) -> (m, n)>
#all = affine_map<(t, c) -> (t, c)>

shard.grid @ep(shape = 4)

func.func @layer(
    %x: tensor<1024x2048xbf16>,
    %idx: tensor<1024x8xi32>,
    %weights: tensor<1024x8xf32>,
    %w_gate: tensor<16x2048x1024xbf16>,
    %w_up: tensor<16x2048x1024xbf16>,
    %w_down: tensor<16x1024x2048xbf16>)
    -> tensor<1024x2048xbf16> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %local = arith.constant 16 : index

  %recv_x, %recv_e, %recv_w, %recv_src, %n_to, %n_from, %send_row,
  %offsets, %counts =
    moe.dispatch %x, %idx, %weights on @ep
      {layout = #moe.layout<expert_major>, num_experts = 64 : i64}
      : (tensor<1024x2048xbf16>, tensor<1024x8xi32>, tensor<1024x8xf32>)
     -> (tensor<32768x2048xbf16>, tensor<32768xi32>, tensor<32768xf32>,
         tensor<32768xi32>, tensor<4xi32>, tensor<4xi32>, tensor<1024x8xi32>,
         tensor<16xi32>, tensor<16xi32>)

  // One group of contiguous rows per local expert.
  %y.empty = tensor.empty() : tensor<32768x2048xbf16>
  %y.all = scf.for %j = %c0 to %local step %c1 iter_args(%y = %y.empty)
      -> (tensor<32768x2048xbf16>) {
    %offset.i32 = tensor.extract %offsets[%j] : tensor<16xi32>
    %count.i32 = tensor.extract %counts[%j] : tensor<16xi32>
    %offset = arith.index_cast %offset.i32 : i32 to index
    %count = arith.index_cast %count.i32 : i32 to index
    %group = tensor.extract_slice %recv_x[%offset, 0] [%count, 2048] [1, 1]
        : tensor<32768x2048xbf16> to tensor<?x2048xbf16>
    %w_gate.j = tensor.extract_slice %w_gate[%j, 0, 0] [1, 2048, 1024]
        [1, 1, 1] : tensor<16x2048x1024xbf16> to tensor<2048x1024xbf16>
    %w_up.j = tensor.extract_slice %w_up[%j, 0, 0] [1, 2048, 1024]
        [1, 1, 1] : tensor<16x2048x1024xbf16> to tensor<2048x1024xbf16>
    %w_down.j = tensor.extract_slice %w_down[%j, 0, 0] [1, 1024, 2048]
        [1, 1, 1] : tensor<16x1024x2048xbf16> to tensor<1024x2048xbf16>
    %gate.empty = tensor.empty(%count) : tensor<?x1024xf32>
    %gate.init = linalg.fill ins(%zero : f32)
        outs(%gate.empty : tensor<?x1024xf32>) -> tensor<?x1024xf32>
    %gate = linalg.generic {
        indexing_maps = [#row_k, #k_col, #row_col],
        iterator_types = ["parallel", "reduction", "parallel"]}
        ins(%group, %w_gate.j
            : tensor<?x2048xbf16>, tensor<2048x1024xbf16>)
        outs(%gate.init : tensor<?x1024xf32>) {
    ^bb0(%a: bf16, %b: bf16, %acc: f32):
      %a.f32 = arith.extf %a : bf16 to f32
      %b.f32 = arith.extf %b : bf16 to f32
      %p = arith.mulf %a.f32, %b.f32 : f32
      %s = arith.addf %acc, %p : f32
      linalg.yield %s : f32
    } -> tensor<?x1024xf32>
    %up.empty = tensor.empty(%count) : tensor<?x1024xf32>
    %up.init = linalg.fill ins(%zero : f32)
        outs(%up.empty : tensor<?x1024xf32>) -> tensor<?x1024xf32>
    %up = linalg.generic {
        indexing_maps = [#row_k, #k_col, #row_col],
        iterator_types = ["parallel", "reduction", "parallel"]}
        ins(%group, %w_up.j
            : tensor<?x2048xbf16>, tensor<2048x1024xbf16>)
        outs(%up.init : tensor<?x1024xf32>) {
    ^bb0(%a: bf16, %b: bf16, %acc: f32):
      %a.f32 = arith.extf %a : bf16 to f32
      %b.f32 = arith.extf %b : bf16 to f32
      %p = arith.mulf %a.f32, %b.f32 : f32
      %s = arith.addf %acc, %p : f32
      linalg.yield %s : f32
    } -> tensor<?x1024xf32>
    %h.empty = tensor.empty(%count) : tensor<?x1024xbf16>
    %h = linalg.generic {
        indexing_maps = [#all, #all, #all],
        iterator_types = ["parallel", "parallel"]}
        ins(%gate, %up : tensor<?x1024xf32>, tensor<?x1024xf32>)
        outs(%h.empty : tensor<?x1024xbf16>) {
    ^bb0(%g: f32, %u: f32, %unused: bf16):
      %neg = arith.negf %g : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %one, %exp : f32
      %silu = arith.divf %g, %den : f32
      %h = arith.mulf %silu, %u : f32
      %h.bf16 = arith.truncf %h : f32 to bf16
      linalg.yield %h.bf16 : bf16
    } -> tensor<?x1024xbf16>
    %down.empty = tensor.empty(%count) : tensor<?x2048xf32>
    %down.init = linalg.fill ins(%zero : f32)
        outs(%down.empty : tensor<?x2048xf32>) -> tensor<?x2048xf32>
    %down = linalg.generic {
        indexing_maps = [#row_k, #k_col, #row_col],
        iterator_types = ["parallel", "reduction", "parallel"]}
        ins(%h, %w_down.j
            : tensor<?x1024xbf16>, tensor<1024x2048xbf16>)
        outs(%down.init : tensor<?x2048xf32>) {
    ^bb0(%a: bf16, %b: bf16, %acc: f32):
      %a.f32 = arith.extf %a : bf16 to f32
      %b.f32 = arith.extf %b : bf16 to f32
      %p = arith.mulf %a.f32, %b.f32 : f32
      %s = arith.addf %acc, %p : f32
      linalg.yield %s : f32
    } -> tensor<?x2048xf32>
    %part = tensor.extract_slice %y[%offset, 0] [%count, 2048] [1, 1]
        : tensor<32768x2048xbf16> to tensor<?x2048xbf16>
    %rounded = linalg.generic {
        indexing_maps = [#all, #all],
        iterator_types = ["parallel", "parallel"]}
        ins(%down : tensor<?x2048xf32>) outs(%part : tensor<?x2048xbf16>) {
    ^bb0(%v: f32, %unused: bf16):
      %r = arith.truncf %v : f32 to bf16
      linalg.yield %r : bf16
    } -> tensor<?x2048xbf16>
    %next = tensor.insert_slice %rounded into %y[%offset, 0]
        [%count, 2048] [1, 1] : tensor<?x2048xbf16> into tensor<32768x2048xbf16>
    scf.yield %next : tensor<32768x2048xbf16>
  }

  %out = moe.combine %y.all, %send_row, %recv_src, %n_from topk(%idx)
      weights(%recv_w) on @ep
      {layout = #moe.layout<expert_major>, num_experts = 64 : i64}
      : (tensor<32768x2048xbf16>, tensor<1024x8xi32>, tensor<32768xi32>,
         tensor<4xi32>, tensor<1024x8xi32>, tensor<32768xf32>)
     -> tensor<1024x2048xbf16>
  return %out : tensor<1024x2048xbf16>
}
