// Which buffers move to symmetric memory, and how the others are reached.
//
// RUN: moe-opt %s --moe-place-symmetric-buffers | FileCheck %s
// RUN: moe-opt %s --moe-place-symmetric-buffers --remarks-filter=moe-place-symmetric-buffers \
// RUN:   -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK --implicit-check-not=remark:

shard.grid @ep(shape = 2)

// The allocation itself becomes symmetric, its other users see it through a
// cast, and it is freed where it was freed.
// CHECK-LABEL: func.func @in_place
// CHECK-NOT: memref.alloc
// CHECK: %[[SYMM:[a-z0-9_]+]] = symm.alloc : memref<6x4xf32, #symm.space>
// CHECK: %[[RECV:[a-z0-9_]+]] = memref.memory_space_cast %[[SYMM]] : memref<6x4xf32, #symm.space> to memref<6x4xf32>
// CHECK: moe.alltoallv %{{.*}}, %{{.*}} outs(%[[SYMM]], %{{.*}}) on @ep
// CHECK-NOT: memref.copy
// CHECK: memref.load %[[RECV]]
// CHECK: symm.free %[[SYMM]]
// CHECK-NOT: memref.dealloc
// CHECK: return
func.func @in_place(%send: memref<3x4xf32>, %n: memref<2xi32>,
                    %counts: memref<2xi32>) -> f32 {
  %c0 = arith.constant 0 : index
  %recv = memref.alloc() : memref<6x4xf32>
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<3x4xf32>, memref<2xi32>, memref<6x4xf32>, memref<2xi32>) -> ()
  %first = memref.load %recv[%c0, %c0] : memref<6x4xf32>
  memref.dealloc %recv : memref<6x4xf32>
  return %first : f32
}

// What a dispatch receives is symmetric; counts and `send_row` are not.
// CHECK-LABEL: func.func @dispatch
// CHECK: %[[X:[a-z0-9_]+]] = symm.alloc : memref<6x4xf32, #symm.space>
// CHECK: %[[I:[a-z0-9_]+]] = symm.alloc : memref<6x1xi32, #symm.space>
// CHECK: %[[W:[a-z0-9_]+]] = symm.alloc : memref<6x1xf32, #symm.space>
// CHECK: %[[S:[a-z0-9_]+]] = symm.alloc : memref<6xi32, #symm.space>
// CHECK-NOT: symm.alloc
// CHECK: %[[TO:[a-z0-9_]+]] = memref.alloc() : memref<2xi32>
// CHECK: %[[FROM:[a-z0-9_]+]] = memref.alloc() : memref<2xi32>
// CHECK: %[[ROWS:[a-z0-9_]+]] = memref.alloc() : memref<3x2xi32>
// CHECK: moe.dispatch {{.*}} outs(%[[X]], %[[I]], %[[W]], %[[S]], %[[TO]], %[[FROM]], %[[ROWS]]) on @ep
// CHECK-NOT: memref.copy
// CHECK-COUNT-4: symm.free
// CHECK-COUNT-3: memref.dealloc
func.func @dispatch(%x: memref<3x4xf32>, %idx: memref<3x1xi32>,
                    %w: memref<3x1xf32>) {
  %recv_x = memref.alloc() : memref<6x4xf32>
  %recv_idx = memref.alloc() : memref<6x1xi32>
  %recv_w = memref.alloc() : memref<6x1xf32>
  %src = memref.alloc() : memref<6xi32>
  %to = memref.alloc() : memref<2xi32>
  %from = memref.alloc() : memref<2xi32>
  %rows = memref.alloc() : memref<3x2xi32>
  moe.dispatch %x, %idx, %w
      outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from, %rows) on @ep {
      num_experts = 4 : i64}
    : (memref<3x4xf32>, memref<3x1xi32>, memref<3x1xf32>, memref<6x4xf32>,
       memref<6x1xi32>, memref<6x1xf32>, memref<6xi32>, memref<2xi32>,
       memref<2xi32>, memref<3x2xi32>) -> ()
  memref.dealloc %recv_x : memref<6x4xf32>
  memref.dealloc %recv_idx : memref<6x1xi32>
  memref.dealloc %recv_w : memref<6x1xf32>
  memref.dealloc %src : memref<6xi32>
  memref.dealloc %to : memref<2xi32>
  memref.dealloc %from : memref<2xi32>
  memref.dealloc %rows : memref<3x2xi32>
  return
}

// The rows that a reuse receives are combined where they lie.
// CHECK-LABEL: func.func @shared_by_dispatch_and_combine
// CHECK-COUNT-1: symm.alloc
// CHECK-NOT: symm.alloc
// CHECK: moe.dispatch {{.*}} outs(%[[SYMM:[a-z0-9_]+]]) on @ep
// CHECK-NOT: memref.copy
// CHECK: moe.combine %[[SYMM]], {{.*}} : (memref<6x4xf32, #symm.space>,
// CHECK: symm.free %[[SYMM]]
func.func @shared_by_dispatch_and_combine(
    %x: memref<3x4xf32>, %rows: memref<3x2xi32>, %src: memref<6xi32>,
    %n: memref<2xi32>, %out: memref<3x4xf32>) {
  %recv = memref.alloc() : memref<6x4xf32>
  moe.dispatch %x reuse(%rows) outs(%recv) on @ep {num_experts = 4 : i64}
    : (memref<3x4xf32>, memref<3x2xi32>, memref<6x4xf32>) -> ()
  moe.combine %recv, %rows, %src, %n outs(%out) on @ep {
      num_experts = 4 : i64, algorithm = #moe.algorithm<pull>}
    : (memref<6x4xf32>, memref<3x2xi32>, memref<6xi32>, memref<2xi32>,
       memref<3x4xf32>) -> ()
  memref.dealloc %recv : memref<6x4xf32>
  return
}

// A pull reads `y` and the weights of its peers, a push reads neither.
// CHECK-LABEL: func.func @combine_pull
// CHECK: %[[Y:[a-z0-9_]+]] = symm.alloc : memref<6x4xf32, #symm.space>
// CHECK: %[[W:[a-z0-9_]+]] = symm.alloc : memref<6xf32, #symm.space>
// CHECK: moe.combine %[[Y]], {{.*}} weights(%[[W]])
func.func @combine_pull(%rows: memref<3x2xi32>, %src: memref<6xi32>,
                        %n: memref<2xi32>, %out: memref<3x4xf32>) {
  %y = memref.alloc() : memref<6x4xf32>
  %w = memref.alloc() : memref<6xf32>
  moe.combine %y, %rows, %src, %n weights(%w) outs(%out) on @ep {
      num_experts = 4 : i64, algorithm = #moe.algorithm<pull>}
    : (memref<6x4xf32>, memref<3x2xi32>, memref<6xi32>, memref<2xi32>,
       memref<6xf32>, memref<3x4xf32>) -> ()
  memref.dealloc %y : memref<6x4xf32>
  memref.dealloc %w : memref<6xf32>
  return
}

// CHECK-LABEL: func.func @combine_push
// CHECK-NOT: symm.
// CHECK: moe.combine
// CHECK-NOT: symm.
// CHECK: return
func.func @combine_push(%y: memref<6x4xf32>, %rows: memref<3x2xi32>,
                        %src: memref<6xi32>, %n: memref<2xi32>,
                        %out: memref<3x4xf32>) {
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {
      num_experts = 4 : i64, algorithm = #moe.algorithm<push>}
    : (memref<6x4xf32>, memref<3x2xi32>, memref<6xi32>, memref<2xi32>,
       memref<3x4xf32>) -> ()
  return
}

// CHECK-LABEL: func.func @already_symmetric
// CHECK-COUNT-1: symm.alloc
// CHECK-NOT: symm.alloc
// CHECK: return
func.func @already_symmetric(%send: memref<3x4xf32>, %n: memref<2xi32>,
                             %counts: memref<2xi32>) {
  %recv = symm.alloc : memref<6x4xf32, #symm.space>
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<3x4xf32>, memref<2xi32>, memref<6x4xf32, #symm.space>,
       memref<2xi32>) -> ()
  symm.free %recv : memref<6x4xf32, #symm.space>
  return
}

// Ops in tensor form have no buffers yet.
// CHECK-LABEL: func.func @tensors
// CHECK-NOT: symm.
// CHECK: return
func.func @tensors(%send: tensor<3x4xf32>, %n: tensor<2xi32>)
    -> tensor<6x4xf32> {
  %r:2 = moe.alltoallv %send, %n on @ep
    : (tensor<3x4xf32>, tensor<2xi32>) -> (tensor<6x4xf32>, tensor<2xi32>)
  return %r#0 : tensor<6x4xf32>
}

// A view of the buffer that is combined stays a view.
// REMARK: remark: [Missed] symmetric-buffer{{.*}}operand #0 is copied to symmetric memory: it is not allocated here
// CHECK-LABEL: func.func @combine_view
// CHECK: %[[ALL:[a-z0-9_]+]] = memref.alloc() : memref<8x4xf32>
// CHECK: %[[VIEW:[a-z0-9_]+]] = memref.subview %[[ALL]]
// CHECK: %[[SYMM:[a-z0-9_]+]] = symm.alloc : memref<6x4xf32, #symm.space>
// CHECK: memref.copy %[[VIEW]], %[[SYMM]]
// CHECK: moe.combine %[[SYMM]],
// CHECK: symm.free %[[SYMM]]
func.func @combine_view(%rows: memref<3x2xi32>, %src: memref<6xi32>,
                        %n: memref<2xi32>, %out: memref<3x4xf32>) {
  %all = memref.alloc() : memref<8x4xf32>
  %y = memref.subview %all[0, 0] [6, 4] [1, 1]
    : memref<8x4xf32> to memref<6x4xf32, strided<[4, 1]>>
  moe.combine %y, %rows, %src, %n outs(%out) on @ep {num_experts = 4 : i64}
    : (memref<6x4xf32, strided<[4, 1]>>, memref<3x2xi32>, memref<6xi32>,
       memref<2xi32>, memref<3x4xf32>) -> ()
  memref.dealloc %all : memref<8x4xf32>
  return
}

// Users of the buffer through views are no obstacle.
// CHECK-LABEL: func.func @viewed
// CHECK: %[[SYMM:[a-z0-9_]+]] = symm.alloc : memref<6x4xf32, #symm.space>
// CHECK: %[[RECV:[a-z0-9_]+]] = memref.memory_space_cast %[[SYMM]]
// CHECK: moe.alltoallv {{.*}} outs(%[[SYMM]], %{{.*}})
// CHECK: memref.subview %[[RECV]]
// CHECK: symm.free %[[SYMM]]
func.func @viewed(%send: memref<3x4xf32>, %n: memref<2xi32>,
                  %counts: memref<2xi32>, %out: memref<2x4xf32>) {
  %recv = memref.alloc() : memref<6x4xf32>
  moe.alltoallv %send, %n outs(%recv, %counts) on @ep
    : (memref<3x4xf32>, memref<2xi32>, memref<6x4xf32>, memref<2xi32>) -> ()
  %view = memref.subview %recv[0, 0] [2, 4] [1, 1]
    : memref<6x4xf32> to memref<2x4xf32, strided<[4, 1]>>
  memref.copy %view, %out
    : memref<2x4xf32, strided<[4, 1]>> to memref<2x4xf32>
  memref.dealloc %recv : memref<6x4xf32>
  return
}
