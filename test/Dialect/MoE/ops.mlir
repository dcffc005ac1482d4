// The tensor form of every op, printed and read again.
//
// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s
// RUN: moe-opt %s --emit-bytecode | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | FileCheck %s --check-prefix=GENERIC

// CHECK: shard.grid @ep(shape = 4)
shard.grid @ep(shape = 4)

//===----------------------------------------------------------------------===//
// moe.dispatch
//===----------------------------------------------------------------------===//

// Results are named; attributes that have their default are not printed.
// CHECK-LABEL: func.func @dispatch_rank_major
// CHECK-SAME: (%[[X:[a-z0-9_]+]]: tensor<128x64xbf16>, %[[IDX:[a-z0-9_]+]]: tensor<128x2xi32>, %[[W:[a-z0-9_]+]]: tensor<128x2xf32>)
// CHECK: %recv_x, %recv_topk_idx, %recv_topk_weights, %recv_src_idx, %n_tokens_to_rank, %n_tokens_from_rank, %send_row = moe.dispatch %[[X]], %[[IDX]], %[[W]] on @ep {num_experts = 8 : i64} :
// CHECK-SAME: (tensor<128x64xbf16>, tensor<128x2xi32>, tensor<128x2xf32>) -> (tensor<512x64xbf16>, tensor<512x2xi32>, tensor<512x2xf32>, tensor<512xi32>, tensor<4xi32>, tensor<4xi32>, tensor<128x4xi32>)
// CHECK: return %recv_x

// GENERIC-LABEL: sym_name = "dispatch_rank_major"
// GENERIC: "moe.dispatch"({{.*}}) <{alignment = 1 : i64, grid = @ep, layout = #moe.layout<rank_major>, num_experts = 8 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0, 0>, order = #moe.order<token>, overflow = #moe.overflow<error>, padding = #moe.padding<none>}> : (tensor<128x64xbf16>, tensor<128x2xi32>, tensor<128x2xf32>) ->
func.func @dispatch_rank_major(%x: tensor<128x64xbf16>,
                               %idx: tensor<128x2xi32>,
                               %w: tensor<128x2xf32>) -> tensor<512x64xbf16> {
  %r:7 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 8 : i64, alignment = 1 : i64,
      layout = #moe.layout<rank_major>, order = #moe.order<token>,
      overflow = #moe.overflow<error>}
    : (tensor<128x64xbf16>, tensor<128x2xi32>, tensor<128x2xf32>)
   -> (tensor<512x64xbf16>, tensor<512x2xi32>, tensor<512x2xf32>,
       tensor<512xi32>, tensor<4xi32>, tensor<4xi32>, tensor<128x4xi32>)
  return %r#0 : tensor<512x64xbf16>
}

// CHECK-LABEL: func.func @dispatch_order_expert
// CHECK: moe.dispatch %{{.*}}, %{{.*}}, %{{.*}} on @ep {num_experts = 8 : i64, order = #moe.order<expert>} :
func.func @dispatch_order_expert(%x: tensor<16x4xf16>, %idx: tensor<16x1xi64>,
                                 %w: tensor<16x1xf32>) {
  %r:7 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 8 : i64, order = #moe.order<expert>}
    : (tensor<16x4xf16>, tensor<16x1xi64>, tensor<16x1xf32>)
   -> (tensor<64x4xf16>, tensor<64x1xi64>, tensor<64x1xf32>,
       tensor<64xi32>, tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// The default capacity is R * T_max * min(K, EL): 4 * 16 * 2 rows
// (dispatch_s8); two more results.
// CHECK-LABEL: func.func @dispatch_expert_major
// CHECK: %recv_x, %recv_topk_idx, %recv_topk_weights, %recv_src_idx, %n_tokens_to_rank, %n_tokens_from_rank, %send_row, %expert_offsets, %expert_counts = moe.dispatch
// CHECK-SAME: on @ep {alignment = 16 : i64, layout = #moe.layout<expert_major>, num_experts = 6 : i64} :
// CHECK-SAME: -> (tensor<128x4xf32>, tensor<128xi32>, tensor<128xf32>, tensor<128xi32>, tensor<4xi32>, tensor<4xi32>, tensor<16x3xi32>, tensor<2xi32>, tensor<2xi32>)
func.func @dispatch_expert_major(%x: tensor<16x4xf32>, %idx: tensor<16x3xi32>,
                                 %w: tensor<16x3xf32>) {
  %r:9 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 6 : i64, layout = #moe.layout<expert_major>,
      alignment = 16 : i64}
    : (tensor<16x4xf32>, tensor<16x3xi32>, tensor<16x3xf32>)
   -> (tensor<128x4xf32>, tensor<128xi32>, tensor<128xf32>, tensor<128xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x3xi32>, tensor<2xi32>,
       tensor<2xi32>)
  return
}

// CHECK-LABEL: func.func @dispatch_slab
// CHECK: moe.dispatch %{{.*}} on @ep {layout = #moe.layout<slab>, max_tokens = 32 : i64, num_experts = 8 : i64} :
// CHECK-SAME: -> (tensor<128x4xf32>, tensor<128x2xi32>, tensor<128x2xf32>, tensor<128xi32>, tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
func.func @dispatch_slab(%x: tensor<?x4xf32>, %idx: tensor<?x2xi32>,
                         %w: tensor<?x2xf32>) {
  %r:7 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 8 : i64, layout = #moe.layout<slab>, max_tokens = 32 : i64}
    : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
   -> (tensor<128x4xf32>, tensor<128x2xi32>, tensor<128x2xf32>,
       tensor<128xi32>, tensor<4xi32>, tensor<4xi32>, tensor<?x4xi32>)
  return
}

// CHECK-LABEL: func.func @dispatch_capacity_drop
// CHECK: moe.dispatch %{{.*}} on @ep {capacity = 7 : i64, max_tokens = 16 : i64, num_experts = 1 : i64, overflow = #moe.overflow<drop>} :
func.func @dispatch_capacity_drop(%x: tensor<16x1xi8>, %idx: tensor<16x32xi32>,
                                  %w: tensor<16x32xf32>) {
  %r:7 = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 1 : i64, capacity = 7 : i64, max_tokens = 16 : i64,
      overflow = #moe.overflow<drop>}
    : (tensor<16x1xi8>, tensor<16x32xi32>, tensor<16x32xf32>)
   -> (tensor<7x1xi8>, tensor<7x32xi32>, tensor<7x32xf32>,
       tensor<7xi32>, tensor<4xi32>, tensor<4xi32>, tensor<16x4xi32>)
  return
}

// CHECK-LABEL: func.func @dispatch_scales
// CHECK: %recv_x, %recv_scales, %recv_topk_idx, {{.*}} = moe.dispatch %{{.*}}, %{{.*}}, %{{.*}} scales(%{{.*}}) on @ep {num_experts = 8 : i64} : (tensor<16x256xf8E4M3FN>, tensor<16x2xi32>, tensor<16x2xf32>, tensor<16x2xf32>) -> (tensor<64x256xf8E4M3FN>, tensor<64x2xf32>,
func.func @dispatch_scales(%x: tensor<16x256xf8E4M3FN>,
                           %idx: tensor<16x2xi32>, %w: tensor<16x2xf32>,
                           %s: tensor<16x2xf32>) {
  %r:8 = moe.dispatch %x, %idx, %w scales(%s) on @ep {num_experts = 8 : i64}
    : (tensor<16x256xf8E4M3FN>, tensor<16x2xi32>, tensor<16x2xf32>,
       tensor<16x2xf32>)
   -> (tensor<64x256xf8E4M3FN>, tensor<64x2xf32>, tensor<64x2xi32>,
       tensor<64x2xf32>, tensor<64xi32>, tensor<4xi32>, tensor<4xi32>,
       tensor<16x4xi32>)
  return
}

// CHECK-LABEL: func.func @dispatch_reuse
// CHECK: %recv_x = moe.dispatch %{{.*}} reuse(%{{.*}}) on @ep {num_experts = 8 : i64} : (tensor<16x4xf32>, tensor<16x4xi32>) -> tensor<64x4xf32>
// CHECK: %recv_x_0 = moe.dispatch %{{.*}} reuse(%{{.*}}) on @ep {layout = #moe.layout<slab>, num_experts = 8 : i64} :
// CHECK: %recv_x_1 = moe.dispatch %{{.*}} reuse(%{{.*}}) on @ep {num_experts = 8 : i64, order = #moe.order<expert>} :
func.func @dispatch_reuse(%x: tensor<16x4xf32>, %rows: tensor<16x4xi32>) {
  %r = moe.dispatch %x reuse(%rows) on @ep {num_experts = 8 : i64}
    : (tensor<16x4xf32>, tensor<16x4xi32>) -> tensor<64x4xf32>
  %s = moe.dispatch %x reuse(%rows) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<slab>}
    : (tensor<16x4xf32>, tensor<16x4xi32>) -> tensor<64x4xf32>
  %t = moe.dispatch %x reuse(%rows) on @ep {
      num_experts = 8 : i64, order = #moe.order<expert>}
    : (tensor<16x4xf32>, tensor<16x4xi32>) -> tensor<64x4xf32>
  return
}

// CHECK-LABEL: func.func @dispatch_reuse_expert_major
// CHECK: %recv_x, %recv_scales = moe.dispatch %{{.*}} scales(%{{.*}}) reuse(%{{.*}}, %{{.*}}) on @ep {capacity = 40 : i64, layout = #moe.layout<expert_major>, max_tokens = 9 : i64, num_experts = 8 : i64} : (tensor<?x8xf8E5M2>, tensor<?x1xi8>, tensor<?x2xi32>, tensor<?x2xi64>) -> (tensor<40x8xf8E5M2>, tensor<40x1xi8>)
func.func @dispatch_reuse_expert_major(
    %x: tensor<?x8xf8E5M2>, %s: tensor<?x1xi8>, %rows: tensor<?x2xi32>,
    %idx: tensor<?x2xi64>) {
  %r:2 = moe.dispatch %x scales(%s) reuse(%rows, %idx) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>,
      capacity = 40 : i64, max_tokens = 9 : i64}
    : (tensor<?x8xf8E5M2>, tensor<?x1xi8>, tensor<?x2xi32>, tensor<?x2xi64>)
   -> (tensor<40x8xf8E5M2>, tensor<40x1xi8>)
  return
}

// No token at all, on any rank (empty_s1), is no special case.
// CHECK-LABEL: func.func @dispatch_no_tokens
// CHECK: moe.dispatch {{.*}} -> (tensor<0x4xf32>, tensor<0x2xi32>,
func.func @dispatch_no_tokens(%x: tensor<0x4xf32>, %idx: tensor<0x2xi32>,
                              %w: tensor<0x2xf32>) {
  %r:7 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64}
    : (tensor<0x4xf32>, tensor<0x2xi32>, tensor<0x2xf32>)
   -> (tensor<0x4xf32>, tensor<0x2xi32>, tensor<0x2xf32>,
       tensor<0xi32>, tensor<4xi32>, tensor<4xi32>, tensor<0x4xi32>)
  return
}

// CHECK-LABEL: func.func @dispatch_expand
// CHECK: moe.dispatch %{{.*}}, %{{.*}}, %{{.*}} on @ep {algorithm = #moe.dispatch_algorithm<expand>, layout = #moe.layout<expert_major>, num_experts = 8 : i64}
// CHECK: moe.dispatch %{{.*}} reuse(%{{.*}}, %{{.*}}) on @ep {algorithm = #moe.dispatch_algorithm<direct>, layout = #moe.layout<expert_major>, num_experts = 8 : i64}
func.func @dispatch_expand(%x: tensor<16x4xf32>, %idx: tensor<16x2xi32>,
                           %w: tensor<16x2xf32>) {
  %r:9 = moe.dispatch %x, %idx, %w on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>,
      algorithm = #moe.dispatch_algorithm<expand>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xf32>)
   -> (tensor<128x4xf32>, tensor<128xi32>, tensor<128xf32>, tensor<128xi32>,
       tensor<4xi32>, tensor<4xi32>, tensor<16x2xi32>, tensor<2xi32>,
       tensor<2xi32>)
  %again = moe.dispatch %x reuse(%r#6, %idx) on @ep {num_experts = 8 : i64,
      layout = #moe.layout<expert_major>,
      algorithm = #moe.dispatch_algorithm<direct>}
    : (tensor<16x4xf32>, tensor<16x2xi32>, tensor<16x2xi32>)
   -> tensor<128x4xf32>
  return
}

//===----------------------------------------------------------------------===//
// moe.combine
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func.func @combine
// CHECK-SAME: (%[[Y:[a-z0-9_]+]]: tensor<64x4xbf16>, %[[ROWS:[a-z0-9_]+]]: tensor<16x4xi32>, %[[SRC:[a-z0-9_]+]]: tensor<64xi32>, %[[N:[a-z0-9_]+]]: tensor<4xi32>)
// CHECK: %out = moe.combine %[[Y]], %[[ROWS]], %[[SRC]], %[[N]] on @ep {num_experts = 8 : i64} : (tensor<64x4xbf16>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>) -> tensor<16x4xbf16>
// CHECK: return %out

// GENERIC-LABEL: sym_name = "combine"
// GENERIC: "moe.combine"({{.*}}) <{grid = @ep, layout = #moe.layout<rank_major>, num_experts = 8 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0, 0, 0, 0>, partials = #moe.partials<f32>, reduce = #moe.reduce<sum>}> :
func.func @combine(%y: tensor<64x4xbf16>, %rows: tensor<16x4xi32>,
                   %src: tensor<64xi32>, %n: tensor<4xi32>)
    -> tensor<16x4xbf16> {
  %out = moe.combine %y, %rows, %src, %n on @ep {
      num_experts = 8 : i64, layout = #moe.layout<rank_major>}
    : (tensor<64x4xbf16>, tensor<16x4xi32>, tensor<64xi32>, tensor<4xi32>)
   -> tensor<16x4xbf16>
  return %out : tensor<16x4xbf16>
}

// CHECK-LABEL: func.func @combine_weights
// CHECK: moe.combine %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} weights(%{{.*}}) on @ep {algorithm = #moe.algorithm<push>, layout = #moe.layout<slab>, max_tokens = 16 : i64, num_experts = 8 : i64} :
func.func @combine_weights(%y: tensor<64x4xbf16>, %rows: tensor<?x4xi32>,
                           %src: tensor<64xi32>, %n: tensor<4xi32>,
                           %w: tensor<64xf32>) {
  %out = moe.combine %y, %rows, %src, %n weights(%w) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<slab>, max_tokens = 16 : i64,
      algorithm = #moe.algorithm<push>}
    : (tensor<64x4xbf16>, tensor<?x4xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<64xf32>) -> tensor<?x4xbf16>
  return
}

// CHECK-LABEL: func.func @combine_expert_major
// CHECK: moe.combine %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} topk(%{{.*}}) weights(%{{.*}}) on @ep {algorithm = #moe.algorithm<pull>, layout = #moe.layout<expert_major>, num_experts = 8 : i64} : (tensor<64x4xf16>, tensor<16x3xi32>, tensor<64xi32>, tensor<4xi32>, tensor<16x3xi64>, tensor<64xf32>) -> tensor<16x4xf16>
func.func @combine_expert_major(%y: tensor<64x4xf16>, %rows: tensor<16x3xi32>,
                                %src: tensor<64xi32>, %n: tensor<4xi32>,
                                %idx: tensor<16x3xi64>, %w: tensor<64xf32>) {
  %out = moe.combine %y, %rows, %src, %n topk(%idx) weights(%w) on @ep {
      num_experts = 8 : i64, layout = #moe.layout<expert_major>,
      algorithm = #moe.algorithm<pull>}
    : (tensor<64x4xf16>, tensor<16x3xi32>, tensor<64xi32>, tensor<4xi32>,
       tensor<16x3xi64>, tensor<64xf32>) -> tensor<16x4xf16>
  return
}

//===----------------------------------------------------------------------===//
// moe.alltoallv
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func.func @alltoallv
// CHECK-SAME: (%[[SEND:[a-z0-9_]+]]: tensor<100x8x3xi64>, %[[COUNTS:[a-z0-9_]+]]: tensor<4xi32>)
// CHECK: %recv, %recv_counts = moe.alltoallv %[[SEND]], %[[COUNTS]] on @ep : (tensor<100x8x3xi64>, tensor<4xi32>) -> (tensor<50x8x3xi64>, tensor<4xi32>)

// GENERIC-LABEL: sym_name = "alltoallv"
// GENERIC: "moe.alltoallv"({{.*}}) <{grid = @ep, overflow = #moe.overflow<error>}> :
func.func @alltoallv(%send: tensor<100x8x3xi64>, %counts: tensor<4xi32>) {
  %r:2 = moe.alltoallv %send, %counts on @ep {overflow = #moe.overflow<error>}
    : (tensor<100x8x3xi64>, tensor<4xi32>)
   -> (tensor<50x8x3xi64>, tensor<4xi32>)
  return
}

// Rows of one element, as many as there are at run time.
// CHECK-LABEL: func.func @alltoallv_rank_1
// CHECK: moe.alltoallv %{{.*}}, %{{.*}} on @ep {overflow = #moe.overflow<drop>} : (tensor<?xf32>, tensor<4xi32>) -> (tensor<9xf32>, tensor<4xi32>)
func.func @alltoallv_rank_1(%send: tensor<?xf32>, %counts: tensor<4xi32>) {
  %r:2 = moe.alltoallv %send, %counts on @ep {overflow = #moe.overflow<drop>}
    : (tensor<?xf32>, tensor<4xi32>) -> (tensor<9xf32>, tensor<4xi32>)
  return
}
