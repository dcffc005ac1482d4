// Equal ops share their kernels. These learn the number of the op, by which
// errors name it; there are no flags to hand over.
//
// RUN: moe-opt %s --convert-moe-to-coll=target=cuda --canonicalize | FileCheck %s --implicit-check-not=symm.handshake --implicit-check-not=symm.alloc

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @twice
// CHECK: symm.collective_begin "moe.alltoallv" site 0
// CHECK: call @moe_alltoallv(%{{.*}}, %c0_i32)
// CHECK: symm.collective_end
// CHECK: symm.collective_begin "moe.alltoallv" site 1
// CHECK: call @moe_alltoallv(%{{.*}}, %c1_i32)
// CHECK: symm.collective_end
// CHECK-NOT: gpu.launch
// CHECK: func.func private @moe_alltoallv
// CHECK-SAME: i32 {symm.site})
// CHECK-COUNT-2: gpu.launch
// CHECK-NOT: gpu.launch
func.func @twice(%send: memref<100x8xf32>, %counts: memref<4xi32>,
                 %recv: memref<400x8xf32>, %received: memref<4xi32>) {
  moe.alltoallv %send, %counts outs(%recv, %received) on @ep
    : (memref<100x8xf32>, memref<4xi32>, memref<400x8xf32>, memref<4xi32>) -> ()
  moe.alltoallv %send, %counts outs(%recv, %received) on @ep
    : (memref<100x8xf32>, memref<4xi32>, memref<400x8xf32>, memref<4xi32>) -> ()
  return
}
