"""Modules that the tests compile, and what cuda_scenes.py does with the first of them;
what tables_scenes.py does.
"""

CUDA_SCENES = [
    "describe",
    "host_arrays",
    "launches_into",
    "packed",
    "replayed_graph",
    "work_of_a_call",
    "graph_of_a_closed_group",
    "refusals",
    "failed_check",
    "plan_is_built_for_the_gpu",
    "torch_tensors",
]

TABLES_SCENES = [
    "described",
    "host_arrays",
    "launches",
    "packed",
    "refusals",
    "torch_tensors",
]

EXCHANGE = """
shard.grid @ep(shape = 3)
func.func @exchange(%x: tensor<?x4xf32>, %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>)
    -> (tensor<?x4xf32>, tensor<3xi32>) {
  %recv_x, %recv_idx, %recv_w, %src, %to, %from, %send_row =
    moe.dispatch %x, %idx, %w on @ep {num_experts = 6 : i64, max_tokens = 8 : i64}
      : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
     -> (tensor<24x4xf32>, tensor<24x2xi32>, tensor<24x2xf32>, tensor<24xi32>, tensor<3xi32>,
         tensor<3xi32>, tensor<?x3xi32>)
  %out = moe.combine %recv_x, %send_row, %src, %from on @ep
      {num_experts = 6 : i64, max_tokens = 8 : i64}
      : (tensor<24x4xf32>, tensor<?x3xi32>, tensor<24xi32>, tensor<3xi32>) -> tensor<?x4xf32>
  return %out, %from : tensor<?x4xf32>, tensor<3xi32>
}
func.func @receive(%x: tensor<?x4xf32>, %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>)
    -> (tensor<24x4xf32> {moe.symmetric}, tensor<3xi32>) {
  %recv_x, %recv_idx, %recv_w, %src, %to, %from, %send_row =
    moe.dispatch %x, %idx, %w on @ep {num_experts = 6 : i64, max_tokens = 8 : i64}
      : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
     -> (tensor<24x4xf32>, tensor<24x2xi32>, tensor<24x2xf32>, tensor<24xi32>, tensor<3xi32>,
         tensor<3xi32>, tensor<?x3xi32>)
  return %recv_x, %from : tensor<24x4xf32>, tensor<3xi32>
}
func.func @dispatch(%x: tensor<?x4xf32>, %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>)
    -> (tensor<24x4xf32>, tensor<24x2xi32>, tensor<24x2xf32>, tensor<24xi32>, tensor<3xi32>,
        tensor<3xi32>, tensor<?x3xi32>) {
  %recv_x, %recv_idx, %recv_w, %src, %to, %from, %send_row =
    moe.dispatch %x, %idx, %w on @ep {num_experts = 6 : i64, max_tokens = 8 : i64}
      : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
     -> (tensor<24x4xf32>, tensor<24x2xi32>, tensor<24x2xf32>, tensor<24xi32>, tensor<3xi32>,
         tensor<3xi32>, tensor<?x3xi32>)
  return %recv_x, %recv_idx, %recv_w, %src, %to, %from, %send_row
    : tensor<24x4xf32>, tensor<24x2xi32>, tensor<24x2xf32>, tensor<24xi32>, tensor<3xi32>,
      tensor<3xi32>, tensor<?x3xi32>
}
"""

LOCAL = """
func.func @scale(%x: tensor<?x4xf32>, %by: tensor<f32>) -> tensor<?x4xf32> {
  %c0 = arith.constant 0 : index
  %T = tensor.dim %x, %c0 : tensor<?x4xf32>
  %empty = tensor.empty(%T) : tensor<?x4xf32>
  %y = linalg.generic {
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> ()>,
                       affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%x, %by : tensor<?x4xf32>, tensor<f32>) outs(%empty : tensor<?x4xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %p = arith.mulf %a, %b : f32
    linalg.yield %p : f32
  } -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
"""
