// Every op parses, prints and verifies.
//
// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s

// coll_c1, coll_c2
// CHECK-LABEL: func.func @all_gather
func.func @all_gather(%one: memref<1x8xi32>, %all: memref<4x8xi32>,
                      %two: memref<2xbf16>, %eight: memref<8xbf16>) {
  // CHECK: coll.all_gather %{{.*}}, %{{.*}} : memref<1x8xi32> to memref<4x8xi32>
  coll.all_gather %one, %all : memref<1x8xi32> to memref<4x8xi32>
  // CHECK: coll.all_gather %{{.*}}, %{{.*}} {tag} : memref<2xbf16> to memref<8xbf16>
  coll.all_gather %two, %eight {tag} : memref<2xbf16> to memref<8xbf16>
  return
}

// coll_c3
// CHECK-LABEL: func.func @all_to_all
func.func @all_to_all(%mine: memref<4x3x2xi32>, %theirs: memref<4x3x2xi32>) {
  // CHECK: coll.all_to_all %{{.*}}, %{{.*}} : memref<4x3x2xi32> to memref<4x3x2xi32>
  coll.all_to_all %mine, %theirs : memref<4x3x2xi32> to memref<4x3x2xi32>
  return
}

// coll_c4, coll_c5, coll_c6
// CHECK-LABEL: func.func @exchange
func.func @exchange(%x: memref<?x64xbf16>, %recv: memref<512x64xbf16>,
                    %s: memref<?xf32, strided<[1], offset: 8>>,
                    %t: memref<512xf32>, %from: memref<4xi32>,
                    %n: memref<4xi32>, %to: memref<4xi32>, %m: memref<4xi32>) {
  // CHECK: coll.exchange {
  // CHECK-NEXT: coll.rows %{{.*}}[%{{.*}}, %{{.*}}] to %{{.*}}[%{{.*}}, %{{.*}}] : memref<?x64xbf16> to memref<512x64xbf16> by memref<4xi32>
  // CHECK-NEXT: coll.rows %{{.*}}[%{{.*}}, %{{.*}}] to %{{.*}}[%{{.*}}, %{{.*}}] : memref<?xf32, strided<[1], offset: 8>> to memref<512xf32> by memref<4xi32>
  // CHECK-NEXT: }
  coll.exchange {
    coll.rows %x[%from, %n] to %recv[%to, %m]
      : memref<?x64xbf16> to memref<512x64xbf16> by memref<4xi32>
    coll.rows %s[%from, %n] to %t[%to, %m]
      : memref<?xf32, strided<[1], offset: 8>> to memref<512xf32>
        by memref<4xi32>
  }
  return
}

// coll_c1, coll_s7
// CHECK-LABEL: func.func @read
func.func @read(%table: memref<4x8xi32>) {
  // CHECK: coll.read %{{.*}} : memref<4x8xi32>
  %host = coll.read %table : memref<4x8xi32>
  return
}

// CHECK-LABEL: func.func @table
// CHECK: %[[T:.*]] = coll.table [0, 16, 32, 48] : memref<4xi32>
// CHECK: coll.rows %{{.*}}[%[[T]], %[[T]]] to %{{.*}}[%[[T]], %[[T]]]
func.func @table(%x: memref<64x4xf32>, %recv: memref<64x4xf32>) {
  %starts = coll.table [0, 16, 32, 48] : memref<4xi32>
  coll.exchange {
    coll.rows %x[%starts, %starts] to %recv[%starts, %starts]
      : memref<64x4xf32> to memref<64x4xf32> by memref<4xi32>
  }
  return
}

// coll_c9, coll_c6
// CHECK-LABEL: func.func @tables
// CHECK: coll.copy_table %{{.*}} to %{{.*}} : memref<4x4xi32, strided<[4, 1], offset: 16>> to memref<4x4xi32>
// CHECK: coll.clear_table %{{.*}} : memref<4x4xi32>
// CHECK: %{{.*}} = coll.table_end %{{.*}}[%{{.*}}] limit %{{.*}} : memref<4xi32>
func.func @tables(%part: memref<4x4xi32, strided<[4, 1], offset: 16>>,
    %kept: memref<4x4xi32>, %starts: memref<4xi32>, %counts: memref<4xi32>,
    %limit: index) -> index {
  coll.copy_table %part to %kept
    : memref<4x4xi32, strided<[4, 1], offset: 16>> to memref<4x4xi32>
  coll.clear_table %kept : memref<4x4xi32>
  %end = coll.table_end %starts[%counts] limit %limit : memref<4xi32>
  return %end : index
}
