// Collectives become as static as their operands.
//
// RUN: moe-opt %s --canonicalize | FileCheck %s

shard.grid @ep(shape = 4)

// What the cast of one operand says is spread to the others.
// CHECK-LABEL: func.func @dispatch_static_tokens
// CHECK-SAME: (%[[X:[a-z0-9_]+]]: tensor<16x4xf32>, %[[IDX:[a-z0-9_]+]]: tensor<?x2xi32>, %[[W:[a-z0-9_]+]]: tensor<?x2xf32>)
// CHECK-DAG: %[[STATIC_IDX:[a-z0-9_]+]] = tensor.cast %[[IDX]] : tensor<?x2xi32> to tensor<16x2xi32>
// CHECK-DAG: %[[STATIC_W:[a-z0-9_]+]] = tensor.cast %[[W]] : tensor<?x2xf32> to tensor<16x2xf32>
// CHECK: %recv_x, {{.*}}, %send_row = moe.dispatch %[[X]], %[[STATIC_IDX]], %[[STATIC_W]] on @ep
// CHECK-SAME: -> (tensor<64x4xf32>, {{.*}}, tensor<16x4xi32>)
// CHECK: %[[ROWS:[a-z0-9_]+]] = tensor.cast %send_row : tensor<16x4xi32> to tensor<?x4xi32>
// CHECK: return %recv_x, %[[ROWS]]
func.func @dispatch_static_tokens(
    %x: tensor<16x4xf32>, %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>)
    -> (tensor<64x4xf32>, tensor<?x4xi32>) {
  %tokens = tensor.cast %x : tensor<16x4xf32> to tensor<?x4xf32>
  %r:7 = moe.dispatch %tokens, %idx, %w on @ep {
      num_experts = 8 : i64, max_tokens = 16 : i64}
    : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
  return %r#0, %r#6 : tensor<64x4xf32>, tensor<?x4xi32>
}

// CHECK-LABEL: func.func @dispatch_static_tokens_of_topk_idx
// CHECK-SAME: (%[[X:[a-z0-9_]+]]: tensor<?x4xf32>, %[[IDX:[a-z0-9_]+]]: tensor<16x2xi32>,
// CHECK: %[[STATIC_X:[a-z0-9_]+]] = tensor.cast %[[X]] : tensor<?x4xf32> to tensor<16x4xf32>
// CHECK: moe.dispatch %[[STATIC_X]], %[[IDX]], %{{.*}} on @ep
func.func @dispatch_static_tokens_of_topk_idx(
    %x: tensor<?x4xf32>, %idx: tensor<16x2xi32>, %w: tensor<?x2xf32>)
    -> tensor<64x4xf32> {
  %ids = tensor.cast %idx : tensor<16x2xi32> to tensor<?x2xi32>
  %r:7 = moe.dispatch %x, %ids, %w on @ep {
      num_experts = 8 : i64, max_tokens = 16 : i64}
    : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
   -> (tensor<64x4xf32>, tensor<64x2xi32>, tensor<64x2xf32>, tensor<64xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
  return %r#0 : tensor<64x4xf32>
}

// CHECK-LABEL: func.func @dispatch_reuse_static_tokens
// CHECK-SAME: (%{{.*}}: tensor<?x4xf32>, %[[ROWS:[a-z0-9_]+]]: tensor<16x4xi32>)
// CHECK: moe.dispatch %{{.*}} reuse(%[[ROWS]]) on @ep {{.*}} : (tensor<16x4xf32>, tensor<16x4xi32>) ->
func.func @dispatch_reuse_static_tokens(%x: tensor<?x4xf32>,
                                        %rows: tensor<16x4xi32>)
    -> tensor<64x4xf32> {
  %send_row = tensor.cast %rows : tensor<16x4xi32> to tensor<?x4xi32>
  %r = moe.dispatch %x reuse(%send_row) on @ep {
      num_experts = 8 : i64, max_tokens = 16 : i64}
    : (tensor<?x4xf32>, tensor<?x4xi32>) -> tensor<64x4xf32>
  return %r : tensor<64x4xf32>
}

// The static number of tokens would become T_max and change the numbers of
// rows: it is left alone unless it is `max_tokens`.
// CHECK-LABEL: func.func @dispatch_tokens_below_max_tokens
// CHECK: moe.dispatch %{{.*}} : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> (tensor<128x4xf32>,
func.func @dispatch_tokens_below_max_tokens(
    %x: tensor<16x4xf32>, %idx: tensor<?x2xi32>, %w: tensor<?x2xf32>)
    -> tensor<128x4xf32> {
  %tokens = tensor.cast %x : tensor<16x4xf32> to tensor<?x4xf32>
  %r:7 = moe.dispatch %tokens, %idx, %w on @ep {
      num_experts = 8 : i64, max_tokens = 32 : i64}
    : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
   -> (tensor<128x4xf32>, tensor<128x2xi32>, tensor<128x2xf32>,
       tensor<128xi32>, tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
  return %r#0 : tensor<128x4xf32>
}

// An error at run time (dispatch_s11) stays one.
// CHECK-LABEL: func.func @dispatch_more_tokens_than_max_tokens
// CHECK: moe.dispatch %{{.*}} : (tensor<?x4xf32>, tensor<?x4xi32>) -> tensor<32x4xf32>
func.func @dispatch_more_tokens_than_max_tokens(%x: tensor<16x4xf32>,
                                                %rows: tensor<?x4xi32>)
    -> tensor<32x4xf32> {
  %tokens = tensor.cast %x : tensor<16x4xf32> to tensor<?x4xf32>
  %r = moe.dispatch %tokens reuse(%rows) on @ep {
      num_experts = 8 : i64, max_tokens = 8 : i64}
    : (tensor<?x4xf32>, tensor<?x4xi32>) -> tensor<32x4xf32>
  return %r : tensor<32x4xf32>
}

// A cast that says nothing about the tokens.
// CHECK-LABEL: func.func @dispatch_dynamic_tokens
// CHECK: moe.dispatch %{{.*}} : (tensor<?x4xf32>, tensor<?x4xi32>) -> tensor<32x4xf32>
func.func @dispatch_dynamic_tokens(%x: tensor<?x?xf32>,
                                   %rows: tensor<?x4xi32>)
    -> tensor<32x4xf32> {
  %tokens = tensor.cast %x : tensor<?x?xf32> to tensor<?x4xf32>
  %r = moe.dispatch %tokens reuse(%rows) on @ep {
      num_experts = 8 : i64, max_tokens = 8 : i64}
    : (tensor<?x4xf32>, tensor<?x4xi32>) -> tensor<32x4xf32>
  return %r : tensor<32x4xf32>
}

// CHECK-LABEL: func.func @combine_static_tokens
// CHECK-SAME: (%[[Y:[a-z0-9_]+]]: tensor<64x4xf32>, %[[ROWS:[a-z0-9_]+]]: tensor<16x4xi32>,
// CHECK: %out = moe.combine %[[Y]], %[[ROWS]], {{.*}} -> tensor<16x4xf32>
// CHECK: %[[OUT:[a-z0-9_]+]] = tensor.cast %out : tensor<16x4xf32> to tensor<?x4xf32>
// CHECK: return %[[OUT]]
func.func @combine_static_tokens(%y: tensor<64x4xf32>, %rows: tensor<16x4xi32>,
                                 %src: tensor<64xi32>, %n: tensor<4xi32>)
    -> tensor<?x4xf32> {
  %send_row = tensor.cast %rows : tensor<16x4xi32> to tensor<?x4xi32>
  %out = moe.combine %y, %send_row, %src, %n on @ep {
      num_experts = 8 : i64, max_tokens = 16 : i64}
    : (tensor<64x4xf32>, tensor<?x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<?x4xf32>
  return %out : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @combine_static_tokens_of_topk
// CHECK-SAME: %[[IDX:[a-z0-9]+]]: tensor<16x2xi32>)
// CHECK: %[[ROWS:[a-z0-9_]+]] = tensor.cast %{{.*}} : tensor<?x2xi32> to tensor<16x2xi32>
// CHECK: moe.combine %{{.*}}, %[[ROWS]], %{{.*}}, %{{.*}} topk(%[[IDX]]) {{.*}} -> tensor<16x4xf32>
func.func @combine_static_tokens_of_topk(
    %y: tensor<64x4xf32>, %rows: tensor<?x2xi32>, %src: tensor<64xi32>,
    %n: tensor<4xi32>, %idx: tensor<16x2xi32>) -> tensor<?x4xf32> {
  %topk = tensor.cast %idx : tensor<16x2xi32> to tensor<?x2xi32>
  %out = moe.combine %y, %rows, %src, %n topk(%topk) on @ep {
      num_experts = 8 : i64, max_tokens = 16 : i64,
      layout = #moe.layout<expert_major>}
    : (tensor<64x4xf32>, tensor<?x2xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<?x2xi32>) -> tensor<?x4xf32>
  return %out : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @combine_tokens_below_max_tokens
// CHECK: moe.combine {{.*}} -> tensor<?x4xf32>
func.func @combine_tokens_below_max_tokens(
    %y: tensor<64x4xf32>, %rows: tensor<16x4xi32>, %src: tensor<64xi32>,
    %n: tensor<4xi32>) -> tensor<?x4xf32> {
  %send_row = tensor.cast %rows : tensor<16x4xi32> to tensor<?x4xi32>
  %out = moe.combine %y, %send_row, %src, %n on @ep {
      num_experts = 8 : i64, max_tokens = 17 : i64}
    : (tensor<64x4xf32>, tensor<?x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<?x4xf32>
  return %out : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @alltoallv_static_rows
// CHECK-SAME: (%[[SEND:[a-z0-9_]+]]: tensor<16x4xf32>,
// CHECK: moe.alltoallv %[[SEND]], %{{.*}} on @ep : (tensor<16x4xf32>, tensor<4xi32>) -> (tensor<64x4xf32>, tensor<4xi32>)
func.func @alltoallv_static_rows(%send: tensor<16x4xf32>,
                                 %counts: tensor<4xi32>) -> tensor<64x4xf32> {
  %rows = tensor.cast %send : tensor<16x4xf32> to tensor<?x4xf32>
  %r:2 = moe.alltoallv %rows, %counts on @ep
    : (tensor<?x4xf32>, tensor<4xi32>) -> (tensor<64x4xf32>, tensor<4xi32>)
  return %r#0 : tensor<64x4xf32>
}

// CHECK-LABEL: func.func @alltoallv_dynamic_rows
// CHECK: moe.alltoallv %{{.*}}, %{{.*}} on @ep : (tensor<?x4xf32>, tensor<4xi32>)
func.func @alltoallv_dynamic_rows(%send: tensor<?x4xf32>,
                                  %counts: tensor<4xi32>) -> tensor<64x4xf32> {
  %r:2 = moe.alltoallv %send, %counts on @ep
    : (tensor<?x4xf32>, tensor<4xi32>) -> (tensor<64x4xf32>, tensor<4xi32>)
  return %r#0 : tensor<64x4xf32>
}
