// The ops of kernels: what is printed is read again.
// RUN: moe-opt %s | moe-opt | FileCheck %s

!stage = memref<3x64xbf16, #gpu.address_space<workgroup>>
!counters = memref<3xi64, #gpu.address_space<workgroup>>

// CHECK-LABEL: func.func @puts
func.func @puts(%x: memref<128x64xbf16>, %y: memref<512x64xbf16, #symm.space>, %i: index) {
  // CHECK: symm.put_each %{{.*}} lanes 4 : memref
  symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 4
    : memref<128x64xbf16> to memref<512x64xbf16, #symm.space>
  // CHECK: symm.put_each %{{.*}} lanes 4 share %{{.*}} of 8 rows 2 : memref
  symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 4 share %i of 8 rows 2
    : memref<128x64xbf16> to memref<512x64xbf16, #symm.space>
  // CHECK: symm.put_each %{{.*}} lanes 4 coherent : memref
  symm.put_each %y[%i] to %y[%i] at %i rotated %i lanes 4 coherent
    : memref<512x64xbf16, #symm.space> to memref<512x64xbf16, #symm.space>
  return
}

// CHECK-LABEL: func.func @stages
func.func @stages(%x: memref<128x256xbf16>, %y: memref<512x64xbf16, #symm.space>,
    %stage: !stage, %full: !counters, %i: index) {
  // CHECK: symm.stage_init %{{.*}} arrivals 15 : memref<3xi64, #gpu.address_space<workgroup>>
  symm.stage_init %full arrivals 15 : !counters
  // CHECK: symm.stage_expect %{{.*}}[%{{.*}}], %{{.*}} : memref<3xi64
  symm.stage_expect %full[%i], %i : !counters
  // CHECK: symm.fetch %{{.*}}[%{{.*}}, %{{.*}}] to %{{.*}}[%{{.*}}] counted by %{{.*}}[%{{.*}}]
  symm.fetch %x[%i, %i] to %stage[%i] counted by %full[%i]
    : memref<128x256xbf16> to !stage, !counters
  // CHECK: symm.stage_wait %{{.*}}[%{{.*}}] parity %{{.*}} : memref<3xi64
  symm.stage_wait %full[%i] parity %i : !counters
  // CHECK: symm.put_each {{.*}} : memref<3x64xbf16, #gpu.address_space<workgroup>> to
  symm.put_each %stage[%i] to %y[%i] at %i rotated %i lanes 4
    : !stage to memref<512x64xbf16, #symm.space>
  // CHECK: symm.put_wait pending 1 read
  symm.put_wait pending 1 read
  // CHECK: symm.put_wait pending 0{{$}}
  symm.put_wait pending 0
  // CHECK: symm.stage_arrive %{{.*}}[%{{.*}}] : memref<3xi64
  symm.stage_arrive %full[%i] : !counters
  // CHECK: symm.bulk_fence
  symm.bulk_fence
  return
}

// CHECK-LABEL: func.func @grids
func.func @grids() -> (i1, i1) {
  %counter = symm.alloc persistent : memref<1xi64, #symm.space>
  // CHECK: symm.grid_barrier %{{.*}} : memref<1xi64, #symm.space>
  symm.grid_barrier %counter : memref<1xi64, #symm.space>
  // CHECK: %[[MET:.*]] = symm.grid_barrier %{{.*}} : memref<1xi64, #symm.space> -> i1
  %met = symm.grid_barrier %counter : memref<1xi64, #symm.space> -> i1
  // CHECK: symm.failed
  %failed = symm.failed
  // CHECK: return %{{.*}}, %[[MET]]
  return %failed, %met : i1, i1
}

// CHECK-LABEL: func.func @posts
// CHECK-SAME: %[[V:.*]]: i32, %[[I:.*]]: index, %[[EPOCH:.*]]: i64
func.func @posts(%v: i32, %i: index, %epoch: i64) -> (i32, i1) {
  // CHECK: %[[WORDS:.*]] = symm.alloc persistent
  %words = symm.alloc persistent : memref<96xi64, #symm.space>
  // CHECK: symm.post %[[V]] to %[[WORDS]][%[[I]]] in %[[EPOCH]] : memref<96xi64, #symm.space>
  symm.post %v to %words[%i] in %epoch : memref<96xi64, #symm.space>
  // CHECK: %[[VALUE:value]], %[[POSTED:posted]] = symm.collect %[[WORDS]][%[[I]]] in %[[EPOCH]] : memref<96xi64, #symm.space>
  %0:2 = symm.collect %words[%i] in %epoch : memref<96xi64, #symm.space>
  // CHECK: return %[[VALUE]], %[[POSTED]] : i32, i1
  return %0#0, %0#1 : i32, i1
}

// CHECK-LABEL: func.func @tickets
// CHECK-SAME: %[[I:.*]]: index
func.func @tickets(%i: index) -> i64 {
  // CHECK: %[[COUNTERS:.*]] = symm.alloc persistent
  %counters = symm.alloc persistent : memref<2xi64, #symm.space>
  // CHECK: %[[NUMBER:.*]] = symm.take %[[COUNTERS]][%[[I]]] : memref<2xi64, #symm.space>
  %number = symm.take %counters[%i] : memref<2xi64, #symm.space>
  // CHECK: return %[[NUMBER]] : i64
  return %number : i64
}

// CHECK-LABEL: func.func @mark
// CHECK-SAME: %[[WORDS:.*]]: memref<8xi32, #gpu.address_space<workgroup>>, %[[I:.*]]: index, %[[BITS:.*]]: i32
func.func @mark(%words: memref<8xi32, #gpu.address_space<workgroup>>, %i: index, %bits: i32) {
  // CHECK: symm.mark %[[WORDS]][%[[I]]], %[[BITS]] : memref<8xi32, #gpu.address_space<workgroup>>
  symm.mark %words[%i], %bits : memref<8xi32, #gpu.address_space<workgroup>>
  return
}

// CHECK-LABEL: func.func @loads
// CHECK-SAME: %[[A:.*]]: vector<8xbf16>, %[[B:.*]]: vector<2xi32>, %[[C:.*]]: vector<1xi8>, %[[D:.*]]: vector<1xf32>, %[[E:.*]]: vector<2xi8>
func.func @loads(%a: vector<8xbf16>, %b: vector<2xi32>, %c: vector<1xi8>, %d: vector<1xf32>,
    %e: vector<2xi8>) -> (vector<8xbf16>, vector<2xi32>, vector<1xi8>, vector<1xf32>) {
  // CHECK: %[[ONE:.*]]:2 = symm.join_loads %[[A]], %[[B]] : vector<8xbf16>, vector<2xi32>{{$}}
  %0:2 = symm.join_loads %a, %b : vector<8xbf16>, vector<2xi32>
  // CHECK: %[[TWO:.*]]:2 = symm.join_loads %[[C]], %[[D]] with %[[A]], %[[E]] : vector<1xi8>, vector<1xf32> with vector<8xbf16>, vector<2xi8>{{$}}
  %1:2 = symm.join_loads %c, %d with %a, %e
    : vector<1xi8>, vector<1xf32> with vector<8xbf16>, vector<2xi8>
  // CHECK: return %[[ONE]]#0, %[[ONE]]#1, %[[TWO]]#0, %[[TWO]]#1
  return %0#0, %0#1, %1#0, %1#1 : vector<8xbf16>, vector<2xi32>, vector<1xi8>, vector<1xf32>
}

// Memory of one rank, which peers do not access, need not be symmetric.
// CHECK-LABEL: func.func @own_memory
func.func @own_memory(%x: memref<8x64xbf16>, %y: memref<?x64xbf16>,
                      %words: memref<4xi64>, %counter: memref<1xi64>,
                      %i: index, %value: i32, %epoch: i64) {
  // CHECK: symm.put_each {{.*}} : memref<8x64xbf16> to memref<?x64xbf16>
  symm.put_each %x[%i] to %y[%i] at %i rotated %i lanes 4
    : memref<8x64xbf16> to memref<?x64xbf16>
  // CHECK: symm.grid_barrier %{{.*}} : memref<1xi64>
  symm.grid_barrier %counter : memref<1xi64>
  // CHECK: symm.post %{{.*}} to %{{.*}} : memref<4xi64>
  symm.post %value to %words[%i] in %epoch : memref<4xi64>
  // CHECK: symm.collect %{{.*}} : memref<4xi64>
  %seen, %posted = symm.collect %words[%i] in %epoch : memref<4xi64>
  // CHECK: symm.take %{{.*}} : memref<4xi64>
  %number = symm.take %words[%i] : memref<4xi64>
  return
}
