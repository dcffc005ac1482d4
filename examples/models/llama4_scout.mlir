// The MoE layer of Llama-4-Scout: 16 experts, top 1, hidden size 5120,
// expert width 8192, on 4 ranks of 512 tokens each.
//
// Top-1, so a sender's rows can arrive in the order of their experts: each run
// of rows of one expert is one product, and combine is a permutation. The
// weight scales the input of the expert. The shared expert is local to each
// rank and left out.
//
// Written by generate.py; edit that.

#row_k = affine_map<(m, k, n) -> (m, k)>
#k_col = affine_map<(m, k, n) -> (k, n)>
#row_col = affine_map<(m, k, n) -> (m, n)>
#all = affine_map<(t, c) -> (t, c)>
#token = affine_map<(t, c) -> (t)>

shard.grid @ep(shape = 4)

func.func @layer(
    %x: tensor<512x5120xbf16>,
    %idx: tensor<512x1xi32>,
    %weights: tensor<512x1xf32>,
    %w_gate: tensor<4x5120x8192xbf16>,
    %w_up: tensor<4x5120x8192xbf16>,
    %w_down: tensor<4x8192x5120xbf16>)
    -> tensor<512x5120xbf16> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %ranks = arith.constant 4 : index
  %local.i32 = arith.constant 4 : i32
  %false = arith.constant false

  %recv_x, %recv_e, %recv_w, %recv_src, %n_to, %n_from, %send_row =
    moe.dispatch %x, %idx, %weights on @ep
      {num_experts = 16 : i64, order = #moe.order<expert>}
      : (tensor<512x5120xbf16>, tensor<512x1xi32>, tensor<512x1xf32>)
     -> (tensor<2048x5120xbf16>, tensor<2048x1xi32>, tensor<2048x1xf32>,
         tensor<2048xi32>, tensor<4xi32>, tensor<4xi32>, tensor<512x4xi32>)

  %n = scf.for %s = %c0 to %ranks step %c1 iter_args(%sum = %c0) -> (index) {
    %from.i32 = tensor.extract %n_from[%s] : tensor<4xi32>
    %from = arith.index_cast %from.i32 : i32 to index
    %more = arith.addi %sum, %from : index
    scf.yield %more : index
  }
  // One product per run of rows of the same expert.
  %y.empty = tensor.empty() : tensor<2048x5120xbf16>
  %y.all, %end = scf.while (%y.in = %y.empty, %start.in = %c0)
      : (tensor<2048x5120xbf16>, index) -> (tensor<2048x5120xbf16>, index) {
    %more = arith.cmpi slt, %start.in, %n : index
    scf.condition(%more) %y.in, %start.in : tensor<2048x5120xbf16>, index
  } do {
  ^bb0(%y: tensor<2048x5120xbf16>, %start: index):
    %id = tensor.extract %recv_e[%start, %c0] : tensor<2048x1xi32>
    %second = arith.addi %start, %c1 : index
    %stop = scf.while (%r = %second) : (index) -> index {
      %inside = arith.cmpi slt, %r, %n : index
      %same = scf.if %inside -> (i1) {
        %other = tensor.extract %recv_e[%r, %c0] : tensor<2048x1xi32>
        %equal = arith.cmpi eq, %other, %id : i32
        scf.yield %equal : i1
      } else {
        scf.yield %false : i1
      }
      scf.condition(%same) %r : index
    } do {
    ^bb1(%r: index):
      %r.next = arith.addi %r, %c1 : index
      scf.yield %r.next : index
    }
    %count = arith.subi %stop, %start : index
    // The local number of an expert of this rank is its id mod 4.
    %j.i32 = arith.remsi %id, %local.i32 : i32
    %j = arith.index_cast %j.i32 : i32 to index
    %x.run = tensor.extract_slice %recv_x[%start, 0] [%count, 5120] [1, 1]
        : tensor<2048x5120xbf16> to tensor<?x5120xbf16>
    %w.run = tensor.extract_slice %recv_w[%start, 0] [%count, 1] [1, 1]
        : tensor<2048x1xf32> to tensor<?xf32>
    %group.empty = tensor.empty(%count) : tensor<?x5120xbf16>
    %group = linalg.generic {
        indexing_maps = [#all, #token, #all],
        iterator_types = ["parallel", "parallel"]}
        ins(%x.run, %w.run : tensor<?x5120xbf16>, tensor<?xf32>)
        outs(%group.empty : tensor<?x5120xbf16>) {
    ^bb0(%v: bf16, %w: f32, %unused: bf16):
      %v.f32 = arith.extf %v : bf16 to f32
      %p = arith.mulf %v.f32, %w : f32
      %r = arith.truncf %p : f32 to bf16
      linalg.yield %r : bf16
    } -> tensor<?x5120xbf16>
    %w_gate.j = tensor.extract_slice %w_gate[%j, 0, 0] [1, 5120, 8192]
        [1, 1, 1] : tensor<4x5120x8192xbf16> to tensor<5120x8192xbf16>
    %w_up.j = tensor.extract_slice %w_up[%j, 0, 0] [1, 5120, 8192]
        [1, 1, 1] : tensor<4x5120x8192xbf16> to tensor<5120x8192xbf16>
    %w_down.j = tensor.extract_slice %w_down[%j, 0, 0] [1, 8192, 5120]
        [1, 1, 1] : tensor<4x8192x5120xbf16> to tensor<8192x5120xbf16>
    %gate.empty = tensor.empty(%count) : tensor<?x8192xf32>
    %gate.init = linalg.fill ins(%zero : f32)
        outs(%gate.empty : tensor<?x8192xf32>) -> tensor<?x8192xf32>
    %gate = linalg.generic {
        indexing_maps = [#row_k, #k_col, #row_col],
        iterator_types = ["parallel", "reduction", "parallel"]}
        ins(%group, %w_gate.j
            : tensor<?x5120xbf16>, tensor<5120x8192xbf16>)
        outs(%gate.init : tensor<?x8192xf32>) {
    ^bb0(%a: bf16, %b: bf16, %acc: f32):
      %a.f32 = arith.extf %a : bf16 to f32
      %b.f32 = arith.extf %b : bf16 to f32
      %p = arith.mulf %a.f32, %b.f32 : f32
      %s = arith.addf %acc, %p : f32
      linalg.yield %s : f32
    } -> tensor<?x8192xf32>
    %up.empty = tensor.empty(%count) : tensor<?x8192xf32>
    %up.init = linalg.fill ins(%zero : f32)
        outs(%up.empty : tensor<?x8192xf32>) -> tensor<?x8192xf32>
    %up = linalg.generic {
        indexing_maps = [#row_k, #k_col, #row_col],
        iterator_types = ["parallel", "reduction", "parallel"]}
        ins(%group, %w_up.j
            : tensor<?x5120xbf16>, tensor<5120x8192xbf16>)
        outs(%up.init : tensor<?x8192xf32>) {
    ^bb0(%a: bf16, %b: bf16, %acc: f32):
      %a.f32 = arith.extf %a : bf16 to f32
      %b.f32 = arith.extf %b : bf16 to f32
      %p = arith.mulf %a.f32, %b.f32 : f32
      %s = arith.addf %acc, %p : f32
      linalg.yield %s : f32
    } -> tensor<?x8192xf32>
    %h.empty = tensor.empty(%count) : tensor<?x8192xbf16>
    %h = linalg.generic {
        indexing_maps = [#all, #all, #all],
        iterator_types = ["parallel", "parallel"]}
        ins(%gate, %up : tensor<?x8192xf32>, tensor<?x8192xf32>)
        outs(%h.empty : tensor<?x8192xbf16>) {
    ^bb0(%g: f32, %u: f32, %unused: bf16):
      %neg = arith.negf %g : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %one, %exp : f32
      %silu = arith.divf %g, %den : f32
      %h = arith.mulf %silu, %u : f32
      %h.bf16 = arith.truncf %h : f32 to bf16
      linalg.yield %h.bf16 : bf16
    } -> tensor<?x8192xbf16>
    %down.empty = tensor.empty(%count) : tensor<?x5120xf32>
    %down.init = linalg.fill ins(%zero : f32)
        outs(%down.empty : tensor<?x5120xf32>) -> tensor<?x5120xf32>
    %down = linalg.generic {
        indexing_maps = [#row_k, #k_col, #row_col],
        iterator_types = ["parallel", "reduction", "parallel"]}
        ins(%h, %w_down.j
            : tensor<?x8192xbf16>, tensor<8192x5120xbf16>)
        outs(%down.init : tensor<?x5120xf32>) {
    ^bb0(%a: bf16, %b: bf16, %acc: f32):
      %a.f32 = arith.extf %a : bf16 to f32
      %b.f32 = arith.extf %b : bf16 to f32
      %p = arith.mulf %a.f32, %b.f32 : f32
      %s = arith.addf %acc, %p : f32
      linalg.yield %s : f32
    } -> tensor<?x5120xf32>
    %part = tensor.extract_slice %y[%start, 0] [%count, 5120] [1, 1]
        : tensor<2048x5120xbf16> to tensor<?x5120xbf16>
    %rounded = linalg.generic {
        indexing_maps = [#all, #all],
        iterator_types = ["parallel", "parallel"]}
        ins(%down : tensor<?x5120xf32>) outs(%part : tensor<?x5120xbf16>) {
    ^bb0(%v: f32, %unused: bf16):
      %r = arith.truncf %v : f32 to bf16
      linalg.yield %r : bf16
    } -> tensor<?x5120xbf16>
    %next = tensor.insert_slice %rounded into %y[%start, 0]
        [%count, 5120] [1, 1] : tensor<?x5120xbf16> into tensor<2048x5120xbf16>
    scf.yield %next, %stop : tensor<2048x5120xbf16>, index
  }

  %out = moe.combine %y.all, %send_row, %recv_src, %n_from on @ep
      {num_experts = 16 : i64, order = #moe.order<expert>}
      : (tensor<2048x5120xbf16>, tensor<512x4xi32>, tensor<2048xi32>,
         tensor<4xi32>)
     -> tensor<512x5120xbf16>
  return %out : tensor<512x5120xbf16>
}
