// The MoE layer of gpt-oss-120b: 128 experts, top 4, hidden size 2880,
// expert width 2880, on 4 ranks of 1024 tokens each.
//
// Each product has a bias, and the gate is clamped: (up + 1) * gate *
// sigmoid(1.702 * gate), gate <= 7, -7 <= up <= 7. Weights are bf16 here.
//
// Written by generate.py; edit that.

#row_k = affine_map<(m, k, n) -> (m, k)>
#k_col = affine_map<(m, k, n) -> (k, n)>
#row_col = affine_map<(m, k, n) -> (m, n)>
#all = affine_map<(t, c) -> (t, c)>
#col = affine_map<(t, c) -> (c)>

shard.grid @ep(shape = 4)

func.func @layer(
    %x: tensor<1024x2880xbf16>,
    %idx: tensor<1024x4xi32>,
    %weights: tensor<1024x4xf32>,
    %w_gate: tensor<32x2880x2880xbf16>,
    %b_gate: tensor<32x2880xbf16>,
    %w_up: tensor<32x2880x2880xbf16>,
    %b_up: tensor<32x2880xbf16>,
    %w_down: tensor<32x2880x2880xbf16>,
    %b_down: tensor<32x2880xbf16>)
    -> tensor<1024x2880xbf16> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %local = arith.constant 32 : index
  %seven = arith.constant 7.0 : f32
  %minus_seven = arith.constant -7.0 : f32
  %minus_alpha = arith.constant -1.702 : f32

  %recv_x, %recv_e, %recv_w, %recv_src, %n_to, %n_from, %send_row,
  %offsets, %counts =
    moe.dispatch %x, %idx, %weights on @ep
      {layout = #moe.layout<expert_major>, num_experts = 128 : i64}
      : (tensor<1024x2880xbf16>, tensor<1024x4xi32>, tensor<1024x4xf32>)
     -> (tensor<16384x2880xbf16>, tensor<16384xi32>, tensor<16384xf32>,
         tensor<16384xi32>, tensor<4xi32>, tensor<4xi32>, tensor<1024x4xi32>,
         tensor<32xi32>, tensor<32xi32>)

  // One group of contiguous rows per local expert.
  %y.empty = tensor.empty() : tensor<16384x2880xbf16>
  %y.all = scf.for %j = %c0 to %local step %c1 iter_args(%y = %y.empty)
      -> (tensor<16384x2880xbf16>) {
    %offset.i32 = tensor.extract %offsets[%j] : tensor<32xi32>
    %count.i32 = tensor.extract %counts[%j] : tensor<32xi32>
    %offset = arith.index_cast %offset.i32 : i32 to index
    %count = arith.index_cast %count.i32 : i32 to index
    %group = tensor.extract_slice %recv_x[%offset, 0] [%count, 2880] [1, 1]
        : tensor<16384x2880xbf16> to tensor<?x2880xbf16>
    %w_gate.j = tensor.extract_slice %w_gate[%j, 0, 0] [1, 2880, 2880]
        [1, 1, 1] : tensor<32x2880x2880xbf16> to tensor<2880x2880xbf16>
    %w_up.j = tensor.extract_slice %w_up[%j, 0, 0] [1, 2880, 2880]
        [1, 1, 1] : tensor<32x2880x2880xbf16> to tensor<2880x2880xbf16>
    %w_down.j = tensor.extract_slice %w_down[%j, 0, 0] [1, 2880, 2880]
        [1, 1, 1] : tensor<32x2880x2880xbf16> to tensor<2880x2880xbf16>
    %gate.empty = tensor.empty(%count) : tensor<?x2880xf32>
    %gate.bias = tensor.extract_slice %b_gate[%j, 0] [1, 2880] [1, 1]
        : tensor<32x2880xbf16> to tensor<2880xbf16>
    %gate.init = linalg.generic {
        indexing_maps = [#col, #all],
        iterator_types = ["parallel", "parallel"]}
        ins(%gate.bias : tensor<2880xbf16>)
        outs(%gate.empty : tensor<?x2880xf32>) {
    ^bb0(%b: bf16, %unused: f32):
      %b.f32 = arith.extf %b : bf16 to f32
      linalg.yield %b.f32 : f32
    } -> tensor<?x2880xf32>
    %gate = linalg.generic {
        indexing_maps = [#row_k, #k_col, #row_col],
        iterator_types = ["parallel", "reduction", "parallel"]}
        ins(%group, %w_gate.j
            : tensor<?x2880xbf16>, tensor<2880x2880xbf16>)
        outs(%gate.init : tensor<?x2880xf32>) {
    ^bb0(%a: bf16, %b: bf16, %acc: f32):
      %a.f32 = arith.extf %a : bf16 to f32
      %b.f32 = arith.extf %b : bf16 to f32
      %p = arith.mulf %a.f32, %b.f32 : f32
      %s = arith.addf %acc, %p : f32
      linalg.yield %s : f32
    } -> tensor<?x2880xf32>
    %up.empty = tensor.empty(%count) : tensor<?x2880xf32>
    %up.bias = tensor.extract_slice %b_up[%j, 0] [1, 2880] [1, 1]
        : tensor<32x2880xbf16> to tensor<2880xbf16>
    %up.init = linalg.generic {
        indexing_maps = [#col, #all],
        iterator_types = ["parallel", "parallel"]}
        ins(%up.bias : tensor<2880xbf16>)
        outs(%up.empty : tensor<?x2880xf32>) {
    ^bb0(%b: bf16, %unused: f32):
      %b.f32 = arith.extf %b : bf16 to f32
      linalg.yield %b.f32 : f32
    } -> tensor<?x2880xf32>
    %up = linalg.generic {
        indexing_maps = [#row_k, #k_col, #row_col],
        iterator_types = ["parallel", "reduction", "parallel"]}
        ins(%group, %w_up.j
            : tensor<?x2880xbf16>, tensor<2880x2880xbf16>)
        outs(%up.init : tensor<?x2880xf32>) {
    ^bb0(%a: bf16, %b: bf16, %acc: f32):
      %a.f32 = arith.extf %a : bf16 to f32
      %b.f32 = arith.extf %b : bf16 to f32
      %p = arith.mulf %a.f32, %b.f32 : f32
      %s = arith.addf %acc, %p : f32
      linalg.yield %s : f32
    } -> tensor<?x2880xf32>
    %h.empty = tensor.empty(%count) : tensor<?x2880xbf16>
    %h = linalg.generic {
        indexing_maps = [#all, #all, #all],
        iterator_types = ["parallel", "parallel"]}
        ins(%gate, %up : tensor<?x2880xf32>, tensor<?x2880xf32>)
        outs(%h.empty : tensor<?x2880xbf16>) {
    ^bb0(%g: f32, %u: f32, %unused: bf16):
      %g.clamped = arith.minimumf %g, %seven : f32
      %u.upper = arith.minimumf %u, %seven : f32
      %u.clamped = arith.maximumf %u.upper, %minus_seven : f32
      %scaled = arith.mulf %g.clamped, %minus_alpha : f32
      %exp = math.exp %scaled : f32
      %den = arith.addf %one, %exp : f32
      %glu = arith.divf %g.clamped, %den : f32
      %u.plus = arith.addf %u.clamped, %one : f32
      %h = arith.mulf %glu, %u.plus : f32
      %h.bf16 = arith.truncf %h : f32 to bf16
      linalg.yield %h.bf16 : bf16
    } -> tensor<?x2880xbf16>
    %down.empty = tensor.empty(%count) : tensor<?x2880xf32>
    %down.bias = tensor.extract_slice %b_down[%j, 0] [1, 2880] [1, 1]
        : tensor<32x2880xbf16> to tensor<2880xbf16>
    %down.init = linalg.generic {
        indexing_maps = [#col, #all],
        iterator_types = ["parallel", "parallel"]}
        ins(%down.bias : tensor<2880xbf16>)
        outs(%down.empty : tensor<?x2880xf32>) {
    ^bb0(%b: bf16, %unused: f32):
      %b.f32 = arith.extf %b : bf16 to f32
      linalg.yield %b.f32 : f32
    } -> tensor<?x2880xf32>
    %down = linalg.generic {
        indexing_maps = [#row_k, #k_col, #row_col],
        iterator_types = ["parallel", "reduction", "parallel"]}
        ins(%h, %w_down.j
            : tensor<?x2880xbf16>, tensor<2880x2880xbf16>)
        outs(%down.init : tensor<?x2880xf32>) {
    ^bb0(%a: bf16, %b: bf16, %acc: f32):
      %a.f32 = arith.extf %a : bf16 to f32
      %b.f32 = arith.extf %b : bf16 to f32
      %p = arith.mulf %a.f32, %b.f32 : f32
      %s = arith.addf %acc, %p : f32
      linalg.yield %s : f32
    } -> tensor<?x2880xf32>
    %part = tensor.extract_slice %y[%offset, 0] [%count, 2880] [1, 1]
        : tensor<16384x2880xbf16> to tensor<?x2880xbf16>
    %rounded = linalg.generic {
        indexing_maps = [#all, #all],
        iterator_types = ["parallel", "parallel"]}
        ins(%down : tensor<?x2880xf32>) outs(%part : tensor<?x2880xbf16>) {
    ^bb0(%v: f32, %unused: bf16):
      %r = arith.truncf %v : f32 to bf16
      linalg.yield %r : bf16
    } -> tensor<?x2880xbf16>
    %next = tensor.insert_slice %rounded into %y[%offset, 0]
        [%count, 2880] [1, 1] : tensor<?x2880xbf16> into tensor<16384x2880xbf16>
    scf.yield %next : tensor<16384x2880xbf16>
  }

  %out = moe.combine %y.all, %send_row, %recv_src, %n_from topk(%idx)
      weights(%recv_w) on @ep
      {layout = #moe.layout<expert_major>, num_experts = 128 : i64}
      : (tensor<16384x2880xbf16>, tensor<1024x4xi32>, tensor<16384xi32>,
         tensor<4xi32>, tensor<1024x4xi32>, tensor<16384xf32>)
     -> tensor<1024x2880xbf16>
  return %out : tensor<1024x2880xbf16>
}
