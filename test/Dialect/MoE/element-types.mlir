// types_c1: every element type of data and scales.
//
// RUN: moe-opt %s | moe-opt | FileCheck %s

shard.grid @ep(shape = 2)

// CHECK-LABEL: func.func @types_c1_f32
// CHECK: moe.dispatch {{.*}} -> (tensor<6x5xf32>,
// CHECK: moe.combine {{.*}} -> tensor<3x5xf32>
// CHECK: moe.alltoallv {{.*}} -> (tensor<6x5xf32>,
func.func @types_c1_f32(%x: tensor<3x5xf32>, %idx: tensor<3x1xi32>,
    %w: tensor<3x1xf32>, %counts: tensor<2xi32>) {
  %recv_x, %i, %v, %src, %to, %from, %rows = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 2 : i64}
    : (tensor<3x5xf32>, tensor<3x1xi32>, tensor<3x1xf32>)
   -> (tensor<6x5xf32>, tensor<6x1xi32>, tensor<6x1xf32>, tensor<6xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<3x2xi32>)
  %out = moe.combine %recv_x, %rows, %src, %from on @ep {num_experts = 2 : i64}
    : (tensor<6x5xf32>, tensor<3x2xi32>, tensor<6xi32>, tensor<2xi32>)
   -> tensor<3x5xf32>
  %recv:2 = moe.alltoallv %x, %counts on @ep
    : (tensor<3x5xf32>, tensor<2xi32>) -> (tensor<6x5xf32>, tensor<2xi32>)
  return
}

// CHECK-LABEL: func.func @types_c1_f16
// CHECK: moe.dispatch {{.*}} -> (tensor<6x5xf16>,
// CHECK: moe.combine {{.*}} -> tensor<3x5xf16>
// CHECK: moe.alltoallv {{.*}} -> (tensor<6x5xf16>,
func.func @types_c1_f16(%x: tensor<3x5xf16>, %idx: tensor<3x1xi32>,
    %w: tensor<3x1xf32>, %counts: tensor<2xi32>) {
  %recv_x, %i, %v, %src, %to, %from, %rows = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 2 : i64}
    : (tensor<3x5xf16>, tensor<3x1xi32>, tensor<3x1xf32>)
   -> (tensor<6x5xf16>, tensor<6x1xi32>, tensor<6x1xf32>, tensor<6xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<3x2xi32>)
  %out = moe.combine %recv_x, %rows, %src, %from on @ep {num_experts = 2 : i64}
    : (tensor<6x5xf16>, tensor<3x2xi32>, tensor<6xi32>, tensor<2xi32>)
   -> tensor<3x5xf16>
  %recv:2 = moe.alltoallv %x, %counts on @ep
    : (tensor<3x5xf16>, tensor<2xi32>) -> (tensor<6x5xf16>, tensor<2xi32>)
  return
}

// CHECK-LABEL: func.func @types_c1_bf16
// CHECK: moe.dispatch {{.*}} -> (tensor<6x5xbf16>,
// CHECK: moe.combine {{.*}} -> tensor<3x5xbf16>
// CHECK: moe.alltoallv {{.*}} -> (tensor<6x5xbf16>,
func.func @types_c1_bf16(%x: tensor<3x5xbf16>, %idx: tensor<3x1xi32>,
    %w: tensor<3x1xf32>, %counts: tensor<2xi32>) {
  %recv_x, %i, %v, %src, %to, %from, %rows = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 2 : i64}
    : (tensor<3x5xbf16>, tensor<3x1xi32>, tensor<3x1xf32>)
   -> (tensor<6x5xbf16>, tensor<6x1xi32>, tensor<6x1xf32>, tensor<6xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<3x2xi32>)
  %out = moe.combine %recv_x, %rows, %src, %from on @ep {num_experts = 2 : i64}
    : (tensor<6x5xbf16>, tensor<3x2xi32>, tensor<6xi32>, tensor<2xi32>)
   -> tensor<3x5xbf16>
  %recv:2 = moe.alltoallv %x, %counts on @ep
    : (tensor<3x5xbf16>, tensor<2xi32>) -> (tensor<6x5xbf16>, tensor<2xi32>)
  return
}

// CHECK-LABEL: func.func @types_c1_f8e4m3fn
// CHECK: moe.dispatch {{.*}} -> (tensor<6x5xf8E4M3FN>,
// CHECK: moe.combine {{.*}} -> tensor<3x5xf8E4M3FN>
// CHECK: moe.alltoallv {{.*}} -> (tensor<6x5xf8E4M3FN>,
func.func @types_c1_f8e4m3fn(%x: tensor<3x5xf8E4M3FN>, %idx: tensor<3x1xi32>,
    %w: tensor<3x1xf32>, %counts: tensor<2xi32>) {
  %recv_x, %i, %v, %src, %to, %from, %rows = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 2 : i64}
    : (tensor<3x5xf8E4M3FN>, tensor<3x1xi32>, tensor<3x1xf32>)
   -> (tensor<6x5xf8E4M3FN>, tensor<6x1xi32>, tensor<6x1xf32>, tensor<6xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<3x2xi32>)
  %out = moe.combine %recv_x, %rows, %src, %from on @ep {num_experts = 2 : i64}
    : (tensor<6x5xf8E4M3FN>, tensor<3x2xi32>, tensor<6xi32>, tensor<2xi32>)
   -> tensor<3x5xf8E4M3FN>
  %recv:2 = moe.alltoallv %x, %counts on @ep
    : (tensor<3x5xf8E4M3FN>, tensor<2xi32>) -> (tensor<6x5xf8E4M3FN>, tensor<2xi32>)
  return
}

// CHECK-LABEL: func.func @types_c1_f8e5m2
// CHECK: moe.dispatch {{.*}} -> (tensor<6x5xf8E5M2>,
// CHECK: moe.combine {{.*}} -> tensor<3x5xf8E5M2>
// CHECK: moe.alltoallv {{.*}} -> (tensor<6x5xf8E5M2>,
func.func @types_c1_f8e5m2(%x: tensor<3x5xf8E5M2>, %idx: tensor<3x1xi32>,
    %w: tensor<3x1xf32>, %counts: tensor<2xi32>) {
  %recv_x, %i, %v, %src, %to, %from, %rows = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 2 : i64}
    : (tensor<3x5xf8E5M2>, tensor<3x1xi32>, tensor<3x1xf32>)
   -> (tensor<6x5xf8E5M2>, tensor<6x1xi32>, tensor<6x1xf32>, tensor<6xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<3x2xi32>)
  %out = moe.combine %recv_x, %rows, %src, %from on @ep {num_experts = 2 : i64}
    : (tensor<6x5xf8E5M2>, tensor<3x2xi32>, tensor<6xi32>, tensor<2xi32>)
   -> tensor<3x5xf8E5M2>
  %recv:2 = moe.alltoallv %x, %counts on @ep
    : (tensor<3x5xf8E5M2>, tensor<2xi32>) -> (tensor<6x5xf8E5M2>, tensor<2xi32>)
  return
}

// CHECK-LABEL: func.func @types_c1_i8
// CHECK: moe.dispatch {{.*}} -> (tensor<6x5xi8>,
// CHECK: moe.combine {{.*}} -> tensor<3x5xi8>
// CHECK: moe.alltoallv {{.*}} -> (tensor<6x5xi8>,
func.func @types_c1_i8(%x: tensor<3x5xi8>, %idx: tensor<3x1xi32>,
    %w: tensor<3x1xf32>, %counts: tensor<2xi32>) {
  %recv_x, %i, %v, %src, %to, %from, %rows = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 2 : i64}
    : (tensor<3x5xi8>, tensor<3x1xi32>, tensor<3x1xf32>)
   -> (tensor<6x5xi8>, tensor<6x1xi32>, tensor<6x1xf32>, tensor<6xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<3x2xi32>)
  %out = moe.combine %recv_x, %rows, %src, %from on @ep {num_experts = 2 : i64}
    : (tensor<6x5xi8>, tensor<3x2xi32>, tensor<6xi32>, tensor<2xi32>)
   -> tensor<3x5xi8>
  %recv:2 = moe.alltoallv %x, %counts on @ep
    : (tensor<3x5xi8>, tensor<2xi32>) -> (tensor<6x5xi8>, tensor<2xi32>)
  return
}

// CHECK-LABEL: func.func @types_c1_i32
// CHECK: moe.dispatch {{.*}} -> (tensor<6x5xi32>,
// CHECK: moe.combine {{.*}} -> tensor<3x5xi32>
// CHECK: moe.alltoallv {{.*}} -> (tensor<6x5xi32>,
func.func @types_c1_i32(%x: tensor<3x5xi32>, %idx: tensor<3x1xi32>,
    %w: tensor<3x1xf32>, %counts: tensor<2xi32>) {
  %recv_x, %i, %v, %src, %to, %from, %rows = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 2 : i64}
    : (tensor<3x5xi32>, tensor<3x1xi32>, tensor<3x1xf32>)
   -> (tensor<6x5xi32>, tensor<6x1xi32>, tensor<6x1xf32>, tensor<6xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<3x2xi32>)
  %out = moe.combine %recv_x, %rows, %src, %from on @ep {num_experts = 2 : i64}
    : (tensor<6x5xi32>, tensor<3x2xi32>, tensor<6xi32>, tensor<2xi32>)
   -> tensor<3x5xi32>
  %recv:2 = moe.alltoallv %x, %counts on @ep
    : (tensor<3x5xi32>, tensor<2xi32>) -> (tensor<6x5xi32>, tensor<2xi32>)
  return
}

// CHECK-LABEL: func.func @types_c1_i64
// CHECK: moe.dispatch {{.*}} -> (tensor<6x5xi64>,
// CHECK: moe.combine {{.*}} -> tensor<3x5xi64>
// CHECK: moe.alltoallv {{.*}} -> (tensor<6x5xi64>,
func.func @types_c1_i64(%x: tensor<3x5xi64>, %idx: tensor<3x1xi32>,
    %w: tensor<3x1xf32>, %counts: tensor<2xi32>) {
  %recv_x, %i, %v, %src, %to, %from, %rows = moe.dispatch %x, %idx, %w on @ep {
      num_experts = 2 : i64}
    : (tensor<3x5xi64>, tensor<3x1xi32>, tensor<3x1xf32>)
   -> (tensor<6x5xi64>, tensor<6x1xi32>, tensor<6x1xf32>, tensor<6xi32>,
       tensor<2xi32>, tensor<2xi32>, tensor<3x2xi32>)
  %out = moe.combine %recv_x, %rows, %src, %from on @ep {num_experts = 2 : i64}
    : (tensor<6x5xi64>, tensor<3x2xi32>, tensor<6xi32>, tensor<2xi32>)
   -> tensor<3x5xi64>
  %recv:2 = moe.alltoallv %x, %counts on @ep
    : (tensor<3x5xi64>, tensor<2xi32>) -> (tensor<6x5xi64>, tensor<2xi32>)
  return
}

// Scales of every type, with both 8-bit floats (dispatch_c5).

// CHECK-LABEL: func.func @scales_f32
// CHECK: moe.dispatch {{.*}} -> (tensor<6x5xf8E4M3FN>, tensor<6x1xf32>)
func.func @scales_f32(%x: tensor<3x5xf8E4M3FN>, %s: tensor<3x1xf32>,
    %rows: tensor<3x2xi32>) {
  %r:2 = moe.dispatch %x scales(%s) reuse(%rows) on @ep {num_experts = 2 : i64}
    : (tensor<3x5xf8E4M3FN>, tensor<3x1xf32>, tensor<3x2xi32>)
   -> (tensor<6x5xf8E4M3FN>, tensor<6x1xf32>)
  return
}

// CHECK-LABEL: func.func @scales_f16
// CHECK: moe.dispatch {{.*}} -> (tensor<6x5xf8E5M2>, tensor<6x1xf16>)
func.func @scales_f16(%x: tensor<3x5xf8E5M2>, %s: tensor<3x1xf16>,
    %rows: tensor<3x2xi32>) {
  %r:2 = moe.dispatch %x scales(%s) reuse(%rows) on @ep {num_experts = 2 : i64}
    : (tensor<3x5xf8E5M2>, tensor<3x1xf16>, tensor<3x2xi32>)
   -> (tensor<6x5xf8E5M2>, tensor<6x1xf16>)
  return
}

// CHECK-LABEL: func.func @scales_bf16
// CHECK: moe.dispatch {{.*}} -> (tensor<6x5xf8E4M3FN>, tensor<6x1xbf16>)
func.func @scales_bf16(%x: tensor<3x5xf8E4M3FN>, %s: tensor<3x1xbf16>,
    %rows: tensor<3x2xi32>) {
  %r:2 = moe.dispatch %x scales(%s) reuse(%rows) on @ep {num_experts = 2 : i64}
    : (tensor<3x5xf8E4M3FN>, tensor<3x1xbf16>, tensor<3x2xi32>)
   -> (tensor<6x5xf8E4M3FN>, tensor<6x1xbf16>)
  return
}

// CHECK-LABEL: func.func @scales_i8
// CHECK: moe.dispatch {{.*}} -> (tensor<6x5xf8E5M2>, tensor<6x1xi8>)
func.func @scales_i8(%x: tensor<3x5xf8E5M2>, %s: tensor<3x1xi8>,
    %rows: tensor<3x2xi32>) {
  %r:2 = moe.dispatch %x scales(%s) reuse(%rows) on @ep {num_experts = 2 : i64}
    : (tensor<3x5xf8E5M2>, tensor<3x1xi8>, tensor<3x2xi32>)
   -> (tensor<6x5xf8E5M2>, tensor<6x1xi8>)
  return
}
