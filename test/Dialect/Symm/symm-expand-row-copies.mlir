// RUN: moe-opt %s -split-input-file --symm-expand-row-copies | FileCheck %s --check-prefixes=CHECK,HOST
// RUN: moe-opt %s -split-input-file --symm-expand-row-copies=target=cuda | FileCheck %s --check-prefixes=CHECK,CUDA
// RUN: moe-opt %s -split-input-file --symm-expand-row-copies --mlir-print-debuginfo | FileCheck %s --check-prefix=LOC
// RUN: not moe-opt %s -split-input-file --symm-expand-row-copies=target=tpu 2>&1 | FileCheck %s --check-prefix=TARGET
// TARGET: error: symm-expand-row-copies expects 'target' to be host or cuda (tpu)

// Groups lie behind one another. Whatever the counts are, no row past the end
// is touched.
// CHECK-LABEL: func.func @packed(
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<8x4xf32, #symm.space>, %[[TO:[a-z0-9]+]]: memref<8x4xf32>, %[[N:[a-z0-9]+]]: memref<2xi32>
// HOST: %[[END:.*]] = scf.for %[[G:[a-z0-9]+]] = %{{.*}} to %{{.*}} step %{{.*}} iter_args(%[[BEHIND:.*]] = %{{.*}}) -> (index)
// HOST: %[[LOW:.*]] = arith.maxsi %[[BEHIND]], %
// HOST: %[[BEGIN:.*]] = arith.minsi %[[LOW]], %[[ROWS:.*]] : index
// HOST: %[[LOADED:.*]] = memref.load %[[N]][%[[G]]]
// HOST: %[[COUNT:.*]] = arith.index_cast %[[LOADED]] : i32 to index
// HOST: %[[NUMBER:.*]] = arith.maxsi %[[COUNT]], %
// HOST: %[[SUM:.*]] = arith.addi %[[BEGIN]], %[[NUMBER]]
// HOST: %[[LIMIT:.*]] = arith.minsi %[[SUM]], %[[ROWS]]
// HOST: scf.for %[[ROW:.*]] = %[[BEGIN]] to %[[LIMIT]]
// HOST: %[[FROM:.*]] = memref.subview %[[X]][%[[ROW]], 0] [1, 4] [1, 1]
// HOST: %[[INTO:.*]] = memref.subview %[[TO]][%[[ROW]], 0] [1, 4] [1, 1]
// HOST: memref.copy %[[FROM]], %[[INTO]]
// HOST: scf.yield %[[LIMIT]]
// LOC: memref.copy {{.*}} loc(#[[PLACE:loc[0-9]*]])
// LOC: #[[PLACE]] = loc("{{.*}}symm-expand-row-copies.mlir":[[#]]:3)
//
// One thread per 16 bytes, which are a row here: 8 rows are 8 threads' work.
// CUDA: %[[FLAT:.*]] = memref.collapse_shape %[[X]] {{\[}}[0, 1]] : memref<8x4xf32, #symm.space> into memref<32xf32, #symm.space>
// CUDA: %[[FLATTO:.*]] = memref.collapse_shape %[[TO]] {{\[}}[0, 1]] : memref<8x4xf32> into memref<32xf32>
// CUDA: gpu.launch blocks(%[[B:[a-z0-9_]+]], {{.*}} in ({{.*}} = %c1{{[_0-9]*}}, {{.*}} threads({{.*}} = %c256
// CUDA: %[[T:.*]] = arith.addi %{{.*}}, %{{.*}} : index
// CUDA: %[[ALL:.*]] = arith.muli %{{.*}}, %c256
// CUDA: scf.for %[[G:[a-z0-9]+]] = {{.*}} iter_args(%[[BEHIND:.*]] = %{{.*}}, %[[NUMBER:.*]] = %{{.*}}, %[[NEXT:.*]] = %[[T]])
// CUDA: memref.load %[[N]][%[[G]]]
// CUDA: %[[LIMIT:.*]] = arith.addi %[[NUMBER]], %{{.*}} : index
// CUDA: %[[SHIFT:.*]] = arith.subi %{{.*}}, %[[NUMBER]] : index
// CUDA: scf.for %[[U:.*]] = %[[NEXT]] to %[[LIMIT]] step %[[ALL]]
// CUDA: %[[UNIT:.*]] = arith.addi %[[U]], %[[SHIFT]] : index
// CUDA: %[[AT:.*]] = arith.muli %[[UNIT]], %c4
// CUDA: %[[MOVED:.*]] = vector.load %[[FLAT]][%[[AT]]] {alignment = 16 : i64} : memref<32xf32, #symm.space>, vector<4xf32>
// CUDA: vector.store %[[MOVED]], %[[FLATTO]][%[[AT]]] {alignment = 16 : i64} : memref<32xf32>, vector<4xf32>
func.func @packed(%x: memref<8x4xf32, #symm.space>, %to: memref<8x4xf32>,
                  %n: memref<2xi32>) {
  symm.copy_rows %x to %to counts %n
    : memref<8x4xf32, #symm.space> to memref<8x4xf32> counts memref<2xi32>
  return
}

// -----

// CHECK-LABEL: func.func @slabs(
// CHECK: scf.for %[[G:[a-z0-9]+]] = %
// CHECK: arith.muli %[[G]], %c4
func.func @slabs(%x: memref<8x4xf32, #symm.space>, %to: memref<8x4xf32>,
                 %n: memref<2xi32>) {
  symm.copy_rows %x to %to counts %n every 4
    : memref<8x4xf32, #symm.space> to memref<8x4xf32> counts memref<2xi32>
  return
}

// -----

// CHECK-LABEL: func.func @groups(
// CHECK-SAME: %[[N:[a-z0-9]+]]: memref<2xi32>, %[[O:[a-z0-9]+]]: memref<2xi32>
// CHECK: scf.for %[[G:[a-z0-9]+]] = %
// CHECK: memref.load %[[O]][%[[G]]]
// CHECK: memref.load %[[N]][%[[G]]]
func.func @groups(%x: memref<8x4xf32, #symm.space>, %to: memref<8x4xf32>,
                  %n: memref<2xi32>, %o: memref<2xi32>) {
  symm.copy_rows %x to %to counts %n at %o
    : memref<8x4xf32, #symm.space> to memref<8x4xf32>
      counts memref<2xi32> at memref<2xi32>
  return
}

// -----

// One kernel for all buffers of an op. A thread moves as much at once as rows
// and places allow: 16 bytes, 4, and single elements of what begins anywhere.
// CHECK-LABEL: func.func @many(
// HOST: memref.copy
// HOST: memref.load %{{.*}} : memref<8xi32, #symm.space>
// HOST: memref.store %{{.*}} : memref<8xi32>
// HOST: memref.copy
// CUDA-COUNT-1: gpu.launch
// CUDA: vector.load {{.*}} {alignment = 16 : i64} {{.*}}, vector<16xf8E4M3FN>
// CUDA: memref.load {{.*}} : memref<8xi32, #symm.space>
// CUDA: memref.store {{.*}} : memref<8xi32>
// CUDA: vector.load {{.*}} {alignment = 4 : i64} {{.*}}, vector<2xbf16>
// CUDA: memref.load {{.*}} : memref<16xf32, #symm.space>
// CUDA: memref.store {{.*}} : memref<16xf32, strided<[1], offset: ?>>
// CUDA-NOT: gpu.launch
func.func @many(%x: memref<8x48xf8E4M3FN, #symm.space>,
                %i: memref<8xi32, #symm.space>,
                %y: memref<8x6xbf16, #symm.space>,
                %z: memref<8x2xf32, #symm.space>,
                %to_x: memref<8x48xf8E4M3FN>, %to_i: memref<8xi32>,
                %to_y: memref<8x6xbf16>,
                %to_z: memref<8x2xf32, strided<[2, 1], offset: ?>>,
                %n: memref<2xi32>) {
  symm.copy_rows %x, %i, %y, %z to %to_x, %to_i, %to_y, %to_z counts %n
    : memref<8x48xf8E4M3FN, #symm.space>, memref<8xi32, #symm.space>,
      memref<8x6xbf16, #symm.space>, memref<8x2xf32, #symm.space>
   to memref<8x48xf8E4M3FN>, memref<8xi32>, memref<8x6xbf16>,
      memref<8x2xf32, strided<[2, 1], offset: ?>> counts memref<2xi32>
  return
}

// -----

// Rows of no elements have no places to load from.
// CHECK-LABEL: func.func @empty_rows(
// CHECK-NOT: memref.copy
// CHECK-NOT: vector.load
// CHECK-NOT: memref.store
// CHECK: return
func.func @empty_rows(%x: memref<8x0xf32, #symm.space>, %to: memref<8x0xf32>,
                      %n: memref<2xi32>) {
  symm.copy_rows %x to %to counts %n
    : memref<8x0xf32, #symm.space> to memref<8x0xf32> counts memref<2xi32>
  return
}
