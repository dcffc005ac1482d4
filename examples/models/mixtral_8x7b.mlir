// The MoE layer of Mixtral-8x7B: 8 experts, top 2, hidden size 4096,
// expert width 14336, on 4 ranks of 512 tokens each.
//
// A token goes to each rank once, however many of its experts live there. The
// rank gathers the rows of one expert at a time, adds up the weighted results
// of a row's experts in f32, and sends one row back.
//
// Written by generate.py; edit that.

#row_k = affine_map<(m, k, n) -> (m, k)>
#k_col = affine_map<(m, k, n) -> (k, n)>
#row_col = affine_map<(m, k, n) -> (m, n)>
#all = affine_map<(t, c) -> (t, c)>
#id = affine_map<(c) -> (c)>

shard.grid @ep(shape = 4)

func.func @layer(
    %x: tensor<512x4096xbf16>,
    %idx: tensor<512x2xi32>,
    %weights: tensor<512x2xf32>,
    %w_gate: tensor<2x4096x14336xbf16>,
    %w_up: tensor<2x4096x14336xbf16>,
    %w_down: tensor<2x14336x4096xbf16>)
    -> tensor<512x4096xbf16> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %local = arith.constant 2 : index
  %ranks = arith.constant 4 : index
  %local.i32 = arith.constant 2 : i32
  %top = arith.constant 2 : index

  %recv_x, %recv_e, %recv_w, %recv_src, %n_to, %n_from, %send_row =
    moe.dispatch %x, %idx, %weights on @ep
      {num_experts = 8 : i64}
      : (tensor<512x4096xbf16>, tensor<512x2xi32>, tensor<512x2xf32>)
     -> (tensor<2048x4096xbf16>, tensor<2048x2xi32>, tensor<2048x2xf32>,
         tensor<2048xi32>, tensor<4xi32>, tensor<4xi32>, tensor<512x4xi32>)

  %n = scf.for %s = %c0 to %ranks step %c1 iter_args(%sum = %c0) -> (index) {
    %from.i32 = tensor.extract %n_from[%s] : tensor<4xi32>
    %from = arith.index_cast %from.i32 : i32 to index
    %more = arith.addi %sum, %from : index
    scf.yield %more : index
  }
  // The sum of each row's experts, one expert at a time.
  %sums.empty = tensor.empty() : tensor<2048x4096xf32>
  %sums.part = tensor.extract_slice %sums.empty[0, 0] [%n, 4096] [1, 1]
      : tensor<2048x4096xf32> to tensor<?x4096xf32>
  %sums.filled = linalg.fill ins(%zero : f32)
      outs(%sums.part : tensor<?x4096xf32>) -> tensor<?x4096xf32>
  %sums.zero = tensor.insert_slice %sums.filled into %sums.empty[0, 0]
      [%n, 4096] [1, 1] : tensor<?x4096xf32> into tensor<2048x4096xf32>
  %list.empty = tensor.empty() : tensor<2048xi32>
  %scale.empty = tensor.empty() : tensor<2048xf32>
  %sums.all = scf.for %j = %c0 to %local step %c1 iter_args(%sums = %sums.zero)
      -> (tensor<2048x4096xf32>) {
    // The rows of expert j and their weights. An expert of this rank has the
    // local number id mod 2; experts of other ranks have the id -1.
    %j.i32 = arith.index_cast %j : index to i32
    %list, %scale, %count = scf.for %r = %c0 to %n step %c1
        iter_args(%l = %list.empty, %v = %scale.empty, %i = %c0)
        -> (tensor<2048xi32>, tensor<2048xf32>, index) {
      %l.k, %v.k, %i.k = scf.for %k = %c0 to %top step %c1
          iter_args(%l1 = %l, %v1 = %v, %i1 = %i)
          -> (tensor<2048xi32>, tensor<2048xf32>, index) {
        %id = tensor.extract %recv_e[%r, %k] : tensor<2048x2xi32>
        %number = arith.remsi %id, %local.i32 : i32
        %mine = arith.cmpi eq, %number, %j.i32 : i32
        %l2, %v2, %i2 = scf.if %mine
            -> (tensor<2048xi32>, tensor<2048xf32>, index) {
          %r.i32 = arith.index_cast %r : index to i32
          %w = tensor.extract %recv_w[%r, %k] : tensor<2048x2xf32>
          %l3 = tensor.insert %r.i32 into %l1[%i1] : tensor<2048xi32>
          %v3 = tensor.insert %w into %v1[%i1] : tensor<2048xf32>
          %i3 = arith.addi %i1, %c1 : index
          scf.yield %l3, %v3, %i3 : tensor<2048xi32>, tensor<2048xf32>, index
        } else {
          scf.yield %l1, %v1, %i1 : tensor<2048xi32>, tensor<2048xf32>, index
        }
        scf.yield %l2, %v2, %i2 : tensor<2048xi32>, tensor<2048xf32>, index
      }
      scf.yield %l.k, %v.k, %i.k : tensor<2048xi32>, tensor<2048xf32>, index
    }
    %group.empty = tensor.empty(%count) : tensor<?x4096xbf16>
    %group = scf.for %i = %c0 to %count step %c1 iter_args(%g = %group.empty)
        -> (tensor<?x4096xbf16>) {
      %r.i32 = tensor.extract %list[%i] : tensor<2048xi32>
      %r = arith.index_cast %r.i32 : i32 to index
      %x.row = tensor.extract_slice %recv_x[%r, 0] [1, 4096] [1, 1]
          : tensor<2048x4096xbf16> to tensor<4096xbf16>
      %g.next = tensor.insert_slice %x.row into %g[%i, 0] [1, 4096] [1, 1]
          : tensor<4096xbf16> into tensor<?x4096xbf16>
      scf.yield %g.next : tensor<?x4096xbf16>
    }
    %w_gate.j = tensor.extract_slice %w_gate[%j, 0, 0] [1, 4096, 14336]
        [1, 1, 1] : tensor<2x4096x14336xbf16> to tensor<4096x14336xbf16>
    %w_up.j = tensor.extract_slice %w_up[%j, 0, 0] [1, 4096, 14336]
        [1, 1, 1] : tensor<2x4096x14336xbf16> to tensor<4096x14336xbf16>
    %w_down.j = tensor.extract_slice %w_down[%j, 0, 0] [1, 14336, 4096]
        [1, 1, 1] : tensor<2x14336x4096xbf16> to tensor<14336x4096xbf16>
    %gate.empty = tensor.empty(%count) : tensor<?x14336xf32>
    %gate.init = linalg.fill ins(%zero : f32)
        outs(%gate.empty : tensor<?x14336xf32>) -> tensor<?x14336xf32>
    %gate = linalg.generic {
        indexing_maps = [#row_k, #k_col, #row_col],
        iterator_types = ["parallel", "reduction", "parallel"]}
        ins(%group, %w_gate.j
            : tensor<?x4096xbf16>, tensor<4096x14336xbf16>)
        outs(%gate.init : tensor<?x14336xf32>) {
    ^bb0(%a: bf16, %b: bf16, %acc: f32):
      %a.f32 = arith.extf %a : bf16 to f32
      %b.f32 = arith.extf %b : bf16 to f32
      %p = arith.mulf %a.f32, %b.f32 : f32
      %s = arith.addf %acc, %p : f32
      linalg.yield %s : f32
    } -> tensor<?x14336xf32>
    %up.empty = tensor.empty(%count) : tensor<?x14336xf32>
    %up.init = linalg.fill ins(%zero : f32)
        outs(%up.empty : tensor<?x14336xf32>) -> tensor<?x14336xf32>
    %up = linalg.generic {
        indexing_maps = [#row_k, #k_col, #row_col],
        iterator_types = ["parallel", "reduction", "parallel"]}
        ins(%group, %w_up.j
            : tensor<?x4096xbf16>, tensor<4096x14336xbf16>)
        outs(%up.init : tensor<?x14336xf32>) {
    ^bb0(%a: bf16, %b: bf16, %acc: f32):
      %a.f32 = arith.extf %a : bf16 to f32
      %b.f32 = arith.extf %b : bf16 to f32
      %p = arith.mulf %a.f32, %b.f32 : f32
      %s = arith.addf %acc, %p : f32
      linalg.yield %s : f32
    } -> tensor<?x14336xf32>
    %h.empty = tensor.empty(%count) : tensor<?x14336xbf16>
    %h = linalg.generic {
        indexing_maps = [#all, #all, #all],
        iterator_types = ["parallel", "parallel"]}
        ins(%gate, %up : tensor<?x14336xf32>, tensor<?x14336xf32>)
        outs(%h.empty : tensor<?x14336xbf16>) {
    ^bb0(%g: f32, %u: f32, %unused: bf16):
      %neg = arith.negf %g : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %one, %exp : f32
      %silu = arith.divf %g, %den : f32
      %h = arith.mulf %silu, %u : f32
      %h.bf16 = arith.truncf %h : f32 to bf16
      linalg.yield %h.bf16 : bf16
    } -> tensor<?x14336xbf16>
    %down.empty = tensor.empty(%count) : tensor<?x4096xf32>
    %down.init = linalg.fill ins(%zero : f32)
        outs(%down.empty : tensor<?x4096xf32>) -> tensor<?x4096xf32>
    %down = linalg.generic {
        indexing_maps = [#row_k, #k_col, #row_col],
        iterator_types = ["parallel", "reduction", "parallel"]}
        ins(%h, %w_down.j
            : tensor<?x14336xbf16>, tensor<14336x4096xbf16>)
        outs(%down.init : tensor<?x4096xf32>) {
    ^bb0(%a: bf16, %b: bf16, %acc: f32):
      %a.f32 = arith.extf %a : bf16 to f32
      %b.f32 = arith.extf %b : bf16 to f32
      %p = arith.mulf %a.f32, %b.f32 : f32
      %s = arith.addf %acc, %p : f32
      linalg.yield %s : f32
    } -> tensor<?x4096xf32>
    %sums.next = scf.for %i = %c0 to %count step %c1 iter_args(%a = %sums)
        -> (tensor<2048x4096xf32>) {
      %r.i32 = tensor.extract %list[%i] : tensor<2048xi32>
      %r = arith.index_cast %r.i32 : i32 to index
      %w = tensor.extract %scale[%i] : tensor<2048xf32>
      %d.row = tensor.extract_slice %down[%i, 0] [1, 4096] [1, 1]
          : tensor<?x4096xf32> to tensor<4096xf32>
      %a.row = tensor.extract_slice %a[%r, 0] [1, 4096] [1, 1]
          : tensor<2048x4096xf32> to tensor<4096xf32>
      %added = linalg.generic {
          indexing_maps = [#id, #id], iterator_types = ["parallel"]}
          ins(%d.row : tensor<4096xf32>) outs(%a.row : tensor<4096xf32>) {
      ^bb0(%d: f32, %acc: f32):
        %p = arith.mulf %w, %d : f32
        %s = arith.addf %acc, %p : f32
        linalg.yield %s : f32
      } -> tensor<4096xf32>
      %a.next = tensor.insert_slice %added into %a[%r, 0] [1, 4096] [1, 1]
          : tensor<4096xf32> into tensor<2048x4096xf32>
      scf.yield %a.next : tensor<2048x4096xf32>
    }
    scf.yield %sums.next : tensor<2048x4096xf32>
  }
  %y.empty = tensor.empty() : tensor<2048x4096xbf16>
  %y.all = scf.for %r = %c0 to %n step %c1 iter_args(%y = %y.empty)
      -> (tensor<2048x4096xbf16>) {
    %sum.row = tensor.extract_slice %sums.all[%r, 0] [1, 4096] [1, 1]
        : tensor<2048x4096xf32> to tensor<4096xf32>
    %y.row = tensor.extract_slice %y[%r, 0] [1, 4096] [1, 1]
        : tensor<2048x4096xbf16> to tensor<4096xbf16>
    %rounded = linalg.generic {
        indexing_maps = [#id, #id], iterator_types = ["parallel"]}
        ins(%sum.row : tensor<4096xf32>) outs(%y.row : tensor<4096xbf16>) {
    ^bb0(%v: f32, %unused: bf16):
      %v.bf16 = arith.truncf %v : f32 to bf16
      linalg.yield %v.bf16 : bf16
    } -> tensor<4096xbf16>
    %y.next = tensor.insert_slice %rounded into %y[%r, 0] [1, 4096] [1, 1]
        : tensor<4096xbf16> into tensor<2048x4096xbf16>
    scf.yield %y.next : tensor<2048x4096xbf16>
  }

  %out = moe.combine %y.all, %send_row, %recv_src, %n_from on @ep
      {num_experts = 8 : i64}
      : (tensor<2048x4096xbf16>, tensor<512x4xi32>, tensor<2048xi32>,
         tensor<4xi32>)
     -> tensor<512x4096xbf16>
  return %out : tensor<512x4096xbf16>
}
