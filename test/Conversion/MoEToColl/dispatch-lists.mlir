// Lists of the rows of each expert (dispatch_s14), of rows that come as messages: from what has been
// received, when it is in its place.
//
// RUN: moe-opt %s --convert-moe-to-coll --canonicalize | FileCheck %s
// RUN: moe-opt %s --convert-moe-to-coll=schedule=padded --canonicalize | FileCheck %s --check-prefix=PADDED
// RUN: moe-opt %s --convert-moe-to-coll=target=cuda --canonicalize | FileCheck %s --check-prefix=KERNEL
// RUN: moe-opt %s --convert-moe-to-coll="target=cuda schedule=padded" --canonicalize | FileCheck %s --check-prefix=KERNEL-PADDED

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @rank_major
// CHECK-SAME: (%{{.*}}: memref<16x64xbf16>, %{{.*}}: memref<16x2xi32>, %{{.*}}: memref<16x2xf32>, %{{.*}}, %[[IDX:[a-z0-9]+]]: memref<64x2xi32>, %[[W:[a-z0-9]+]]: memref<64x2xf32>, %{{.*}}: memref<64xi32>, %{{.*}}: memref<4xi32>, %[[FROM:[a-z0-9]+]]: memref<4xi32>, %{{.*}}: memref<16x4xi32>, %[[OFFSETS:[a-z0-9]+]]: memref<2xi32>, %[[COUNTS:[a-z0-9]+]]: memref<2xi32>, %[[ROWS:[a-z0-9]+]]: memref<136xi32>, %[[WEIGHTS:[a-z0-9]+]]: memref<136xf32>)
// CHECK: coll.exchange
// CHECK: symm.phase "list"
// CHECK: memref.load %[[FROM]]
// CHECK: memref.load %[[IDX]]
// CHECK: memref.store %{{.*}}, %[[OFFSETS]]
// CHECK: memref.store %{{.*}}, %[[ROWS]]
// CHECK: memref.load %[[W]]
// CHECK: memref.store %{{.*}}, %[[WEIGHTS]]
// PADDED-LABEL: func.func @rank_major
// PADDED: coll.exchange
// PADDED: symm.phase "unpack"
// PADDED: symm.phase "list"
// A kernel of its own, whose blocks need not meet before they count; with so few rows not at all.
// KERNEL-LABEL: func.func @rank_major
// KERNEL: coll.exchange
// KERNEL: symm.phase "list"
// KERNEL-NEXT: gpu.launch
// KERNEL-NOT: symm.grid_barrier
// KERNEL: symm.mark
// KERNEL-NOT: symm.grid_barrier
// KERNEL: gpu.terminator
// KERNEL-PADDED-LABEL: func.func @rank_major
// KERNEL-PADDED: coll.exchange
// KERNEL-PADDED: symm.phase "unpack"
// KERNEL-PADDED: gpu.launch
// KERNEL-PADDED: symm.phase "list"
// KERNEL-PADDED: gpu.launch
// KERNEL-PADDED: symm.mark
func.func @rank_major(
    %x: memref<16x64xbf16>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<64x64xbf16>,
    %recv_idx: memref<64x2xi32>, %recv_w: memref<64x2xf32>,
    %src: memref<64xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>, %offsets: memref<2xi32>, %counts: memref<2xi32>,
    %list: memref<136xi32>, %weights: memref<136xf32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %counts, %list, %weights) on @ep {num_experts = 8 : i64,
      list_alignment = 8 : i64}
    : (memref<16x64xbf16>, memref<16x2xi32>, memref<16x2xf32>,
       memref<64x64xbf16>, memref<64x2xi32>, memref<64x2xf32>,
       memref<64xi32>, memref<4xi32>, memref<4xi32>, memref<16x4xi32>,
       memref<2xi32>, memref<2xi32>, memref<136xi32>, memref<136xf32>) -> ()
  return
}

// Behind the rows that are filled.
// CHECK-LABEL: func.func @padding
// CHECK: symm.phase "pad"
// CHECK: symm.phase "list"
// KERNEL-LABEL: func.func @padding
// KERNEL: symm.phase "pad"
// KERNEL: gpu.launch
// KERNEL: symm.phase "list"
// KERNEL: gpu.launch
func.func @padding(
    %x: memref<16x64xbf16>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<64x64xbf16>,
    %recv_idx: memref<64x2xi32>, %recv_w: memref<64x2xf32>,
    %src: memref<64xi32>, %to: memref<4xi32>, %from: memref<4xi32>,
    %rows: memref<16x4xi32>, %offsets: memref<2xi32>, %counts: memref<2xi32>,
    %list: memref<136xi32>, %weights: memref<136xf32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %counts, %list, %weights) on @ep {num_experts = 8 : i64,
      list_alignment = 8 : i64, layout = #moe.layout<slab>,
      padding = #moe.padding<zero>}
    : (memref<16x64xbf16>, memref<16x2xi32>, memref<16x2xf32>,
       memref<64x64xbf16>, memref<64x2xi32>, memref<64x2xf32>,
       memref<64xi32>, memref<4xi32>, memref<4xi32>, memref<16x4xi32>,
       memref<2xi32>, memref<2xi32>, memref<136xi32>, memref<136xf32>) -> ()
  return
}
