// Rows that kernels move 16 bytes at a time, and buffers that do not begin where that is
// possible, or whose rows have gaps.
//
// RUN: moe-opt %s --convert-moe-to-symm=target=cuda | FileCheck %s

shard.grid @ep(shape = 2)

// Four elements into a row: sums go to a buffer of their own, and from there to theirs.
// CHECK-LABEL: func.func @columns_of_out
// CHECK-SAME: %[[OUT:[-a-z0-9_]+]]: memref<16x64xbf16, strided<[72, 1], offset: 4>>
// CHECK: %[[SUMS:[-a-z0-9_]+]] = memref.alloc() : memref<16x64xbf16>
// CHECK: gpu.launch
// CHECK-NOT: vector.store %{{.*}}, %[[OUT]]
// CHECK: vector.store %{{.*}}, %[[SUMS]]
// CHECK: gpu.terminator
// CHECK: memref.copy %[[SUMS]], %[[OUT]]
// CHECK: symm.collective_end
func.func @columns_of_out(%y: memref<32x64xbf16, #symm.space>, %rows: memref<16x2xi32>,
    %src: memref<32xi32>, %from: memref<2xi32>,
    %out: memref<16x64xbf16, strided<[72, 1], offset: 4>>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep {num_experts = 8 : i64}
    : (memref<32x64xbf16, #symm.space>, memref<16x2xi32>, memref<32xi32>, memref<2xi32>,
       memref<16x64xbf16, strided<[72, 1], offset: 4>>) -> ()
  return
}

// Whole rows of a larger buffer are as good as a buffer.
// CHECK-LABEL: func.func @rows_of_out
// CHECK-SAME: %[[OUT:[-a-z0-9_]+]]: memref<16x64xbf16, strided<[64, 1], offset: 512>>
// CHECK-NOT: memref.alloc
// CHECK: vector.store %{{.*}}, %[[OUT]]
// CHECK-NOT: memref.copy
// CHECK: symm.collective_end
func.func @rows_of_out(%y: memref<32x64xbf16, #symm.space>, %rows: memref<16x2xi32>,
    %src: memref<32xi32>, %from: memref<2xi32>,
    %out: memref<16x64xbf16, strided<[64, 1], offset: 512>>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep {num_experts = 8 : i64}
    : (memref<32x64xbf16, #symm.space>, memref<16x2xi32>, memref<32xi32>, memref<2xi32>,
       memref<16x64xbf16, strided<[64, 1], offset: 512>>) -> ()
  return
}

// CHECK-LABEL: func.func @columns_in_out_of_order
// CHECK: %[[SUMS:[-a-z0-9_]+]] = memref.alloc() : memref<16x64xbf16>
// CHECK: vector.store %{{.*}}, %[[SUMS]]
// CHECK: memref.copy %[[SUMS]],
func.func @columns_in_out_of_order(%y: memref<32x64xbf16, #symm.space>,
    %rows: memref<16x2xi32>, %src: memref<32xi32>, %from: memref<2xi32>,
    %out: memref<16x64xbf16, strided<[1, 16]>>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep {num_experts = 8 : i64}
    : (memref<32x64xbf16, #symm.space>, memref<16x2xi32>, memref<32xi32>, memref<2xi32>,
       memref<16x64xbf16, strided<[1, 16]>>) -> ()
  return
}

// A view begins at any byte.
// CHECK-LABEL: func.func @view
// CHECK: %[[VIEW:[-a-z0-9_]+]] = memref.view %{{.*}}[%{{.*}}][]
// CHECK: %[[COPY:[-a-z0-9_]+]] = memref.alloc() : memref<16x64xbf16>
// CHECK: memref.copy %[[VIEW]], %[[COPY]]
// CHECK: symm.put_each %[[COPY]]
func.func @view(%bytes: memref<4096xi8>, %shift: index, %rows: memref<16x2xi32>,
    %recv: memref<32x64xbf16, #symm.space>) {
  %x = memref.view %bytes[%shift][] : memref<4096xi8> to memref<16x64xbf16>
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 8 : i64}
    : (memref<16x64xbf16>, memref<16x2xi32>, memref<32x64xbf16, #symm.space>) -> ()
  return
}

// CHECK-LABEL: func.func @aligned_view
// CHECK: %[[VIEW:[-a-z0-9_]+]] = memref.view
// CHECK-NOT: memref.copy
// CHECK: symm.put_each %[[VIEW]]
func.func @aligned_view(%bytes: memref<4096xi8>, %rows: memref<16x2xi32>,
    %recv: memref<32x64xbf16, #symm.space>) {
  %shift = arith.constant 48 : index
  %x = memref.view %bytes[%shift][] : memref<4096xi8> to memref<16x64xbf16>
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 8 : i64}
    : (memref<16x64xbf16>, memref<16x2xi32>, memref<32x64xbf16, #symm.space>) -> ()
  return
}

// The stride of one row is of no interest.
// CHECK-LABEL: func.func @one_row
// CHECK-SAME: (%[[X:[-a-z0-9_]+]]: memref<1x64xbf16, strided<[128, 1], offset: 384>>
// CHECK-NOT: memref.copy
// CHECK: symm.put_each %[[X]]
func.func @one_row(%x: memref<1x64xbf16, strided<[128, 1], offset: 384>>,
    %rows: memref<1x2xi32>, %recv: memref<2x64xbf16, #symm.space>) {
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 8 : i64}
    : (memref<1x64xbf16, strided<[128, 1], offset: 384>>, memref<1x2xi32>,
       memref<2x64xbf16, #symm.space>) -> ()
  return
}
