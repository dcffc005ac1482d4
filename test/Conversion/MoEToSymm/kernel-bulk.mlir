// Rows that move by bulk copies, through stages in shared memory.
//
// RUN: moe-opt %s --convert-moe-to-symm=target=cuda --canonicalize | FileCheck %s

shard.grid @ep(shape = 2)

// Each copying subgroup has a ring of stages, and brings rows of later tokens
// while it puts the row of this one to all destinations.
// CHECK-LABEL: func.func @dispatch
// CHECK-SAME: %[[X:.*]]: memref<600x64xbf16>
// CHECK: gpu.launch
// CHECK-SAME: dynamic_shared_memory_size %c1536_i32
// CHECK-SAME: workgroup({{.*}} : memref<12xi64, #gpu.address_space<workgroup>>
// CHECK: symm.phase "put"
// CHECK: symm.stage_init %[[FULL:.*]] arrivals 1
// CHECK: gpu.barrier
// CHECK: %[[BYTES:.*]] = gpu.dynamic_shared_memory
// CHECK: %[[RING:.*]] = memref.view %[[BYTES]]
// CHECK-SAME: to memref<3x64xbf16, #gpu.address_space<workgroup>>
// CHECK: scf.for
// CHECK: symm.stage_expect %[[FULL]][%[[FIRST:.*]]], %c128
// CHECK: symm.fetch %[[X]][%{{.*}}, %c0] to %[[RING]][%{{.*}}] counted by %[[FULL]][%[[FIRST]]]
// CHECK: scf.for
// CHECK: symm.stage_wait %[[FULL]][%{{.*}}] parity
// CHECK: symm.put_each %[[RING]][%{{.*}}] to %{{.*}} lanes 2
// CHECK: symm.put_wait pending 1 read
// CHECK: symm.fetch %[[X]]
// CHECK: symm.put_wait pending 0
// CHECK-NOT: read
// CHECK: symm.phase "complete"
func.func @dispatch(%x: memref<600x64xbf16>, %idx: memref<600x2xi32>,
    %w: memref<600x2xf32>, %recv_x: memref<1200x64xbf16, #symm.space>,
    %recv_idx: memref<1200x2xi32, #symm.space>,
    %recv_w: memref<1200x2xf32, #symm.space>,
    %src: memref<1200xi32, #symm.space>, %to: memref<2xi32>,
    %from: memref<2xi32>, %rows: memref<600x2xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows) on @ep {num_experts = 16 : i64,
      kernel = #moe.kernel<threads = 128, transfer = bulk, stages = 3>}
    : (memref<600x64xbf16>, memref<600x2xi32>, memref<600x2xf32>,
       memref<1200x64xbf16, #symm.space>, memref<1200x2xi32, #symm.space>,
       memref<1200x2xf32, #symm.space>, memref<1200xi32, #symm.space>,
       memref<2xi32>, memref<2xi32>, memref<600x2xi32>) -> ()
  return
}

// One subgroup brings the rows of the next tokens, the others add.
// CHECK-LABEL: func.func @combine
// CHECK-SAME: %[[Y:.*]]: memref<1200x64xbf16, #symm.space>
// CHECK: gpu.launch
// CHECK-SAME: dynamic_shared_memory_size %c768_i32
// CHECK: symm.phase "ready"
// CHECK: symm.phase "reduce"
// CHECK: symm.stage_init %[[FULL:.*]] arrivals 1
// CHECK: symm.stage_init %[[EMPTY:.*]] arrivals 3
// CHECK: memref.view {{.*}} to memref<6x64xbf16, #gpu.address_space<workgroup>>
// CHECK: scf.if
// CHECK: symm.wait
// Rows were stored by others: a fence before bulk copies read them.
// CHECK: symm.bulk_fence
// CHECK: symm.stage_wait %[[EMPTY]][%{{.*}}] parity
// CHECK: symm.stage_expect %[[FULL]]
// CHECK: %[[THERE:.*]] = symm.peer %[[Y]] at
// CHECK: symm.fetch %[[THERE]]{{.*}} counted by %[[FULL]]
// CHECK: } else {
// CHECK: symm.stage_wait %[[FULL]][%{{.*}}] parity
// CHECK: arith.addf
// CHECK: vector.store
// CHECK: symm.stage_arrive %[[EMPTY]]
// CHECK: symm.phase "release"
func.func @combine(%y: memref<1200x64xbf16, #symm.space>,
    %rows: memref<600x2xi32>, %src: memref<1200xi32>, %from: memref<2xi32>,
    %out: memref<600x64xbf16>) {
  moe.combine %y, %rows, %src, %from outs(%out) on @ep {num_experts = 16 : i64,
      kernel = #moe.kernel<threads = 128, transfer = bulk, stages = 3>}
    : (memref<1200x64xbf16, #symm.space>, memref<600x2xi32>, memref<1200xi32>,
       memref<2xi32>, memref<600x64xbf16>) -> ()
  return
}
