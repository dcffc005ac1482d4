// A Mixture-of-Experts layer on four ranks: router, dispatch, experts, combine.
//
// Each rank calls @layer with its own tokens and with the weights of the four
// experts it owns. Nothing here says how rows travel: moe.dispatch and
// moe.combine only state what arrives where (docs/Spec.md).
//
// The matrix products are written with the reduction in the middle, so that
// the innermost loop runs over contiguous columns and vectorizes.

#row_k = affine_map<(m, k, n) -> (m, k)>
#k_col = affine_map<(m, k, n) -> (k, n)>
#row_col = affine_map<(m, k, n) -> (m, n)>
#all = affine_map<(t, e) -> (t, e)>
#token = affine_map<(t, e) -> (t)>

shard.grid @ep(shape = 4)

// The two experts with the largest softmax probability of each token, and
// their probabilities scaled to a sum of 1. Of equal ones the lowest id wins.
func.func private @route(%x: tensor<?x128xf32>, %router: tensor<128x16xf32>)
    -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %lowest = arith.constant 0xFF800000 : f32
  %nobody = arith.constant -1 : i32
  %T = tensor.dim %x, %c0 : tensor<?x128xf32>

  // logits = x * router
  %logits.empty = tensor.empty(%T) : tensor<?x16xf32>
  %logits.zero = linalg.fill ins(%zero : f32)
      outs(%logits.empty : tensor<?x16xf32>) -> tensor<?x16xf32>
  %logits = linalg.generic {
      indexing_maps = [#row_k, #k_col, #row_col],
      iterator_types = ["parallel", "reduction", "parallel"]}
      ins(%x, %router : tensor<?x128xf32>, tensor<128x16xf32>)
      outs(%logits.zero : tensor<?x16xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  } -> tensor<?x16xf32>

  %probs.empty = tensor.empty(%T) : tensor<?x16xf32>
  %probs = linalg.softmax dimension(1) ins(%logits : tensor<?x16xf32>)
      outs(%probs.empty : tensor<?x16xf32>) -> tensor<?x16xf32>

  // Top-2 by two passes of "largest so far"; the second leaves out the winner
  // of the first. A token whose probabilities are NaN gets no expert.
  %best.empty = tensor.empty(%T) : tensor<?xf32>
  %who.empty = tensor.empty(%T) : tensor<?xi32>
  %best1.init = linalg.fill ins(%lowest : f32)
      outs(%best.empty : tensor<?xf32>) -> tensor<?xf32>
  %who1.init = linalg.fill ins(%nobody : i32)
      outs(%who.empty : tensor<?xi32>) -> tensor<?xi32>
  %p1, %e1 = linalg.generic {
      indexing_maps = [#all, #token, #token],
      iterator_types = ["parallel", "reduction"]}
      ins(%probs : tensor<?x16xf32>)
      outs(%best1.init, %who1.init : tensor<?xf32>, tensor<?xi32>) {
  ^bb0(%p: f32, %best: f32, %who: i32):
    %e = linalg.index 1 : index
    %id = arith.index_cast %e : index to i32
    %better = arith.cmpf ogt, %p, %best : f32
    %b = arith.select %better, %p, %best : f32
    %w = arith.select %better, %id, %who : i32
    linalg.yield %b, %w : f32, i32
  } -> (tensor<?xf32>, tensor<?xi32>)
  %best2.init = linalg.fill ins(%lowest : f32)
      outs(%best.empty : tensor<?xf32>) -> tensor<?xf32>
  %who2.init = linalg.fill ins(%nobody : i32)
      outs(%who.empty : tensor<?xi32>) -> tensor<?xi32>
  %p2, %e2 = linalg.generic {
      indexing_maps = [#all, #token, #token, #token],
      iterator_types = ["parallel", "reduction"]}
      ins(%probs, %e1 : tensor<?x16xf32>, tensor<?xi32>)
      outs(%best2.init, %who2.init : tensor<?xf32>, tensor<?xi32>) {
  ^bb0(%p: f32, %taken: i32, %best: f32, %who: i32):
    %e = linalg.index 1 : index
    %id = arith.index_cast %e : index to i32
    %larger = arith.cmpf ogt, %p, %best : f32
    %free = arith.cmpi ne, %id, %taken : i32
    %better = arith.andi %larger, %free : i1
    %b = arith.select %better, %p, %best : f32
    %w = arith.select %better, %id, %who : i32
    linalg.yield %b, %w : f32, i32
  } -> (tensor<?xf32>, tensor<?xi32>)

  // Column 0 is the best expert, column 1 the second.
  %idx.empty = tensor.empty(%T) : tensor<?x2xi32>
  %weights.empty = tensor.empty(%T) : tensor<?x2xf32>
  %idx, %weights = linalg.generic {
      indexing_maps = [#token, #token, #token, #token, #all, #all],
      iterator_types = ["parallel", "parallel"]}
      ins(%e1, %p1, %e2, %p2
          : tensor<?xi32>, tensor<?xf32>, tensor<?xi32>, tensor<?xf32>)
      outs(%idx.empty, %weights.empty : tensor<?x2xi32>, tensor<?x2xf32>) {
  ^bb0(%i1: i32, %v1: f32, %i2: i32, %v2: f32, %u1: i32, %u2: f32):
    %k = linalg.index 1 : index
    %first = arith.cmpi eq, %k, %c0 : index
    %i = arith.select %first, %i1, %i2 : i32
    %v = arith.select %first, %v1, %v2 : f32
    %both = arith.addf %v1, %v2 : f32
    %w = arith.divf %v, %both : f32
    linalg.yield %i, %w : i32, f32
  } -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return %idx, %weights : tensor<?x2xi32>, tensor<?x2xf32>
}

// The rows of each local expert through its two matrix products:
// y = silu(rows * w1) * w2. Rows between and after the groups stay unwritten.
func.func private @experts(%rows: tensor<2048x128xf32>,
    %offsets: tensor<4xi32>, %counts: tensor<4xi32>,
    %w1: tensor<4x128x192xf32>, %w2: tensor<4x192x128xf32>)
    -> tensor<2048x128xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %empty = tensor.empty() : tensor<2048x128xf32>
  %result = scf.for %j = %c0 to %c4 step %c1 iter_args(%y = %empty)
      -> (tensor<2048x128xf32>) {
    %offset.i32 = tensor.extract %offsets[%j] : tensor<4xi32>
    %count.i32 = tensor.extract %counts[%j] : tensor<4xi32>
    %offset = arith.index_cast %offset.i32 : i32 to index
    %count = arith.index_cast %count.i32 : i32 to index
    %group = tensor.extract_slice %rows[%offset, 0] [%count, 128] [1, 1]
        : tensor<2048x128xf32> to tensor<?x128xf32>
    %w1.j = tensor.extract_slice %w1[%j, 0, 0] [1, 128, 192] [1, 1, 1]
        : tensor<4x128x192xf32> to tensor<128x192xf32>
    %w2.j = tensor.extract_slice %w2[%j, 0, 0] [1, 192, 128] [1, 1, 1]
        : tensor<4x192x128xf32> to tensor<192x128xf32>

    %h.empty = tensor.empty(%count) : tensor<?x192xf32>
    %h.zero = linalg.fill ins(%zero : f32)
        outs(%h.empty : tensor<?x192xf32>) -> tensor<?x192xf32>
    %h = linalg.generic {
        indexing_maps = [#row_k, #k_col, #row_col],
        iterator_types = ["parallel", "reduction", "parallel"]}
        ins(%group, %w1.j : tensor<?x128xf32>, tensor<128x192xf32>)
        outs(%h.zero : tensor<?x192xf32>) {
    ^bb0(%a: f32, %b: f32, %acc: f32):
      %p = arith.mulf %a, %b : f32
      %s = arith.addf %acc, %p : f32
      linalg.yield %s : f32
    } -> tensor<?x192xf32>
    %act = linalg.generic {
        indexing_maps = [#all], iterator_types = ["parallel", "parallel"]}
        outs(%h : tensor<?x192xf32>) {
    ^bb0(%v: f32):
      %neg = arith.negf %v : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %one, %exp : f32
      %silu = arith.divf %v, %den : f32
      linalg.yield %silu : f32
    } -> tensor<?x192xf32>

    %out = tensor.extract_slice %y[%offset, 0] [%count, 128] [1, 1]
        : tensor<2048x128xf32> to tensor<?x128xf32>
    %out.zero = linalg.fill ins(%zero : f32)
        outs(%out : tensor<?x128xf32>) -> tensor<?x128xf32>
    %out.rows = linalg.generic {
        indexing_maps = [#row_k, #k_col, #row_col],
        iterator_types = ["parallel", "reduction", "parallel"]}
        ins(%act, %w2.j : tensor<?x192xf32>, tensor<192x128xf32>)
        outs(%out.zero : tensor<?x128xf32>) {
    ^bb0(%a: f32, %b: f32, %acc: f32):
      %p = arith.mulf %a, %b : f32
      %s = arith.addf %acc, %p : f32
      linalg.yield %s : f32
    } -> tensor<?x128xf32>
    %next = tensor.insert_slice %out.rows into %y[%offset, 0] [%count, 128]
        [1, 1] : tensor<?x128xf32> into tensor<2048x128xf32>
    scf.yield %next : tensor<2048x128xf32>
  }
  return %result : tensor<2048x128xf32>
}

// Returns the layer's output for this rank's tokens, and how the exchange
// went: rows of each local expert, rows sent to and received from each rank.
func.func @layer(%x: tensor<?x128xf32>, %router: tensor<128x16xf32>,
    %w1: tensor<4x128x192xf32>, %w2: tensor<4x192x128xf32>)
    -> (tensor<?x128xf32>, tensor<4xi32>, tensor<4xi32>, tensor<4xi32>) {
  %idx, %weights = call @route(%x, %router)
      : (tensor<?x128xf32>, tensor<128x16xf32>)
     -> (tensor<?x2xi32>, tensor<?x2xf32>)

  %recv_x, %recv_e, %recv_w, %recv_src, %n_to, %n_from, %send_row, %offsets,
  %counts = moe.dispatch %x, %idx, %weights on @ep
      {layout = #moe.layout<expert_major>, num_experts = 16 : i64,
       max_tokens = 256 : i64}
      : (tensor<?x128xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
     -> (tensor<2048x128xf32>, tensor<2048xi32>, tensor<2048xf32>,
         tensor<2048xi32>, tensor<4xi32>, tensor<4xi32>, tensor<?x2xi32>,
         tensor<4xi32>, tensor<4xi32>)

  %y = call @experts(%recv_x, %offsets, %counts, %w1, %w2)
      : (tensor<2048x128xf32>, tensor<4xi32>, tensor<4xi32>,
         tensor<4x128x192xf32>, tensor<4x192x128xf32>) -> tensor<2048x128xf32>

  %out = moe.combine %y, %send_row, %recv_src, %n_from topk(%idx)
      weights(%recv_w) on @ep
      {layout = #moe.layout<expert_major>, num_experts = 16 : i64,
       max_tokens = 256 : i64}
      : (tensor<2048x128xf32>, tensor<?x2xi32>, tensor<2048xi32>,
         tensor<4xi32>, tensor<?x2xi32>, tensor<2048xf32>) -> tensor<?x128xf32>

  return %out, %counts, %n_to, %n_from
      : tensor<?x128xf32>, tensor<4xi32>, tensor<4xi32>, tensor<4xi32>
}
