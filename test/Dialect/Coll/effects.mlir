// No op is dropped, doubled or moved past another one, even where nobody reads
// what is received (coll_s1).
//
// RUN: moe-opt %s --canonicalize --cse --loop-invariant-code-motion | FileCheck %s

// CHECK-LABEL: func.func @unread
// CHECK: coll.all_gather
// CHECK-NEXT: coll.all_gather
// CHECK-NEXT: coll.all_to_all
// CHECK-NEXT: coll.exchange
// CHECK-NEXT: coll.rows
// CHECK-NEXT: }
// CHECK-NEXT: coll.exchange
func.func @unread(%n: memref<1x4xi32>, %x: memref<8x4xf32>, %t: memref<4xi32>) {
  %all = memref.alloc() : memref<4x4xi32>
  %part = memref.alloc() : memref<4x4xi32>
  %recv = memref.alloc() : memref<8x4xf32>
  coll.all_gather %n, %all : memref<1x4xi32> to memref<4x4xi32>
  coll.all_gather %n, %all : memref<1x4xi32> to memref<4x4xi32>
  coll.all_to_all %all, %part : memref<4x4xi32> to memref<4x4xi32>
  coll.exchange {
    coll.rows %x[%t, %t] to %recv[%t, %t]
      : memref<8x4xf32> to memref<8x4xf32> by memref<4xi32>
  }
  coll.exchange {
    coll.rows %x[%t, %t] to %recv[%t, %t]
      : memref<8x4xf32> to memref<8x4xf32> by memref<4xi32>
  }
  memref.dealloc %recv : memref<8x4xf32>
  memref.dealloc %part : memref<4x4xi32>
  memref.dealloc %all : memref<4x4xi32>
  return
}

// What is received is there after the exchange, and not before (coll_s2).
// CHECK-LABEL: func.func @loads
// CHECK: %[[BEFORE:.*]] = memref.load
// CHECK: coll.exchange
// CHECK: %[[AFTER:.*]] = memref.load
// CHECK: return %[[BEFORE]], %[[AFTER]]
func.func @loads(%x: memref<8xf32>, %recv: memref<8xf32>, %t: memref<4xi32>)
    -> (f32, f32) {
  %c0 = arith.constant 0 : index
  %before = memref.load %recv[%c0] : memref<8xf32>
  coll.exchange {
    coll.rows %x[%t, %t] to %recv[%t, %t]
      : memref<8xf32> to memref<8xf32> by memref<4xi32>
  }
  %after = memref.load %recv[%c0] : memref<8xf32>
  return %before, %after : f32, f32
}

// CHECK-LABEL: func.func @loop
// CHECK: scf.for
// CHECK-NEXT: coll.all_gather
func.func @loop(%n: memref<1x4xi32>, %all: memref<4x4xi32>, %times: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %times step %c1 {
    coll.all_gather %n, %all : memref<1x4xi32> to memref<4x4xi32>
  }
  return
}

// Equal tables are one, which nobody writes to (coll_s9).
// CHECK-LABEL: func.func @tables
// CHECK: %[[T:.*]] = coll.table [0, 4] : memref<2xi32>
// CHECK-NOT: coll.table
// CHECK: coll.rows %{{.*}}[%[[T]], %[[T]]] to %{{.*}}[%[[T]], %[[T]]]
func.func @tables(%x: memref<8x4xf32>, %recv: memref<8x4xf32>) {
  %0 = coll.table [0, 4] : memref<2xi32>
  %1 = coll.table [0, 4] : memref<2xi32>
  %unused = coll.table [1, 2] : memref<2xi32>
  coll.exchange {
    coll.rows %x[%0, %1] to %recv[%1, %0]
      : memref<8x4xf32> to memref<8x4xf32> by memref<2xi32>
  }
  return
}
