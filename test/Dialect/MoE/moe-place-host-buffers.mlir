// `peer_rows` that do not leave the function lie on its stack (host_s1); the marks go.
//
// RUN: moe-opt %s --moe-place-host-buffers -split-input-file -verify-diagnostics | FileCheck %s

shard.grid @ep(shape = 4)

// In the first block, also where the dispatch is in a loop.
// CHECK-LABEL: func.func @inside
// CHECK-NEXT: %[[ROWS:.*]] = memref.alloca() : memref<4x4xi32>
// CHECK: scf.for
// CHECK: moe.dispatch {{.*}}, %[[ROWS]]) on @ep {keep_blocks
// CHECK: moe.dispatch {{.*}} blocks(%{{.*}}, %[[ROWS]])
// CHECK-NOT: memref.dealloc %[[ROWS]]
func.func @inside(%x: memref<16x4xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %rx: memref<64x4xf32>, %ri: memref<64x2xi32>,
    %rw: memref<64x2xf32>, %src: memref<64xi32>, %to: memref<4xi32>,
    %from: memref<4xi32>, %rows: memref<16x4xi32>, %b: memref<2x4x1x2xi32>,
    %again: memref<64x4xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %n step %c1 {
    %kept = memref.alloc() : memref<4x4xi32>
    moe.dispatch %x, %idx, %w outs(%rx, %ri, %rw, %src, %to, %from, %rows, %b, %kept) on @ep
        {keep_blocks, num_experts = 8 : i64}
      : (memref<16x4xf32>, memref<16x2xi32>, memref<16x2xf32>,
         memref<64x4xf32>, memref<64x2xi32>, memref<64x2xf32>, memref<64xi32>,
         memref<4xi32>, memref<4xi32>, memref<16x4xi32>, memref<2x4x1x2xi32>,
         memref<4x4xi32>) -> ()
    moe.dispatch %x reuse(%rows) blocks(%b, %kept) outs(%again) on @ep
        {num_experts = 8 : i64}
      : (memref<16x4xf32>, memref<16x4xi32>, memref<2x4x1x2xi32>,
         memref<4x4xi32>, memref<64x4xf32>) -> ()
    memref.dealloc %kept : memref<4x4xi32>
  }
  return
}

// What the caller gives memory for stays where it is.
// CHECK-LABEL: func.func @argument
// CHECK-NOT: moe.host
// CHECK: moe.combine
func.func @argument(%y: memref<64x8xf32>, %rows: memref<16x4xi32>,
    %src: memref<64xi32>, %from: memref<4xi32>, %b: memref<2x4x1x2xi32>,
    %n: memref<4x4xi32> {moe.host}, %out: memref<16x8xf32>) {
  moe.combine %y, %rows, %src, %from blocks(%b, %n) outs(%out) on @ep
      {num_experts = 8 : i64}
    : (memref<64x8xf32>, memref<16x4xi32>, memref<64xi32>, memref<4xi32>,
       memref<2x4x1x2xi32>, memref<4x4xi32>, memref<16x8xf32>) -> ()
  return
}

// -----

shard.grid @ep(shape = 4)

// A result that is no memory of the caller's yet (moe-alloc-results).
func.func @result(%x: memref<16x4xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %rx: memref<64x4xf32>, %ri: memref<64x2xi32>,
    %rw: memref<64x2xf32>, %src: memref<64xi32>, %to: memref<4xi32>,
    %from: memref<4xi32>, %rows: memref<16x4xi32>, %b: memref<2x4x1x2xi32>)
    -> (memref<4x4xi32> {moe.host}) {
  %kept = memref.alloc() : memref<4x4xi32>
  // expected-error @+1 {{'moe.dispatch' op expects an entry with one 'func.return', which no other function calls, to return 'peer_rows'}}
  moe.dispatch %x, %idx, %w outs(%rx, %ri, %rw, %src, %to, %from, %rows, %b, %kept) on @ep
      {keep_blocks, num_experts = 8 : i64}
    : (memref<16x4xf32>, memref<16x2xi32>, memref<16x2xf32>,
       memref<64x4xf32>, memref<64x2xi32>, memref<64x2xf32>, memref<64xi32>,
       memref<4xi32>, memref<4xi32>, memref<16x4xi32>, memref<2x4x1x2xi32>,
       memref<4x4xi32>) -> ()
  return %kept : memref<4x4xi32>
}
