// Collectives that are equal but for their buffers have one lowering.
//
// RUN: moe-opt %s -split-input-file --convert-moe-to-symm | FileCheck %s --check-prefixes=CHECK,HOST
// RUN: moe-opt %s -split-input-file --convert-moe-to-symm=target=cuda | FileCheck %s --check-prefixes=CHECK,CUDA
// RUN: moe-opt %s -split-input-file --convert-moe-to-symm=outline=false | FileCheck %s --check-prefix=INPLACE
// RUN: moe-opt %s -split-input-file --convert-moe-to-symm --mlir-print-debuginfo --mlir-print-local-scope | FileCheck %s --check-prefix=LOC

// What differs is in the calls: buffers, for kernels also the number of the op
// and the flags of its first signal. The place of each op stays with its number.
shard.grid @ep(shape = 4)
// CHECK-LABEL: func.func @layers(
// CHECK-SAME:    %[[Y:[^:]+]]: memref<64x8xf32, #symm.space>,
// CHECK-SAME:    %[[Z:[^:]+]]: memref<64x8xf32, #symm.space>,
// INPLACE-LABEL: func.func @layers(
func.func @layers(%y: memref<64x8xf32, #symm.space>, %z: memref<64x8xf32, #symm.space>,
    %row: memref<16x4xi32>, %src: memref<64xi32>, %from: memref<4xi32>,
    %out: memref<16x8xf32>) {
  // CHECK:      symm.collective_begin "moe.combine" site 0
  // CUDA-DAG:   %[[SITE:.*]] = arith.constant 0 : i32
  // CUDA-DAG:   %[[FLAGS:.*]] = symm.alloc persistent : memref<4xi64, #symm.space>
  // HOST-NEXT:  call @moe_combine(%[[Y]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) :
  // CUDA:       call @moe_combine(%[[Y]], %{{.*}}, %[[SITE]], %[[FLAGS]]) :
  // CHECK-NEXT: symm.collective_end
  // LOC:        symm.collective_begin "moe.combine" site 0 {{.*}} loc("model":1:1)
  // LOC:        symm.collective_begin "moe.combine" site 2 {{.*}} loc("model":2:2)
  // INPLACE-COUNT-2: symm.barrier
  // INPLACE:         symm.collective_begin "moe.combine" site 1
  // INPLACE-COUNT-2: symm.barrier
  // INPLACE:         symm.collective_begin "moe.combine" site 2
  // INPLACE-COUNT-2: symm.barrier
  moe.combine %y, %row, %src, %from outs(%out) on @ep
      {num_experts = 4 : i64}
    : (memref<64x8xf32, #symm.space>, memref<16x4xi32>, memref<64xi32>,
       memref<4xi32>, memref<16x8xf32>) -> () loc("model":1:1)
  // Another number of experts: an op that differs stays where it is.
  // CHECK:      symm.collective_begin "moe.combine" site 1
  // CHECK-NOT:  call
  // CHECK:      symm.collective_end
  moe.combine %y, %row, %src, %from outs(%out) on @ep
      {num_experts = 5 : i64}
    : (memref<64x8xf32, #symm.space>, memref<16x4xi32>, memref<64xi32>,
       memref<4xi32>, memref<16x8xf32>) -> ()
  // CHECK:      symm.collective_begin "moe.combine" site 2
  // CUDA-DAG:   %[[SITE:.*]] = arith.constant 2 : i32
  // CUDA-DAG:   %[[FLAGS:.*]] = symm.alloc persistent : memref<4xi64, #symm.space>
  // HOST-NEXT:  call @moe_combine(%[[Z]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) :
  // CUDA:       call @moe_combine(%[[Z]], %{{.*}}, %[[SITE]], %[[FLAGS]]) :
  // CHECK-NEXT: symm.collective_end
  moe.combine %z, %row, %src, %from outs(%out) on @ep
      {num_experts = 4 : i64}
    : (memref<64x8xf32, #symm.space>, memref<16x4xi32>, memref<64xi32>,
       memref<4xi32>, memref<16x8xf32>) -> () loc("model":2:2)
  return
}
// Which op it is, its callers say.
// CHECK-LABEL: func.func private @moe_combine(
// HOST-SAME:     attributes {symm.outlined}
// CUDA-SAME:     i32 {symm.site}, %{{.*}}: memref<4xi64, #symm.space> {symm.handshake}) attributes {symm.outlined}
// CHECK-NOT:   symm.collective_begin
// HOST-COUNT-2: symm.barrier
// CUDA-COUNT-1: gpu.launch
// CHECK-NOT:   symm.collective_end
// CHECK:       return

// -----

// Ops of different entries are equal, too, but for those of an entry with a
// workspace of its own.
shard.grid @ep(shape = 4)
// CHECK-LABEL: func.func @prefill(
// CHECK:         call @moe_alltoallv(
func.func @prefill(%x: memref<?x4xf32>, %n: memref<4xi32>,
    %recv: memref<20x4xf32, #symm.space>, %m: memref<4xi32>) {
  moe.alltoallv %x, %n outs(%recv, %m) on @ep
    : (memref<?x4xf32>, memref<4xi32>, memref<20x4xf32, #symm.space>,
       memref<4xi32>) -> ()
  return
}
// CHECK-LABEL: func.func @decode(
// CHECK:         call @moe_alltoallv(
func.func @decode(%x: memref<?x4xf32>, %n: memref<4xi32>,
    %recv: memref<20x4xf32, #symm.space>, %m: memref<4xi32>) {
  moe.alltoallv %x, %n outs(%recv, %m) on @ep
    : (memref<?x4xf32>, memref<4xi32>, memref<20x4xf32, #symm.space>,
       memref<4xi32>) -> ()
  return
}
// CHECK-LABEL: func.func @aside(
// CHECK:         call @moe_alltoallv_0(
// CHECK:         call @moe_alltoallv_0(
func.func @aside(%x: memref<?x4xf32>, %n: memref<4xi32>,
    %recv: memref<20x4xf32, #symm.space>, %m: memref<4xi32>)
    attributes {symm.own_workspace} {
  moe.alltoallv %x, %n outs(%recv, %m) on @ep
    : (memref<?x4xf32>, memref<4xi32>, memref<20x4xf32, #symm.space>,
       memref<4xi32>) -> ()
  moe.alltoallv %x, %n outs(%recv, %m) on @ep
    : (memref<?x4xf32>, memref<4xi32>, memref<20x4xf32, #symm.space>,
       memref<4xi32>) -> ()
  return
}
// CHECK: func.func private @moe_alltoallv({{.*}}attributes {symm.outlined}
// CHECK: func.func private @moe_alltoallv_0({{.*}}attributes {symm.outlined, symm.own_workspace}

// -----

// Memory that may begin anywhere is copied where the lowering sees that.
shard.grid @ep(shape = 4)
// CHECK-LABEL: func.func @views(
// CHECK-NOT:     call
// CHECK:         return
func.func @views(%bytes: memref<100xi8>, %at: index, %n: memref<4xi32>,
    %recv: memref<20x4xf32, #symm.space>, %m: memref<4xi32>) {
  %x = memref.view %bytes[%at][] : memref<100xi8> to memref<5x4xf32>
  moe.alltoallv %x, %n outs(%recv, %m) on @ep
    : (memref<5x4xf32>, memref<4xi32>, memref<20x4xf32, #symm.space>,
       memref<4xi32>) -> ()
  moe.alltoallv %x, %n outs(%recv, %m) on @ep
    : (memref<5x4xf32>, memref<4xi32>, memref<20x4xf32, #symm.space>,
       memref<4xi32>) -> ()
  return
}
