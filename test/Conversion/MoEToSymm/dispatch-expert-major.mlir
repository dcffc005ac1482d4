// Rows grouped by expert: counts, places and destinations per expert.
//
// RUN: moe-opt %s --convert-moe-to-symm | FileCheck %s

shard.grid @ep(shape = 4)

// CHECK-LABEL: func.func @expert_major
// CHECK-SAME: %[[ROWS:[a-z0-9]+]]: memref<16x3xi32>, %[[OFFSETS:[a-z0-9]+]]: memref<3xi32>, %[[GROUPS:[a-z0-9]+]]: memref<3xi32>)
// CHECK: %[[ME:[-a-z0-9_]+]] = symm.rank
// CHECK: symm.phase "route"

// One number per expert slot, none per rank.
// CHECK: symm.phase "count"
// CHECK: %[[COUNTS:[-a-z0-9_]+]] = memref.alloc() : memref<1x9xi32>
// CHECK: %[[NUMBER:[-a-z0-9_]+]] = memref.load %[[COUNTS]][%{{.*}}, %[[EXPERT:[-a-z0-9_]+]]]
// CHECK: memref.store %[[NUMBER]], %[[ROWS]][%{{.*}}, %[[K:[-a-z0-9_]+]]]
// CHECK: memref.store %{{.*}}, %[[COUNTS]][%{{.*}}, %[[EXPERT]]]

// CHECK: symm.phase "exchange"
// CHECK: %[[ALL:[-a-z0-9_]+]] = symm.alloc persistent : memref<4x9xi32, #symm.space>
// CHECK: symm.put %[[COUNTS]][%{{.*}}] to %[[ALL]][%[[ME]]]
// CHECK: symm.wait

// Groups in ascending order of experts, each aligned; the end of the last one
// that has rows has to fit (dispatch_s4, dispatch_s9).
// CHECK: symm.phase "place"
// CHECK: %[[START:[-a-z0-9_]+]] = memref.alloc() : memref<9xi32>
// CHECK: %[[IS_ME:[-a-z0-9_]+]] = arith.cmpi eq, %[[RANK:[-a-z0-9_]+]], %[[ME]]
// CHECK: %[[ENDS:[-a-z0-9_]+]]:2 = scf.for %[[EXPERT:[-a-z0-9_]+]] = %[[FIRST:[-a-z0-9_]+]] to %[[END:[-a-z0-9_]+]] step
// CHECK:   %[[UNITS:[-a-z0-9_]+]] = arith.ceildivui
// CHECK:   %[[GROUP:[-a-z0-9_]+]] = arith.muli %[[UNITS]], %c16{{(_[0-9]+)?}}
// CHECK:   memref.load %[[ALL]][%[[SENDER:[-a-z0-9_]+]], %[[EXPERT]]]
// CHECK:   arith.cmpi ult, %[[SENDER]], %[[ME]]
// CHECK:   memref.store %{{.*}}, %[[START]][%[[EXPERT]]]
// CHECK:   scf.if %[[IS_ME]]
// CHECK:     %[[LOCAL:[-a-z0-9_]+]] = arith.subi %[[EXPERT]], %[[FIRST]]
// CHECK:     memref.store %{{.*}}, %[[OFFSETS]][%[[LOCAL]]]
// CHECK:     memref.store %{{.*}}, %[[GROUPS]][%[[LOCAL]]]
// CHECK: %[[FITS:[-a-z0-9_]+]] = arith.cmpi ule, %[[ENDS]]#1,
// CHECK: symm.check %[[FITS]], capacity_exceeded, "rows received, bounded by the capacity" expected %{{.*}} seen %{{.*}} peer %[[RANK]]
// The entry of an expert this rank has not: no rows, where the next would start.
// CHECK: scf.if %[[IS_ME]]
// CHECK:   %[[OWNED:[-a-z0-9_]+]] = arith.subi %[[END]], %[[FIRST]]
// CHECK:   scf.for %[[SURPLUS:[-a-z0-9_]+]] = %[[OWNED]] to
// CHECK:     arith.ceildivui %[[ENDS]]#0,
// CHECK:     memref.store %{{.*}}, %[[OFFSETS]][%[[SURPLUS]]]
// CHECK:     memref.store %{{.*}}, %[[GROUPS]][%[[SURPLUS]]]

// One id and one weight per row.
// CHECK: symm.phase "put"
// CHECK: memref.load %[[ROWS]][%[[TOKEN:[-a-z0-9_]+]], %[[K:[-a-z0-9_]+]]]
// CHECK: %[[PEER:[-a-z0-9_]+]] = arith.maxsi
// CHECK: symm.put %{{.*}}[%[[TOKEN]]] to %{{.*}}[%[[ROW:[-a-z0-9_]+]]] at %[[PEER]]
// CHECK: %[[RI:[-a-z0-9_]+]] = symm.peer %{{.*}} at %[[PEER]] : memref<192xi32, #symm.space>
// CHECK: %[[RW:[-a-z0-9_]+]] = symm.peer %{{.*}} at %[[PEER]] : memref<192xf32, #symm.space>
// CHECK: memref.store %{{.*}}, %[[RI]][%[[ROW]]]
// CHECK: memref.store %{{.*}}, %[[RW]][%[[ROW]]]
// CHECK: symm.peer %{{.*}} at %[[PEER]] : memref<192xi32, #symm.space>
// CHECK: memref.store %{{.*}}, %[[ROWS]][%[[TOKEN]], %[[K]]]
// CHECK: symm.phase "complete"
// CHECK: symm.signal
// CHECK: symm.wait
// CHECK: symm.collective_end
func.func @expert_major(%x: memref<16x8xf32>, %idx: memref<16x3xi32>,
    %w: memref<16x3xf32>, %recv_x: memref<192x8xf32, #symm.space>,
    %recv_idx: memref<192xi32, #symm.space>,
    %recv_w: memref<192xf32, #symm.space>, %src: memref<192xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x3xi32>,
    %offsets: memref<3xi32>, %group_counts: memref<3xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %group_counts)
      on @ep {num_experts = 9 : i64, layout = #moe.layout<expert_major>,
      alignment = 16 : i64}
    : (memref<16x8xf32>, memref<16x3xi32>, memref<16x3xf32>,
       memref<192x8xf32, #symm.space>, memref<192xi32, #symm.space>,
       memref<192xf32, #symm.space>, memref<192xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x3xi32>, memref<3xi32>,
       memref<3xi32>) -> ()
  return
}

// Groups follow one another; every rank owns two experts, so none is surplus.
// CHECK-LABEL: func.func @unaligned
// CHECK: symm.phase "place"
// CHECK-NOT: arith.ceildivui
// CHECK: symm.check %{{.*}}, capacity_exceeded
// CHECK-NOT: scf.if
// CHECK: symm.phase "put"
func.func @unaligned(%x: memref<16x8xf32>, %idx: memref<16x2xi32>,
    %w: memref<16x2xf32>, %recv_x: memref<128x8xf32, #symm.space>,
    %recv_idx: memref<128xi32, #symm.space>,
    %recv_w: memref<128xf32, #symm.space>, %src: memref<128xi32, #symm.space>,
    %to: memref<4xi32>, %from: memref<4xi32>, %rows: memref<16x2xi32>,
    %offsets: memref<2xi32>, %group_counts: memref<2xi32>) {
  moe.dispatch %x, %idx, %w outs(%recv_x, %recv_idx, %recv_w, %src, %to, %from,
      %rows, %offsets, %group_counts)
      on @ep {num_experts = 8 : i64, layout = #moe.layout<expert_major>}
    : (memref<16x8xf32>, memref<16x2xi32>, memref<16x2xf32>,
       memref<128x8xf32, #symm.space>, memref<128xi32, #symm.space>,
       memref<128xf32, #symm.space>, memref<128xi32, #symm.space>,
       memref<4xi32>, memref<4xi32>, memref<16x2xi32>, memref<2xi32>,
       memref<2xi32>) -> ()
  return
}
