// RUN: moe-opt %s --one-shot-bufferize='bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map' \
// RUN:   | FileCheck %s

shard.grid @ep(shape = 4)

// A buffer for each result, in the order of the results; the tokens of
// `send_row` are those of `x`. Operands are used as they are.
// CHECK-LABEL: func.func @dispatch
// CHECK-SAME: (%[[X:[a-z0-9_]+]]: memref<?x4xf8E4M3FN>, %[[IDX:[a-z0-9_]+]]: memref<?x2xi32>, %[[W:[a-z0-9_]+]]: memref<?x2xf32>, %[[S:[a-z0-9_]+]]: memref<?x1xf32>)
// CHECK-NOT: memref.copy
// CHECK: %[[T:[a-z0-9_]+]] = memref.dim %[[X]],
// CHECK: %[[RX:[a-z0-9_]+]] = memref.alloc() {{.*}} : memref<32x4xf8E4M3FN>
// CHECK: %[[RS:[a-z0-9_]+]] = memref.alloc() {{.*}} : memref<32x1xf32>
// CHECK: %[[RI:[a-z0-9_]+]] = memref.alloc() {{.*}} : memref<32x2xi32>
// CHECK: %[[RW:[a-z0-9_]+]] = memref.alloc() {{.*}} : memref<32x2xf32>
// CHECK: %[[SRC:[a-z0-9_]+]] = memref.alloc() {{.*}} : memref<32xi32>
// CHECK: %[[TO:[a-z0-9_]+]] = memref.alloc() {{.*}} : memref<4xi32>
// CHECK: %[[FROM:[a-z0-9_]+]] = memref.alloc() {{.*}} : memref<4xi32>
// CHECK: %[[ROWS:[a-z0-9_]+]] = memref.alloc(%[[T]]) {{.*}} : memref<?x4xi32>
// CHECK: moe.dispatch %[[X]], %[[IDX]], %[[W]] scales(%[[S]]) outs(%[[RX]], %[[RS]], %[[RI]], %[[RW]], %[[SRC]], %[[TO]], %[[FROM]], %[[ROWS]]) on @ep {max_tokens = 8 : i64, num_experts = 8 : i64} :
// CHECK-NOT: memref.copy
// CHECK: return %[[RX]], %[[ROWS]]
func.func @dispatch(%x: tensor<?x4xf8E4M3FN>, %idx: tensor<?x2xi32>,
                    %w: tensor<?x2xf32>, %s: tensor<?x1xf32>)
    -> (tensor<32x4xf8E4M3FN>, tensor<?x4xi32>) {
  %r:8 = moe.dispatch %x, %idx, %w scales(%s) on @ep {
      num_experts = 8 : i64, max_tokens = 8 : i64}
    : (tensor<?x4xf8E4M3FN>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x1xf32>)
   -> (tensor<32x4xf8E4M3FN>, tensor<32x1xf32>, tensor<32x2xi32>,
       tensor<32x2xf32>, tensor<32xi32>, tensor<4xi32>, tensor<4xi32>,
       tensor<?x4xi32>)
  return %r#0, %r#7 : tensor<32x4xf8E4M3FN>, tensor<?x4xi32>
}

// CHECK-LABEL: func.func @dispatch_expert_major
// CHECK-COUNT-9: memref.alloc()
// CHECK: moe.dispatch {{.*}} on @ep {alignment = 2 : i64, layout = #moe.layout<expert_major>, num_experts = 8 : i64, overflow = #moe.overflow<drop>} :
func.func @dispatch_expert_major(
    %x: tensor<8x4xf32>, %idx: tensor<8x1xi32>, %w: tensor<8x1xf32>)
    -> (tensor<2xi32>, tensor<2xi32>) {
  %r:9 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>,
      alignment = 2 : i64, overflow = #moe.overflow<drop>}
    : (tensor<8x4xf32>, tensor<8x1xi32>, tensor<8x1xf32>)
   -> (tensor<32x4xf32>, tensor<32xi32>, tensor<32xf32>, tensor<32xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<8x1xi32>, tensor<2xi32>,
       tensor<2xi32>)
  return %r#7, %r#8 : tensor<2xi32>, tensor<2xi32>
}

// CHECK-LABEL: func.func @dispatch_reuse
// CHECK-SAME: (%[[X:[a-z0-9_]+]]: memref<?x4xf32>, %[[ROWS:[a-z0-9_]+]]: memref<?x4xi32>)
// CHECK: %[[RX:[a-z0-9_]+]] = memref.alloc() {{.*}} : memref<32x4xf32>
// CHECK: moe.dispatch %[[X]] reuse(%[[ROWS]]) outs(%[[RX]]) on @ep
func.func @dispatch_reuse(%x: tensor<?x4xf32>, %rows: tensor<?x4xi32>)
    -> tensor<32x4xf32> {
  %r = moe.dispatch %x reuse(%rows) on @ep {
      num_experts = 8 : i64, max_tokens = 8 : i64}
    : (tensor<?x4xf32>, tensor<?x4xi32>) -> tensor<32x4xf32>
  return %r : tensor<32x4xf32>
}

// CHECK-LABEL: func.func @combine
// CHECK-SAME: (%[[Y:[a-z0-9_]+]]: memref<64x4xf32>, %[[ROWS:[a-z0-9_]+]]: memref<?x2xi32>, %[[SRC:[a-z0-9_]+]]: memref<64xi32>, %[[N:[a-z0-9_]+]]: memref<4xi32>, %[[IDX:[a-z0-9_]+]]: memref<?x2xi32>, %[[W:[a-z0-9_]+]]: memref<64xf32>)
// CHECK: %[[T:[a-z0-9_]+]] = memref.dim %[[ROWS]],
// CHECK: %[[OUT:[a-z0-9_]+]] = memref.alloc(%[[T]]) {{.*}} : memref<?x4xf32>
// CHECK: moe.combine %[[Y]], %[[ROWS]], %[[SRC]], %[[N]] topk(%[[IDX]]) weights(%[[W]]) outs(%[[OUT]]) on @ep {layout = #moe.layout<expert_major>, max_tokens = 16 : i64, num_experts = 8 : i64, other.hint = "kept"} :
// CHECK: return %[[OUT]]
func.func @combine(%y: tensor<64x4xf32>, %rows: tensor<?x2xi32>,
                   %src: tensor<64xi32>, %n: tensor<4xi32>,
                   %idx: tensor<?x2xi32>, %w: tensor<64xf32>)
    -> tensor<?x4xf32> {
  %out = moe.combine %y, %rows, %src, %n topk(%idx) weights(%w) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>,
      max_tokens = 16 : i64, other.hint = "kept"}
    : (tensor<64x4xf32>, tensor<?x2xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<?x2xi32>, tensor<64xf32>) -> tensor<?x4xf32>
  return %out : tensor<?x4xf32>
}

// What is received is a new buffer, which others write in place.
// CHECK-LABEL: func.func @alltoallv_result_is_written
// CHECK: %[[RECV:[a-z0-9_]+]] = memref.alloc() {{.*}} : memref<9x4xf32>
// CHECK: %[[COUNTS:[a-z0-9_]+]] = memref.alloc() {{.*}} : memref<4xi32>
// CHECK: moe.alltoallv %{{.*}}, %{{.*}} outs(%[[RECV]], %[[COUNTS]]) on @ep {overflow = #moe.overflow<drop>} :
// CHECK-NOT: memref.alloc
// CHECK: memref.store %{{.*}}, %[[RECV]]
// CHECK: return %[[RECV]], %[[COUNTS]]
func.func @alltoallv_result_is_written(%send: tensor<16x4xf32>,
                                       %n: tensor<4xi32>)
    -> (tensor<9x4xf32>, tensor<4xi32>) {
  %c0 = arith.constant 0 : index
  %value = arith.constant 1.0 : f32
  %r:2 = moe.alltoallv %send, %n on @ep {overflow = #moe.overflow<drop>}
    : (tensor<16x4xf32>, tensor<4xi32>) -> (tensor<9x4xf32>, tensor<4xi32>)
  %recv = tensor.insert %value into %r#0[%c0, %c0] : tensor<9x4xf32>
  return %recv, %r#1 : tensor<9x4xf32>, tensor<4xi32>
}

// The op reads what it sends: a write before it, of a value it does not see,
// goes to a copy.
// CHECK-LABEL: func.func @alltoallv_operand_is_read
// CHECK-SAME: (%[[SEND:[a-z0-9_]+]]: memref<16x4xf32>,
// CHECK: %[[COPY:[a-z0-9_]+]] = memref.alloc() {{.*}} : memref<16x4xf32>
// CHECK: memref.copy %[[SEND]], %[[COPY]]
// CHECK: memref.store %{{.*}}, %[[COPY]]
// CHECK: moe.alltoallv %[[SEND]],
func.func @alltoallv_operand_is_read(%send: tensor<16x4xf32>, %n: tensor<4xi32>)
    -> (tensor<9x4xf32>, tensor<16x4xf32>) {
  %c0 = arith.constant 0 : index
  %value = arith.constant 1.0 : f32
  %changed = tensor.insert %value into %send[%c0, %c0] : tensor<16x4xf32>
  %r:2 = moe.alltoallv %send, %n on @ep
    : (tensor<16x4xf32>, tensor<4xi32>) -> (tensor<9x4xf32>, tensor<4xi32>)
  return %r#0, %changed : tensor<9x4xf32>, tensor<16x4xf32>
}
