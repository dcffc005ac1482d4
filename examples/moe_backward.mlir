// The communication of a Mixture-of-Experts layer's backward pass, on four ranks.
//
// The forward pass computed out[t] = sum over k of weight[t, k] * y[row of (t, k)]: a
// moe.combine with weights. Given the gradient of `out`, the backward pass needs
//
// - the gradient of the weights: weight[t, k] was a factor of one row, so its gradient is
//   the product of that row with the gradient of out[t]. `reduce = none` brings the rows
//   back without adding them up;
// - the gradient of y: weight times the gradient of the token that a row went back to. The
//   rows travel the way of the forward dispatch again (`reuse`). Groups are aligned to 8
//   rows, and the matrix product that gives the gradient of an expert's weights adds up
//   over whole groups, so that rows without a token have to be zero (`padding = zero`).

shard.grid @ep(shape = 4)

func.func @backward(%y: tensor<640x32xf32>, %recv_weights: tensor<640xf32>,
    %idx: tensor<?x2xi32>, %send_row: tensor<?x2xi32>, %recv_src: tensor<640xi32>,
    %n_from: tensor<4xi32>, %grad_out: tensor<?x32xf32>)
    -> (tensor<?x2xf32>, tensor<640x32xf32>) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %T = tensor.dim %grad_out, %c0 : tensor<?x32xf32>

  // The gradient of the weights.
  %rows = moe.combine %y, %send_row, %recv_src, %n_from topk(%idx) on @ep
      {layout = #moe.layout<expert_major>, num_experts = 16 : i64,
       max_tokens = 64 : i64, reduce = #moe.reduce<none>}
      : (tensor<640x32xf32>, tensor<?x2xi32>, tensor<640xi32>, tensor<4xi32>,
         tensor<?x2xi32>) -> tensor<?x2x32xf32>
  %sums.empty = tensor.empty(%T) : tensor<?x2xf32>
  %sums = linalg.fill ins(%zero : f32) outs(%sums.empty : tensor<?x2xf32>)
      -> tensor<?x2xf32>
  %grad_weights = linalg.generic {
      indexing_maps = [affine_map<(t, k, h) -> (t, k, h)>,
                       affine_map<(t, k, h) -> (t, h)>,
                       affine_map<(t, k, h) -> (t, k)>],
      iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%rows, %grad_out : tensor<?x2x32xf32>, tensor<?x32xf32>)
      outs(%sums : tensor<?x2xf32>) {
  ^bb0(%row: f32, %grad: f32, %sum: f32):
    %product = arith.mulf %row, %grad : f32
    %next = arith.addf %sum, %product : f32
    linalg.yield %next : f32
  } -> tensor<?x2xf32>

  // The gradient of y.
  %grad_rows = moe.dispatch %grad_out reuse(%send_row, %idx) on @ep
      {layout = #moe.layout<expert_major>, num_experts = 16 : i64,
       max_tokens = 64 : i64, alignment = 8 : i64, capacity = 640 : i64,
       padding = #moe.padding<zero>}
      : (tensor<?x32xf32>, tensor<?x2xi32>, tensor<?x2xi32>) -> tensor<640x32xf32>
  %grad_y.empty = tensor.empty() : tensor<640x32xf32>
  %grad_y = linalg.generic {
      indexing_maps = [affine_map<(r, h) -> (r, h)>, affine_map<(r, h) -> (r)>,
                       affine_map<(r, h) -> (r, h)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%grad_rows, %recv_weights : tensor<640x32xf32>, tensor<640xf32>)
      outs(%grad_y.empty : tensor<640x32xf32>) {
  ^bb0(%grad: f32, %weight: f32, %unused: f32):
    %product = arith.mulf %grad, %weight : f32
    linalg.yield %product : f32
  } -> tensor<640x32xf32>

  return %grad_weights, %grad_y : tensor<?x2xf32>, tensor<640x32xf32>
}

// The forward pass that it belongs to, without the experts: they take `recv_x` to `y`.
func.func @dispatch(%x: tensor<?x32xf32>, %idx: tensor<?x2xi32>,
    %weights: tensor<?x2xf32>)
    -> (tensor<640x32xf32>, tensor<640xf32>, tensor<640xi32>, tensor<4xi32>,
        tensor<?x2xi32>) {
  %recv_x, %recv_e, %recv_w, %recv_src, %n_to, %n_from, %send_row, %offsets,
  %counts = moe.dispatch %x, %idx, %weights on @ep
      {layout = #moe.layout<expert_major>, num_experts = 16 : i64,
       max_tokens = 64 : i64, alignment = 8 : i64, capacity = 640 : i64,
       padding = #moe.padding<zero>}
      : (tensor<?x32xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
     -> (tensor<640x32xf32>, tensor<640xi32>, tensor<640xf32>,
         tensor<640xi32>, tensor<4xi32>, tensor<4xi32>, tensor<?x2xi32>,
         tensor<4xi32>, tensor<4xi32>)
  return %recv_x, %recv_w, %recv_src, %n_from, %send_row
      : tensor<640x32xf32>, tensor<640xf32>, tensor<640xi32>, tensor<4xi32>,
        tensor<?x2xi32>
}

func.func @combine(%y: tensor<640x32xf32>, %recv_weights: tensor<640xf32>,
    %idx: tensor<?x2xi32>, %send_row: tensor<?x2xi32>, %recv_src: tensor<640xi32>,
    %n_from: tensor<4xi32>) -> tensor<?x32xf32> {
  %out = moe.combine %y, %send_row, %recv_src, %n_from topk(%idx)
      weights(%recv_weights) on @ep
      {layout = #moe.layout<expert_major>, num_experts = 16 : i64,
       max_tokens = 64 : i64}
      : (tensor<640x32xf32>, tensor<?x2xi32>, tensor<640xi32>, tensor<4xi32>,
         tensor<?x2xi32>, tensor<640xf32>) -> tensor<?x32xf32>
  return %out : tensor<?x32xf32>
}
